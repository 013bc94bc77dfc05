"""The pages as HTML. What was sent is hostile: the templates themselves escape all of it, a mail's HTML is a page of
its own in a frame that may do nothing, and the policies let neither run anything nor ask another host.
"""

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from liquid import Environment, Markup, StrictUndefined
from starlette.responses import HTMLResponse, Response

from workers.sandbox.fcm import ReceivedPush
from workers.sandbox.inbox.listing import Listed, Wanted, listed
from workers.sandbox.inbox.view import mail_page, mail_row, push_card, push_texts
from workers.sandbox.mail import KeptMail

HERE = Path(__file__).parent
MAILS, PUSHES = "/sandbox/inbox", "/sandbox/inbox/pushes"

SHY = {
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-DNS-Prefetch-Control": "off",
}
"""What every answer of the sandbox to a browser says."""

_FRAME = "; ".join(
    (
        "sandbox",
        "default-src 'none'",
        "img-src data:",
        "font-src data:",
        "style-src 'unsafe-inline'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'self'",
    )
)
"""For a mail's HTML: its own styles and nothing else, however it is opened."""


def _policy(nonce: str) -> str:
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src 'nonce-{nonce}'",
            f"style-src 'nonce-{nonce}'",
            "connect-src 'self'",
            "frame-src 'self'",
            "form-action 'self'",
            "base-uri 'none'",
            "frame-ancestors 'none'",
        )
    )


def frame(html: str) -> Response:
    """A mail's HTML as it came, to be shown in a frame."""
    return HTMLResponse(html.encode("utf-8", "replace"), headers={**SHY, "Content-Security-Policy": _FRAME})


class Pages:
    """Makes the pages. Reads its files once."""

    def __init__(self) -> None:
        environment = Environment(autoescape=True, undefined=StrictUndefined)
        names = ("layout", "search", "list", "mails", "pushes", "mail")
        self._templates = {name: environment.from_string((HERE / f"{name}.html").read_text()) for name in names}
        self._style = _trusted((HERE / "style.css").read_text())
        self._script = _trusted((HERE / "refresh.js").read_text())

    def mails(self, kept: Sequence[KeptMail], wanted: Wanted) -> Response:
        """The list of mails."""
        found = listed(kept, wanted, lambda mail: f"{mail.subject} {mail.addressed}")
        items = self._render("mails", mails=[mail_row(mail) for mail in found.items])
        return self._list("Mail", "mail", MAILS, "Subject or address", found, items)

    def pushes(self, kept: Sequence[ReceivedPush], wanted: Wanted) -> Response:
        """The cards of pushes."""
        found = listed(kept, wanted, push_texts)
        items = self._render("pushes", pushes=[push_card(push) for push in found.items])
        return self._list("Push", "push", PUSHES, "Title, text or device token", found, items)

    def mail(self, kept: KeptMail) -> Response:
        """One mail."""
        shown = mail_page(kept)
        return self._page(shown["mail"]["subject"] or "A mail", "mail", self._render("mail", **shown))

    def missing(self) -> Response:
        """There is no such mail, or it is no longer kept."""
        body = Markup("<h1>Not here</h1><p>There is no such mail, or the sandbox no longer keeps it.</p>")
        return self._page("Not here", "mail", body, status=404)

    def _list(self, title: str, current: str, path: str, searched: str, found: Listed[Any], items: Markup) -> Response:
        part = self._render(
            "list",
            q=found.q,
            total=found.total,
            page=found.page,
            pages=found.pages,
            newer=found.link(path, -1),
            older=found.link(path, 1),
            items=items,
        )
        if found.alone:
            return HTMLResponse(part.encode("utf-8", "replace"), headers={**SHY, "Content-Security-Policy": _FRAME})
        body = self._render("search", title=title, path=path, searched=searched, q=found.q, list=part)
        return self._page(title, current, body, refreshes=True)

    def _page(self, title: str, current: str, body: Markup, *, refreshes: bool = False, status: int = 200) -> Response:
        nonce = secrets.token_urlsafe(16)
        page = self._render(
            "layout",
            title=title,
            current=current,
            body=body,
            nonce=nonce,
            style=self._style,
            script=self._script,
            refreshes=refreshes,
        )
        headers = {**SHY, "Content-Security-Policy": _policy(nonce)}
        return HTMLResponse(page.encode("utf-8", "replace"), status, headers)

    def _render(self, name: str, **shown: Any) -> Markup:
        """Every text but a `Markup` is escaped on its way in."""
        return _trusted(self._templates[name].render(**shown))


def _trusted(html: str) -> Markup:
    """For files of ours, and for what a template made: nothing of a stranger's comes here unescaped."""
    return Markup(html)
