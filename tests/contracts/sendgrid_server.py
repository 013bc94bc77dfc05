"""SendGrid's Web API v3 as its documentation has it: `POST /v3/mail/send`, strict about every field, and its errors."""

from base64 import b64decode
from typing import Any, ClassVar

import msgspec

from domain.ports import EmailProvider
from tests.contracts.http_api import Fate, HttpApi, HttpReply, HttpRequest, Taken, require
from workers.email.sendgrid import SendGridProvider

KEY = "SG.key-of-the-tests"
HELP = "http://sendgrid.com/docs/API_Reference/Web_API_v3/Mail/errors.html#message"
RESERVED = frozenset(
    {"x-sg-id", "x-sg-eid", "received", "dkim-signature", "content-type", "content-transfer-encoding"}
    | {"to", "from", "subject", "reply-to", "cc", "bcc"}
)


class Mailbox(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    email: str
    name: str | None = None


class Personalization(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    to: list[Mailbox]


class Content(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    type: str
    value: str


class Attached(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    content: str
    filename: str
    type: str
    disposition: str


class Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"sender": "from"}):
    personalizations: list[Personalization]
    sender: Mailbox
    subject: str
    content: list[Content]
    reply_to: Mailbox | None = None
    headers: dict[str, str] = {}
    custom_args: dict[str, str] = {}
    attachments: list[Attached] = []


def errors(message: str, field: str | None = None) -> dict[str, Any]:
    """An error body."""
    return {"errors": [{"message": message, "field": field, "help": HELP}]}


class SendGridApi(HttpApi):
    """See `HttpApi`."""

    name = "sendgrid"
    answers: ClassVar = {
        Fate.REFUSED: HttpReply(
            400, errors("ada.lovelace@example.com (Ada Lovelace) is unsubscribed.", "personalizations.0.to.0.email")
        ),
        Fate.BUSY: HttpReply(503, errors("The SendGrid v3 Web API is not available.")),
        Fate.LIMITED: HttpReply(429, errors("too many requests"), {"Retry-After": "17", "X-RateLimit-Remaining": "0"}),
        Fate.STRANGER: HttpReply(401, errors("The provided authorization grant is invalid, expired, or revoked")),
    }

    def adapter(self, url: str, **settings: Any) -> EmailProvider:
        """With the key of the tests."""
        return SendGridProvider(KEY, url, **settings)

    def receipt(self, mail: Taken) -> HttpReply:
        """202; an address with more than ASCII before the @ is none to SendGrid."""
        if not mail.to.isascii():
            return HttpReply(400, errors("Does not contain a valid address.", "personalizations.0.to.0.email"))
        return HttpReply(202, None, {"X-Message-Id": f"sg-{len(self.taken)}"})

    def read(self, request: HttpRequest) -> Taken:
        """The mail, when everything is as documented."""
        require(request.target == "/v3/mail/send", request.target)
        require(request.headers["authorization"] == f"Bearer {KEY}", "authorization")
        require(request.headers["content-type"] == "application/json", "content-type")
        try:
            body = msgspec.json.decode(request.body, type=Body)
        except msgspec.ValidationError as error:
            require(False, str(error))
            raise
        types = [part.type for part in body.content]
        require(types in (["text/plain"], ["text/html"], ["text/plain", "text/html"]), f"content: {types}")
        require(all(part.value for part in body.content), "an empty part")
        require(len(body.personalizations) == 1 and len(body.personalizations[0].to) == 1, "personalizations")
        require(all(file.disposition == "attachment" for file in body.attachments), "disposition")
        require(not RESERVED & {name.lower() for name in body.headers}, f"a reserved header: {body.headers}")
        return _taken(body)


def _taken(body: Body) -> Taken:
    (to,) = body.personalizations[0].to
    parts = {part.type: part.value for part in body.content}
    headers = dict(body.headers)
    message_id = headers.pop("Message-ID")
    if body.reply_to is not None:
        headers["Reply-To"] = body.reply_to.email
    return Taken(
        to=to.email,
        to_name=to.name,
        sender=body.sender.email,
        sender_name=body.sender.name,
        subject=body.subject,
        text=parts.get("text/plain"),
        html=parts.get("text/html"),
        message_id=message_id,
        headers=headers,
        notification_id=body.custom_args.get("notification_id"),
        files=tuple((file.filename, file.type, b64decode(file.content, validate=True)) for file in body.attachments),
    )
