"""Swagger UI at `/docs`, and the OpenAPI document that it shows at `/openapi.json`.

Nothing comes from another host: Swagger UI's own files are in the package `fastapi-swagger`, the page and its script
beside this file. The page's links are relative, so they hold behind a proxy's prefix too.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

HERE = Path(__file__).parent
ASSETS = frozenset({"init.js", "swagger-ui-bundle.js", "swagger-ui.css", "favicon-32x32.png"})
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        # Swagger UI's style sheet has its icons within.
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
# Kept by the browser, but asked about each time: an upgrade never mixes old files with new ones.
_FRESH = {"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}
_PAGE = {**_FRESH, "Content-Security-Policy": POLICY, "Referrer-Policy": "no-referrer"}


def docs_routes(document: Callable[[], dict[str, Any]]) -> list[BaseRoute]:
    """`/docs` and `/openapi.json`. `document` is called once, in a thread, when somebody first asks for it."""
    return [
        Route("/openapi.json", _Document(document).answer),
        Route("/docs", _page),
        Mount("/docs/assets", _Assets()),
    ]


class _Document:
    def __init__(self, make: Callable[[], dict[str, Any]]) -> None:
        self._make = make
        self._made: bytes | None = None
        self._lock = asyncio.Lock()

    async def answer(self, _: Request) -> Response:
        async with self._lock:
            if self._made is None:
                # Tens of milliseconds, which live subscriptions in this process would feel.
                self._made = msgspec.json.encode(await asyncio.to_thread(self._make))
        return Response(self._made, headers=_FRESH, media_type="application/json")


class _Assets(StaticFiles):
    """The files of the page, and nothing else of the two folders."""

    def __init__(self) -> None:
        super().__init__(directory=HERE, packages=[("fastapi_swagger", "resources")])

    async def get_response(self, path: str, scope: Scope) -> Response:
        if path not in ASSETS:
            raise HTTPException(404)
        response = await super().get_response(path, scope)
        response.headers.update(_FRESH)
        return response


async def _page(_: Request) -> Response:
    return FileResponse(HERE / "page.html", headers=_PAGE)
