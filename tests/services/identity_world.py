"""A gateway of which only the identity is real: keys in a database, tokens, limits and sockets, and an empty log."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import httpx
import jwt
import strawberry
from starlette.applications import Starlette
from starlette.routing import Route, WebSocketRoute
from strawberry.schema.config import StrawberryConfig

from api.api_keys import ApiKeys
from api.database import Databases
from api.gateway.feed import Follower
from api.gateway.graphql_view import GraphQLView
from api.gateway.schema.context import Context
from api.gateway.schema.errors import ERROR_TYPES
from api.gateway.schema.keys import KeyMutations, KeyQueries
from api.gateway.schema.scalars import SCALARS
from api.gateway.schema.services import Keys, nobody_counts
from api.gateway.sockets import Sockets
from api.rate_limits import RateLimiter
from api.security import Authenticator, Credentials, Principal
from api.server import Server
from api.tokens import SharedSecret, Tokens
from tests.unit.feed_fakes import FakeBell, FakeLog

JWT_SECRET = "0123456789abcdef" * 4


@strawberry.type
class Query(KeyQueries):
    """Keys and nothing else."""


@strawberry.type
class Mutation(KeyMutations):
    """Keys and nothing else."""


class KeySchema:
    """The part of the schema that is about keys."""

    def __init__(self, keys: Keys) -> None:
        self._services: Any = SimpleNamespace(keys=keys, limiter=RateLimiter(""), resolved=nobody_counts)
        config = StrawberryConfig(auto_camel_case=False, scalar_map=SCALARS)
        self._schema = strawberry.Schema(query=Query, mutation=Mutation, types=ERROR_TYPES, config=config)

    async def execute(self, caller: Principal, query: str, variables: dict[str, Any] | None = None) -> dict[str, Any]:
        """The data of an operation."""
        context = Context(services=self._services, correlation_id="cor_1", caller=caller, headers={})
        result: Any = await self._schema.execute(query, variable_values=variables, context_value=context)
        assert result.errors is None, result.errors
        return dict(result.data)


class World:
    """The gateway, and what it is made of. `credentials` may be replaced before it is opened."""

    def __init__(self, databases: Databases, rate: str = "") -> None:
        self.keys = ApiKeys(databases["gateway"])
        self.sockets = Sockets()
        self.keys.on_revoked(self.sockets.revoke)
        self.credentials: Authenticator = Credentials(self.keys, Tokens(SharedSecret(JWT_SECRET)))
        self.feed = Follower(FakeLog(), FakeBell(), poll=0.05)
        self._services = SimpleNamespace(
            feed=self.feed, keys=self.keys, limiter=RateLimiter(rate), resolved=nobody_counts
        )
        self.url = ""

    @asynccontextmanager
    async def opened(self) -> AsyncIterator["World"]:
        """Served on a real port."""
        view = GraphQLView(cast(Any, self._services), self.credentials, sockets=self.sockets)
        app = Starlette(routes=[Route("/graphql", view), WebSocketRoute("/graphql", view)])
        server = Server(app, "127.0.0.1", 0)
        await self.feed.start()
        await server.start()
        self.url = f"ws://127.0.0.1:{server.port}/graphql"
        try:
            yield self
        finally:
            await server.stop()
            await self.feed.stop()

    async def post(self, headers: dict[str, str]) -> httpx.Response:
        """A query that anybody may ask who is somebody."""
        async with httpx.AsyncClient() as client:
            return await client.post(
                self.url.replace("ws:", "http:"), json={"query": "{ __typename }"}, headers=headers
            )


def token_of(user_id: str, seconds: float = 3600.0) -> str:
    """A token that is good for so many seconds."""
    return jwt.encode({"sub": user_id, "exp": time.time() + seconds}, JWT_SECRET, "HS256")
