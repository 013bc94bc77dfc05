"""An HTTP client of an ASGI application that counts its calls and can be cut off."""

from typing import Any

import httpx
from starlette.types import ASGIApp


class Wire(httpx.AsyncBaseTransport):
    """The way to a service. `away` cuts it; `calls` are the methods and paths that went through."""

    def __init__(self, app: ASGIApp) -> None:
        self._inner = httpx.ASGITransport(app=app)
        self.away = False
        self.failures: list[int] = []
        self.calls: list[tuple[str, str]] = []
        self.headers: list[httpx.Headers] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Pass a request on, or fail as a dead network does; `failures` are answered first, one a call."""
        if self.away:
            raise httpx.ReadTimeout("cut", request=request)
        self.calls.append((request.method, request.url.path))
        self.headers.append(request.headers)
        if self.failures:
            return httpx.Response(self.failures.pop(0), request=request)
        return await self._inner.handle_async_request(request)

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
