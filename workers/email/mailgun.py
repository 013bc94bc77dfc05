"""Mailgun as a provider: the Messages API v3, `POST /v3/{domain}/messages`, as form fields, a form's files included.

A mail that is taken is answered with 200 and `{"id": "<…>", "message": "Queued. Thank you."}`; an error with
`{"message": …}`. Domains of the EU region are known only to the host of that region.
"""

import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from secrets import token_hex
from typing import Any
from urllib.parse import urlencode

from domain.errors import ConfigurationError
from domain.outgoing import File, OutgoingEmail
from workers.email.http_provider import HttpEmailProvider, Problem, Request, checked, mailbox_text
from workers.http_answer import json_object
from workers.http_pool import Reply

MAILGUN_URL = "https://api.mailgun.net"
MAILGUN_EU_URL = "https://api.eu.mailgun.net"

_DOMAIN = re.compile(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")
_OURS = re.compile(r"'?from'? parameter|sandbox subdomains|domain\b.*\bnot (allowed|verified|activated)", re.IGNORECASE)
"""Refusals that are about our settings or our account."""
_NO_ADDRESS = re.compile(r"'?to'? parameter is not a valid address", re.IGNORECASE)


class MailgunProvider(HttpEmailProvider):
    """Sends from `domain` with `api_key`, an account's or that domain's own. See `HttpEmailProvider`.

    The envelope sender is Mailgun's own. The notification's id travels as the variable `notification_id`, which each
    event that Mailgun reports carries under `user-variables`.
    """

    name = "mailgun"
    title = "Mailgun"
    accepted_status = 200

    def __init__(self, api_key: str, domain: str, url: str = MAILGUN_URL, **settings: Any) -> None:
        if not _DOMAIN.fullmatch(domain):
            raise ConfigurationError("Mailgun's domain must be a domain name in ASCII.")
        login = b64encode(f"api:{api_key}".encode()).decode()
        super().__init__(url, f"Basic {login}", api_key, **settings)
        self._path = f"/v3/{domain}/messages"

    def request(self, mail: OutgoingEmail) -> Request:
        """One recipient, in one `to`."""
        fields = _fields(checked(mail))
        if mail.files:
            return Request(self._path, *_multipart(fields, mail.files))
        return Request(self._path, "application/x-www-form-urlencoded", urlencode(fields).encode("ascii"))

    def message_id(self, reply: Reply) -> str | None:
        """The Message-ID that Mailgun gives the mail: ours."""
        id = json_object(reply.body).get("id")
        return id if isinstance(id, str) else None

    def problem(self, content: Mapping[str, Any]) -> Problem:
        """The message; `ours` and `no_address` by its words, since Mailgun has no codes."""
        message = content.get("message")
        if not isinstance(message, str):
            return Problem()
        return Problem(message, _OURS.match(message) is not None, _NO_ADDRESS.match(message) is not None)


def _multipart(fields: Sequence[tuple[str, str]], files: Sequence[File]) -> tuple[str, bytes]:
    """The content type and the form of the fields and the files (`multipart/form-data`, RFC 7578). Nobody guesses the
    boundary, so nothing can hold it."""
    boundary = token_hex(24)
    part = f"--{boundary}\r\nContent-Disposition: form-data; name="
    parts = [f'{part}"{name}"\r\n\r\n{value}\r\n'.encode() for name, value in fields]
    for file in files:
        head = f'{part}"attachment"; filename="{file.filename}"\r\nContent-Type: {file.content_type}\r\n\r\n'
        parts += [head.encode(), file.content, b"\r\n"]
    return f"multipart/form-data; boundary={boundary}", b"".join([*parts, f"--{boundary}--\r\n".encode()])


def _fields(mail: OutgoingEmail) -> list[tuple[str, str]]:
    fields = [
        ("from", mailbox_text(mail.sender_name, mail.sender)),
        ("to", mailbox_text(mail.to_name, mail.to)),
        ("subject", mail.subject),
        ("h:Message-Id", mail.message_id),
        ("v:notification_id", mail.notification_id),
    ]
    fields += [(kind, value) for kind, value in (("text", mail.text), ("html", mail.html)) if value]
    return fields + [(f"h:{name}", value) for name, value in mail.headers]
