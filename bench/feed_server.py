"""One gateway process without a database, for `bench.feed`: `python -m bench.feed_server ours|naive PORT`.

`ours` is the gateway's application with its follower on a log in memory. `naive` is what Strawberry's documentation
shows: its own ASGI application, and a queue for each subscriber. Both have the same schema types, are served by the
same server, and write rows when `POST /rows/<n>` asks for them.
"""

import asyncio
import sys
from collections.abc import AsyncGenerator

import strawberry
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from strawberry.asgi import GraphQL
from strawberry.subscriptions import GRAPHQL_TRANSPORT_WS_PROTOCOL

from api.gateway.schema.notifications import StatusEvent
from api.gateway.schema.scalars import SCALARS
from api.run import spare_the_collector
from api.server import Server, until_signalled
from domain.channels import STATUS_CHANNEL
from domain.doorbell import encode_rows
from tests.services.gateway_fakes import Gateway
from tests.unit.feed_fakes import FakeLog

ROWS_A_RING = 100


async def ours() -> Starlette:
    """The gateway."""
    gateway = Gateway()
    await gateway.feed.start()
    store = gateway.store

    async def write(request: Request) -> JSONResponse:
        rows = [store.log.append(f"ntf_{len(store.log.rows)}") for _ in range(request.path_params["count"])]
        for start in range(0, len(rows), ROWS_A_RING):
            store.bell.ring(STATUS_CHANNEL, encode_rows(rows[start : start + ROWS_A_RING]))
        return JSONResponse(len(gateway.sockets))

    gateway.app.routes.append(Route("/rows/{count:int}", write, methods=["POST"]))
    return gateway.app


async def naive() -> Starlette:
    """Strawberry by the book."""
    log = FakeLog()
    queues: set[asyncio.Queue[StatusEvent]] = set()

    @strawberry.type
    class Query:
        nothing: int = 0

    @strawberry.type
    class Subscription:
        @strawberry.subscription
        async def status_feed(self) -> AsyncGenerator[StatusEvent, None]:
            queue: asyncio.Queue[StatusEvent] = asyncio.Queue()
            queues.add(queue)
            try:
                while True:
                    yield await queue.get()
            finally:
                queues.discard(queue)

    async def write(request: Request) -> JSONResponse:
        for _ in range(request.path_params["count"]):
            event = StatusEvent.of(log.append(f"ntf_{len(log.rows)}"))
            for queue in queues:
                queue.put_nowait(event)
        return JSONResponse(len(queues))

    config = strawberry.schema.config.StrawberryConfig(auto_camel_case=False, scalar_map=SCALARS)
    schema = strawberry.Schema(query=Query, subscription=Subscription, config=config)
    graphql: GraphQL[None, None] = GraphQL(schema, subscription_protocols=(GRAPHQL_TRANSPORT_WS_PROTOCOL,))
    return Starlette(
        routes=[
            WebSocketRoute("/graphql", graphql),
            Route("/graphql", graphql),
            Route("/rows/{count:int}", write, methods=["POST"]),
        ]
    )


async def main(kind: str, port: int) -> None:
    """Serve until SIGTERM."""
    app = await (ours() if kind == "ours" else naive())
    server = Server(app, "127.0.0.1", port)
    await server.start()
    spare_the_collector()
    await until_signalled()
    await server.stop()


if __name__ == "__main__":
    import uvloop

    uvloop.run(main(sys.argv[1], int(sys.argv[2])))
