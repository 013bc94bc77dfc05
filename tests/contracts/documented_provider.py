"""The provider that docs/providers.md shows how to add, read from that page, and a server with its API."""

import re
from base64 import b64decode
from email.utils import getaddresses
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import msgspec

from domain.ports import EmailProvider
from tests.contracts.http_api import Fate, HttpApi, HttpReply, HttpRequest, Taken, require

PAGE = Path(__file__).parents[2] / "docs" / "providers.md"
KEY = "re_key-of-the-tests"


class Tag(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    value: str


class Attached(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    filename: str
    content_type: str
    content: str


class Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"sender": "from"}):
    sender: str
    to: list[str]
    subject: str
    reply_to: str | None = None
    text: str | None = None
    html: str | None = None
    headers: dict[str, str] = {}
    tags: list[Tag] = []
    attachments: list[Attached] = []


@cache
def documented() -> ModuleType:
    """The page's example as a module."""
    (source,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert len(source.splitlines()) < 100, "the page promises so"
    module = ModuleType("documented_provider_example")
    exec(compile(source, str(PAGE), "exec"), vars(module))
    return module


class DocumentedApi(HttpApi):
    """See `HttpApi`."""

    name = "resend"
    answers: ClassVar = {
        Fate.REFUSED: HttpReply(
            422, {"name": "validation_error", "message": "Invalid `to`: Ada Lovelace <ada.lovelace@example.com>"}
        ),
        Fate.BUSY: HttpReply(500, {"name": "application_error", "message": "An unexpected error occurred."}),
        Fate.LIMITED: HttpReply(429, {"name": "rate_limit_exceeded", "message": "Too many."}, {"Retry-After": "1"}),
        Fate.STRANGER: HttpReply(401, {"name": "missing_api_key", "message": "Missing API key."}),
    }

    def adapter(self, url: str, **settings: Any) -> EmailProvider:
        """The page's class."""
        provider: EmailProvider = documented().ResendProvider(KEY, url, **settings)
        return provider

    def receipt(self, mail: Taken) -> HttpReply:
        """200 with an id."""
        return HttpReply(200, {"id": f"re-{len(self.taken)}"})

    def read(self, request: HttpRequest) -> Taken:
        """The mail, when everything is as documented."""
        require(request.target == "/emails", request.target)
        require(request.headers["authorization"] == f"Bearer {KEY}", "authorization")
        body = msgspec.json.decode(request.body, type=Body)
        ((to_name, to),) = getaddresses(body.to)
        ((sender_name, sender),) = getaddresses([body.sender])
        require("Reply-To" not in body.headers, "reply_to has a field of its own")
        headers = dict(body.headers) | ({"Reply-To": body.reply_to} if body.reply_to else {})
        return Taken(
            to=to,
            to_name=to_name or None,
            sender=sender,
            sender_name=sender_name or None,
            subject=body.subject,
            text=body.text,
            html=body.html,
            message_id=headers.pop("Message-ID"),
            headers=headers,
            notification_id={tag.name: tag.value for tag in body.tags}.get("notification_id"),
            files=tuple(
                (file.filename, file.content_type, b64decode(file.content, validate=True)) for file in body.attachments
            ),
        )
