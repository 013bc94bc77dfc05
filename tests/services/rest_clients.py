"""Ways to our services: straight into the application, with a switch to cut it off, and over real HTTP."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from starlette.types import ASGIApp

from api.server import Server


class Wire(httpx.AsyncBaseTransport):
    """The way to a service. `away` cuts it; `calls` are the methods and paths that went through."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._inner = httpx.ASGITransport(app=app)
        self.away = False
        self.failures: list[int] = []
        self.calls: list[tuple[str, str]] = []
        self.headers: list[httpx.Headers] = []
        self._answered, self._passing = asyncio.Event(), asyncio.Event()
        self._passing.set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Pass a request on, or fail as a dead network does; `failures` are answered first, one a call."""
        if self.away:
            raise httpx.ReadTimeout("cut", request=request)
        self.calls.append((request.method, request.url.path))
        self.headers.append(request.headers)
        if self.failures:
            return httpx.Response(self.failures.pop(0), request=request)
        response = await self._inner.handle_async_request(request)
        self._answered.set()
        await self._passing.wait()
        return response

    @asynccontextmanager
    async def held(self) -> AsyncIterator[asyncio.Event]:
        """Hold answers back until the end. The event says that the service has answered."""
        self._answered.clear()
        self._passing.clear()
        try:
            yield self._answered
        finally:
            self._passing.set()

    def client(self) -> httpx.AsyncClient:
        """A client that goes this way."""
        return httpx.AsyncClient(transport=self, base_url="http://service")


async def raw(wire: Wire, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
    """Status and JSON of one call, without our client in between."""
    async with wire.client() as http:
        content = body if isinstance(body, str | bytes) else None
        response = await http.request(
            method, path, content=content, json=body if content is None else None, headers=headers
        )
    return response.status_code, response.json()


@asynccontextmanager
async def served(app: ASGIApp) -> AsyncIterator[str]:
    """The base URL of a real server on loopback, which is stopped at the end."""
    server = Server(app, "127.0.0.1", 0, grace=1)
    await server.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        await server.stop()
