"""A sandbox of its own with the inbox on it, filled with what people send, and a mail that means harm."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.message import EmailMessage
from typing import Any

from aiosmtpd.smtp import Envelope
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from workers.sandbox.app import sandbox_app
from workers.sandbox.fcm import FcmStore
from workers.sandbox.mailbox import Mailbox
from workers.sandbox.server import LocalServer

HOST = "127.0.0.1"
HARM = "document.title = 'taken'; new Image().src = '{url}/script'; top.location = '{url}/top'"
HOSTILE = """<html><head><base href="{url}/base/"><meta http-equiv="refresh" content="0; url={url}/refresh">
<link rel="stylesheet" href="{url}/style"><link rel="prefetch" href="{url}/prefetch">
<style>@import url("{url}/import"); body {{ background: url("{url}/background") }} p {{ color: rgb(1, 2, 3) }}</style>
</head><body onload="{harm}"><script>{harm}</script><img src="{url}/image" onerror="{harm}">
<iframe src="{url}/frame"></iframe><object data="{url}/object"></object><video src="{url}/video" autoplay></video>
<form action="{url}/form" method="post"><button autofocus onfocus="{harm}">Win</button></form>
<svg onload="{harm}"></svg><a id="away" href="{url}/link">Go</a><p id="harmless">Harmless words</p></body></html>"""


class Stranger:
    """A server that this machine can reach, and every path that was asked of it."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        routes = [Route("/{path:path}", self._answer, methods=["GET", "POST", "HEAD"])]
        self.server = LocalServer(Starlette(routes=routes), HOST, 0)

    async def _answer(self, request: Request) -> PlainTextResponse:
        self.asked.append(request.url.path)
        return PlainTextResponse("here")


class Inbox:
    """A sandbox's store and its pages."""

    def __init__(self) -> None:
        self.mailbox, self.pushes = Mailbox(), FcmStore()
        self.server = LocalServer(sandbox_app(self.mailbox, self.pushes), HOST, 0)

    @property
    def url(self) -> str:
        """Where the inbox is."""
        return f"{self.server.url}/sandbox/inbox"

    def take(self, subject: str, to: str, text: str = "Hello", html: str = "") -> str:
        """Keep a mail; its id."""
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = "Heliograph <hello@heliograph.example>", to, subject
        message.set_content(text)
        if html:
            message.add_alternative(html, subtype="html")
        envelope = Envelope()
        envelope.mail_from, envelope.rcpt_tos, envelope.content = "hello@heliograph.example", [to], message.as_bytes()
        self.mailbox._keep(envelope)
        return self.mailbox.kept[0].id

    def take_push(self, token: str, **message: Any) -> None:
        """Keep a push."""
        self.pushes.accept("demo", {"token": token, **message})


@asynccontextmanager
async def served(*servers: LocalServer) -> AsyncIterator[None]:
    """Start these, and stop them at the end."""
    for server in servers:
        await server.start()
    try:
        yield
    finally:
        for server in servers:
            await server.stop()


def hostile(url: str) -> str:
    """HTML that tries everything to be heard of at `url`, or to change the page that it is shown on."""
    return HOSTILE.format(url=url, harm=HARM.format(url=url))
