"""Measures how requests are answered."""

from collections.abc import Callable
from time import perf_counter

from starlette.types import ASGIApp, Message, Receive, Scope, Send

Answered = Callable[[str, str, int, float], None]
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Timing:
    """Tells `answered` of each request: its method, the pattern of its path, the status, and the seconds until the
    answer began; an answer may have no end. Pure ASGI, around an application that routes."""

    def __init__(self, app: ASGIApp, answered: Answered) -> None:
        self._app, self._answered = app, answered

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = perf_counter()

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._answered(_method(scope), _route(scope), message["status"], perf_counter() - started)
            await send(message)

        await self._app(scope, receive, watched)


def _method(scope: Scope) -> str:
    """A client may make up a method, but not a label."""
    return scope["method"] if scope["method"] in _METHODS else "OTHER"


def _route(scope: Scope) -> str:
    """The pattern that the router chose; what no route is there for is all one."""
    return str(getattr(scope.get("route"), "path", "none"))
