"""Mailgun's Messages API v3 as its documentation has it: `POST /v3/{domain}/messages`, strict, and its errors."""

from base64 import b64decode
from email.parser import BytesParser
from email.policy import HTTP
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
        pairs, files = _form(request)
        fields = dict(pairs)
        require(len(fields) == len(pairs), "a field twice")
        unknown = {name for name in fields if name not in KNOWN and not name.startswith(("h:", "v:"))}
        require(not unknown, f"unknown fields: {unknown}")
        require(fields.keys() >= {"from", "to", "subject"} and fields.keys() & {"text", "html"}, "a field is missing")
        return _taken(fields, files)


Files = tuple[tuple[str, str, bytes], ...]


def _form(request: HttpRequest) -> tuple[list[tuple[str, str]], Files]:
    """The fields, and the files where there are any: then it is `multipart/form-data`."""
    kind = request.headers["content-type"]
    if kind == "application/x-www-form-urlencoded":
        return parse_qsl(request.body.decode("ascii"), keep_blank_values=True, strict_parsing=True), ()
    require(kind.startswith("multipart/form-data; boundary="), kind)
    head = f"Content-Type: {kind}\r\n\r\n".encode()
    form = BytesParser(policy=HTTP).parsebytes(head + request.body)
    require(not form.defects and form.is_multipart(), "no form")
    fields, files = [], []
    for part in form.iter_parts():
        require(part.get_content_disposition() == "form-data", "disposition")
        name, content = part.get_param("name", header="content-disposition"), part.get_payload(decode=True)
        assert isinstance(content, bytes)
        if part.get_filename() is None:
            fields.append((str(name), content.decode()))
        else:
            require(name == "attachment", f"a file named {name}")
            files.append((str(part.get_filename()), part.get_content_type(), content))
    return fields, tuple(files)


def _taken(fields: dict[str, str], files: Files) -> Taken:
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
        files=files,
    )


def _mailbox(text: str) -> tuple[str | None, str]:
    found = getaddresses([text])
    require(len(found) == 1, f"not one mailbox: {text}")
    ((name, address),) = found
    return name or None, address
