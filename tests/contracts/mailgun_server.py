"""Mailgun's Messages API v3 as its documentation has it: `POST /v3/{domain}/messages`, strict, and its errors."""

from base64 import b64decode
from email.utils import getaddresses
from typing import Any, ClassVar
from urllib.parse import parse_qsl

from domain.ports import EmailProvider
from tests.contracts.http_api import Fate, HttpApi, HttpReply, HttpRequest, Taken, require
from workers.email.mailgun import MailgunProvider

KEY = "key-of-the-tests"
DOMAIN = "mg.heliograph.test"
KNOWN = frozenset({"from", "to", "subject", "text", "html"})


class MailgunApi(HttpApi):
    """See `HttpApi`."""

    name = "mailgun"
    answers: ClassVar = {
        Fate.REFUSED: HttpReply(
            400, {"message": "'to' parameter is not a valid address: Ada Lovelace <ada.lovelace@example.com>"}
        ),
        Fate.BUSY: HttpReply(500, {"message": "Internal Server Error"}),
        Fate.LIMITED: HttpReply(429, {"message": "Too many requests"}, {"Retry-After": "17"}),
        Fate.STRANGER: HttpReply(401, "Forbidden"),
    }

    def adapter(self, url: str, **settings: Any) -> EmailProvider:
        """With the key and the domain of the tests."""
        return MailgunProvider(KEY, DOMAIN, url, **settings)

    def receipt(self, mail: Taken) -> HttpReply:
        """200, with the Message-ID of the mail."""
        return HttpReply(200, {"id": mail.message_id, "message": "Queued. Thank you."})

    def read(self, request: HttpRequest) -> Taken:
        """The mail, when everything is as documented."""
        require(request.target == f"/v3/{DOMAIN}/messages", request.target)
        scheme, _, login = request.headers["authorization"].partition(" ")
        require((scheme, b64decode(login).decode()) == ("Basic", f"api:{KEY}"), "authorization")
        require(request.headers["content-type"] == "application/x-www-form-urlencoded", "content-type")
        pairs = parse_qsl(request.body.decode("ascii"), keep_blank_values=True, strict_parsing=True)
        fields = dict(pairs)
        require(len(fields) == len(pairs), "a field twice")
        unknown = {name for name in fields if name not in KNOWN and not name.startswith(("h:", "v:"))}
        require(not unknown, f"unknown fields: {unknown}")
        require(fields.keys() >= {"from", "to", "subject"} and fields.keys() & {"text", "html"}, "a field is missing")
        return _taken(fields)


def _taken(fields: dict[str, str]) -> Taken:
    headers = {name[2:]: value for name, value in fields.items() if name.startswith("h:")}
    to_name, to = _mailbox(fields["to"])
    sender_name, sender = _mailbox(fields["from"])
    return Taken(
        to=to,
        to_name=to_name,
        sender=sender,
        sender_name=sender_name,
        subject=fields["subject"],
        text=fields.get("text"),
        html=fields.get("html"),
        message_id=headers.pop("Message-Id"),
        headers=headers,
        notification_id=fields.get("v:notification_id"),
    )


def _mailbox(text: str) -> tuple[str | None, str]:
    found = getaddresses([text])
    require(len(found) == 1, f"not one mailbox: {text}")
    ((name, address),) = found
    return name or None, address
