"""What answers `system` and `system_status` in place of a gateway: the contract's types, word for word."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from graphql import ExecutionResult, GraphQLSchema, build_schema, parse, subscribe, validate
from graphql.graphql import graphql_sync
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from api.server import Server

CONTRACT = """
scalar DateTime
enum Channel { EMAIL PUSH }
type Query { system: SystemPayload! }
type Subscription { system_status(interval_ms: Int! = 1000): System! }
interface Error { message: String! }
type PageMeta { total: Int! }
type SystemPayload { success: Boolean! message: String! error: Error meta: PageMeta data: System }
type System { queues: [Queue!]! providers: [Provider!]! services: [Service!]! }
type Queue {
  name: String! depth: Int! waiting: Int! consumers: Int!
  publish_rate: Float! deliver_rate: Float! lag_seconds: Float!
}
type Provider { name: String! channel: Channel! breaker: BreakerState! success_rate: Float p95_ms: Float }
enum BreakerState { CLOSED OPEN HALF_OPEN }
type Service { name: String! status: String! instances: [ServiceInstance!]! }
type ServiceInstance {
  id: ID! url: String version: String! started_at: DateTime! last_seen_at: DateTime! status: String!
}
"""


class SystemFake:
    """One whose `system` tests change. It knows one key; `intervals` are those that it was asked for."""

    def __init__(self, system: dict[str, Any], key: str) -> None:
        self.system, self._key = system, key
        self.intervals: list[int] = []
        self.changed = asyncio.Event()
        self._schema: GraphQLSchema = build_schema(CONTRACT)
        assert self._schema.subscription_type is not None
        self._schema.subscription_type.fields["system_status"].subscribe = self._looks
        routes = [Route("/graphql", self._answer, methods=["POST"]), WebSocketRoute("/graphql", self._talk)]
        self.app = Starlette(routes=routes)

    async def _answer(self, request: Request) -> Response:
        if request.headers["authorization"] != f"Bearer {self._key}":
            return JSONResponse({"errors": [{"message": "This API key is unknown or revoked."}]}, 401)
        body = await request.json()
        payload = {"success": True, "message": "OK", "data": self.system}
        result = graphql_sync(self._schema, body["query"], {"system": payload}, variable_values=body["variables"])
        return JSONResponse(result.formatted)

    async def _looks(self, _: Any, __: Any, interval_ms: int) -> AsyncIterator[dict[str, Any]]:
        self.intervals.append(interval_ms)
        while True:
            yield {"system_status": self.system}
            self.changed.clear()
            await self.changed.wait()

    async def _talk(self, socket: WebSocket) -> None:
        await socket.accept("graphql-transport-ws")
        try:
            await socket.receive_json()
            await socket.send_json({"type": "connection_ack"})
            asked = (await socket.receive_json())["payload"]
            document = parse(asked["query"])
            assert not validate(self._schema, document)
            events = subscribe(self._schema, document, variable_values=asked["variables"])
            events = await events if asyncio.iscoroutine(events) else events
            assert not isinstance(events, ExecutionResult), events
            async for event in events:  # type: ignore[union-attr]  # it is no awaitable any more
                await socket.send_text(json.dumps({"id": "1", "type": "next", "payload": event.formatted}))
        except WebSocketDisconnect:
            return

    @asynccontextmanager
    async def served(self) -> AsyncIterator[str]:
        """Where it is."""
        server = Server(self.app, "127.0.0.1", 0, grace=1)
        await server.start()
        try:
            yield f"http://127.0.0.1:{server.port}"
        finally:
            await server.stop()
