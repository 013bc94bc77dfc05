"""SendGrid as a provider: the Web API v3, `POST /v3/mail/send`.

A mail that is taken is answered with 202, an empty body and the id in `X-Message-Id`; an error with
`{"errors": [{"message", "field", "help"}]}`. Accounts with EU data residency have a host of their own.
"""

import re
from collections.abc import Mapping, Sequence
from email.utils import parseaddr
from typing import Any

import msgspec

from domain.outgoing import File, OutgoingEmail
from workers.email.http_provider import HttpEmailProvider, Problem, Request, checked
from workers.http_pool import Reply

SENDGRID_URL = "https://api.sendgrid.com"
SENDGRID_EU_URL = "https://api.eu.sendgrid.com"

_OURS = ("from", "reply_to")
"""Fields that come from our settings."""
_RECIPIENT = re.compile(r"personalizations\.\d+\.to\.\d+\.email")
_NO_ADDRESS = re.compile(r"does not contain a valid address\.?", re.IGNORECASE)


class SendGridProvider(HttpEmailProvider):
    """Sends through the account of `api_key`, which needs the permission Mail Send. See `HttpEmailProvider`.

    The envelope sender is SendGrid's own. The notification's id travels as the custom argument `notification_id`,
    which each event that SendGrid reports carries.
    """

    name = "sendgrid"
    title = "SendGrid"
    accepted_status = 202

    def __init__(self, api_key: str, url: str = SENDGRID_URL, **settings: Any) -> None:
        super().__init__(url, f"Bearer {api_key}", api_key, **settings)

    def request(self, mail: OutgoingEmail) -> Request:
        """One personalization with one recipient."""
        content = msgspec.json.encode(_content(checked(mail)))
        return Request("/v3/mail/send", "application/json", _with_files(content, mail.files) if mail.files else content)

    def message_id(self, reply: Reply) -> str | None:
        """The header that SendGrid's own events begin their `sg_message_id` with."""
        return reply.headers.get("x-message-id")

    def problem(self, content: Mapping[str, Any]) -> Problem:
        """The first error's message; `ours` when all of them are about the sender, `no_address` when the one is
        about the recipient's."""
        listed = content.get("errors")
        errors = [error for error in listed if isinstance(error, dict)] if isinstance(listed, list) else []
        if not errors:
            return Problem()
        fields = [str(error.get("field") or "") for error in errors]
        ours = all(field.partition(".")[0] in _OURS for field in fields)
        message = errors[0].get("message")
        no_address = len(errors) == 1 and _RECIPIENT.fullmatch(fields[0]) and _NO_ADDRESS.fullmatch(str(message))
        return Problem(_sentence(fields[0], message), ours, bool(no_address))


def _content(mail: OutgoingEmail) -> dict[str, Any]:
    content: dict[str, Any] = {
        "personalizations": [{"to": [_mailbox(mail.to_name, mail.to)]}],
        "from": _mailbox(mail.sender_name, mail.sender),
        "subject": mail.subject,
        # Plain text first, as RFC 2046 has it; SendGrid refuses the other order, and a part that is empty.
        "content": [
            {"type": f"text/{kind}", "value": value}
            for kind, value in (("plain", mail.text), ("html", mail.html))
            if value
        ],
        "headers": {"Message-ID": mail.message_id},
        "custom_args": {"notification_id": mail.notification_id},
    }
    for name, value in mail.headers:
        if name.lower() == "reply-to":  # reserved among the headers
            content["reply_to"] = _mailbox(*parseaddr(value))
        else:
            content["headers"][name] = value
    return content


def _with_files(content: bytes, files: Sequence[File]) -> bytes:
    """The same object with `attachments`, put together piece by piece."""
    pieces = [content.removesuffix(b"}"), b',"attachments":[']
    for file in files:
        described = {"filename": file.filename, "type": file.content_type, "disposition": "attachment"}
        pieces += [msgspec.json.encode(described).removesuffix(b"}"), b',"content":"']
        pieces += [piece.replace(b"\r\n", b"") for piece in file.lines]
        pieces += [b'"}', b","]
    return b"".join([*pieces[:-1], b"]}"])


def _mailbox(name: str | None, address: str) -> dict[str, str]:
    return {"email": address, "name": name} if name else {"email": address}


def _sentence(field: str, message: object) -> str | None:
    said = message if isinstance(message, str) else ""
    return f"{field}: {said}" if field and said else said or None
