"""The link at the head of a mail: a page with one button, and what the button, or a mail program by itself, posts to.

Mail scanners follow links, so a GET changes nothing (RFC 8058, section 2). The link is the credential: no cookie, no
key, no redirect.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from html import escape
from typing import Protocol

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from domain.callbacks import Callback, CallbackKind
from domain.unsubscribing import UnsubscribeLinks
from domain.views import NotificationView

ROUTE = "/unsubscribe/{token}"
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": "default-src 'none'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex",
}
_PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>{title}</title><meta name="viewport" content="width=device-width"></head>
<body><main><h1>{title}</h1>{body}</main></body>
</html>
"""
_BUTTON = """<form method="post"><input type="hidden" name="List-Unsubscribe" value="One-Click">
<button type="submit">Unsubscribe</button></form>"""


class Notifications(Protocol):
    """The gateway's read side."""

    async def notification(self, id: str) -> NotificationView | None: ...


class Unsubscribing(Protocol):
    """See `api.gateway.callbacks.SqlCallbacks.unsubscribe`."""

    async def unsubscribe(self, callback: Callback) -> str | None: ...


def unsubscribe_routes(links: UnsubscribeLinks, notifications: Notifications, wishes: Unsubscribing) -> list[Route]:
    """GET shows the page, POST unsubscribes; both answer 404 to a link that is not ours. 503: say it again."""

    async def show(request: Request) -> Response:
        id = links.read(request.path_params["token"])
        view = None if id is None else await notifications.notification(id)
        if view is None:
            return _unknown()
        asked = f"<p>You will get no more mail about {_named(view.category)}.</p>"
        return _page("Unsubscribe", asked + _BUTTON)

    async def unsubscribe(request: Request) -> Response:
        id = links.read(request.path_params["token"])
        category = None if id is None else await wishes.unsubscribe(_wish(id))
        if category is None:
            return _unknown()
        return _page("Unsubscribed", f"<p>You will get no more mail about {_named(category)}.</p>")

    return [Route(ROUTE, show, methods=["GET"]), Route(ROUTE, unsubscribe, methods=["POST"])]


def _wish(id: str) -> Callback:
    now = datetime.now(UTC)
    return Callback(notification_id=id, kind=CallbackKind.UNSUBSCRIBED, occurred_at=now, provider="link")


def _named(category: str) -> str:
    return f"<strong>{escape(category)}</strong>"


def _unknown() -> Response:
    return _page("This link is not known", "<p>Please open it from the mail itself.</p>", 404)


def _page(title: str, body: str, status: int = 200) -> Response:
    return HTMLResponse(_PAGE.format(title=title, body=body), status, HEADERS)
