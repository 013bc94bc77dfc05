"""Several applications behind one port, as `heliograph up` serves them."""

from collections.abc import Callable, Mapping

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as AsgiScope

from api.access import Limiter
from api.http import fail
from api.security import Authenticator, Principal
from domain.errors import HeliographError


def by_path(doors: Mapping[str, ASGIApp], otherwise: ASGIApp) -> ASGIApp:
    """Send a request to the application whose prefix its path has; unlike a mount, the path stays whole."""

    async def app(scope: AsgiScope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        chosen = next((door for prefix, door in doors.items() if path == prefix or path.startswith(prefix + "/")), None)
        await (chosen or otherwise)(scope, receive, send)

    return app


Allow = Callable[[Principal, str, bool], None]
"""Raises `Forbidden` unless the principal may use this path; the last one says whether to change something."""


class BehindKeys:
    """Puts a service's REST behind the gateway's credentials and limits; `allow` says who may do what.

    The service itself knows only the service token, which the caller need not have.
    """

    def __init__(
        self, app: ASGIApp, keys: Authenticator, limiter: Limiter, allow: Allow, service_token: str | None
    ) -> None:
        self._app, self._keys, self._limiter, self._allow = app, keys, limiter, allow
        self._token = service_token

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        try:
            principal = await self._keys.authenticate_headers(Headers(scope=scope))
            self._allow(principal, scope["path"], not _reads(scope))
            await self._limiter.check(principal)
        except HeliographError as error:
            await fail(error)(scope, receive, send)
            return
        await self._app(self._within(scope), receive, send)

    def _within(self, scope: AsgiScope) -> AsgiScope:
        kept = [(name, value) for name, value in scope["headers"] if name != b"authorization"]
        if self._token is not None:
            kept.append((b"authorization", f"Bearer {self._token}".encode()))
        return {**scope, "headers": kept}


def _reads(scope: AsgiScope) -> bool:
    """Some look-ups are POSTs, because what they ask for is long."""
    return scope["method"] in ("GET", "HEAD", "OPTIONS") or scope["path"].endswith(("/lookup", "/render"))
