"""What a mail to a return path says: reports on delivery (RFC 3464) and complaints (RFC 5965).

Senders of reports keep to the standards more or less, so a report is looked for wherever it may be: nested, under
another content type, in base64, in a mail that ends too early. Mail servers without any standard are for
`workers.email.dsn_text`.
"""

import re
from collections.abc import Iterator
from email import policy
from email.message import Message
from email.parser import BytesParser
from itertools import chain, islice

import msgspec

from domain.callbacks import CallbackKind
from workers.email import dsn_text
from workers.email.discretion import without_address

MAX_PARTS, MAX_REPORTS = 100, 10
_MAX_CONTENT = 262_144
"""Octets of a mail that are looked at: what it says comes first, what was returned with it comes last."""
_MAX_TEXT, _MAX_VALUE, _MAX_REASON = 100_000, 2_000, 300
_MAX_BOUNDARIES = 20  # each level of nesting makes every line of it dearer to parse

_BOUNDARY = re.compile(rb"boundary\s*=", re.IGNORECASE)
_ENDLESS = re.compile(rb"(?:^|\n)content-[a-z-]{1,30}:(?:[^\n]|\n[ \t]){4000}", re.IGNORECASE)
"""Parameters without end, which the standard parser takes apart in the square of their length."""
_STATUS = re.compile(r"(?<![\d.])([245])\.(\d{1,3})\.(\d{1,3})(?![\d.]*\d)")
_NOT_THE_ADDRESS = re.compile(r"5\.(2\.[23]|3\.\d+|6\.\d+|7\.\d+)$")
"""Refused for good, but another mail may be taken (RFC 3463): a full mailbox, too long a mail, the mail system, the
content, a policy."""
_REPLY = re.compile(r"(?<![\d.])([245])\d\d(?![\d.]*\d)")
_CODES_FIRST = re.compile(r"^(?:[245]\d\d[\s-]+)?(?:#?[245]\.\d{1,3}\.\d{1,3}\b\W*)?")
_REPORT_TYPES = frozenset({"message/delivery-status", "message/global-delivery-status"})
_ABOUT_RECIPIENT = frozenset({"action", "status", "final-recipient"})
_FEEDBACK = frozenset({"abuse", "fraud", "virus", "other"})
"""What its registry (RFC 5965, 7.3) counts as complaints; `not-spam` is the opposite of one."""
_KINDS = {
    "failed": CallbackKind.BOUNCED,
    "delayed": CallbackKind.DELAYED,
    "delivered": CallbackKind.DELIVERED,
    "relayed": CallbackKind.DELIVERED,
}

Fields = dict[str, str]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that a mail says; the fields are those of `domain.callbacks.Callback`."""

    kind: CallbackKind
    permanent: bool = False
    code: str | None = None
    reason: str | None = None


def reports_in(content: bytes) -> tuple[Report, ...]:
    """What the mail says, in its order; nothing for an answering machine's reply or any other mail. Never raises.

    It may take a second for the worst mails: call it off the event loop.
    """
    content = content[:_MAX_CONTENT]
    if len(_BOUNDARY.findall(content)) > _MAX_BOUNDARIES or _ENDLESS.search(content):
        return ()
    try:
        message: Message = BytesParser(policy=policy.compat32).parsebytes(content)
        return tuple(islice(_reports(message), MAX_REPORTS))
    except Exception:  # a stranger's mail found a hole in the parser; it is no report that anybody meant
        return ()


def _reports(message: Message) -> Iterator[Report]:
    """The standard's own parts count wherever they are; texts count only outside of what was returned with them."""
    parts = list(islice(message.walk(), MAX_PARTS))
    complaints = [report for part in parts if (report := _complaint(part)) is not None]
    said = list(chain.from_iterable(map(_stated, parts))) or list(chain.from_iterable(map(_written, _outside(message))))
    found = complaints or [report for fields in said if (report := _delivery(fields)) is not None]
    yield from dict.fromkeys(found)
    if not found and not said and (text := dsn_text.read(message, list(_outside(message)))) is not None:
        yield _judged(text.kind, text.status, text.sentence, text.recipient)


def _outside(message: Message) -> Iterator[Message]:
    """The parts that are not in a mail within the mail."""
    yield message
    if message.get_content_maintype() == "multipart" and isinstance(parts := message.get_payload(), list):
        for part in islice(parts, MAX_PARTS):
            if isinstance(part, Message):
                yield from _outside(part)


# ----------------------------------------------------------------------------------------- the standard's own fields


def _complaint(part: Message) -> Report | None:
    if part.get_content_type() != "message/feedback-report":
        return None
    for fields in fields_of(dsn_text.text_of(part)):
        kind = fields.get("feedback-type", "").lower()
        if kind in _FEEDBACK:
            return Report(kind=CallbackKind.COMPLAINED, code=kind, reason="The recipient reported it as unwanted.")
    return None


def _stated(part: Message) -> list[Fields]:
    """What a delivery status says of each recipient; its first group, about the whole mail, has no action."""
    if part.get_content_type() not in _REPORT_TYPES:
        return []
    return [fields for fields in fields_of(dsn_text.text_of(part)) if not fields.keys().isdisjoint(_ABOUT_RECIPIENT)]


def _written(part: Message) -> list[Fields]:
    """The same in a part that is not labelled as one."""
    if part.get_content_maintype() not in {"text", "application"} or part.get_content_type() == "text/rfc822-headers":
        return []
    groups = fields_of(dsn_text.head_of(dsn_text.text_of(part)))
    return [fields for fields in groups if "action" in fields and "final-recipient" in fields]


def fields_of(text: str) -> list[Fields]:
    """The groups of header fields in a text: names in lower case, folded lines joined, the first of a name counts."""
    groups: list[Fields] = [{}]
    name = ""
    for line in text[:_MAX_TEXT].splitlines():
        if not line.strip():
            if groups[-1]:
                groups.append({})
            name = ""
        elif line[0] in " \t" and name:
            if len(groups[-1][name]) < _MAX_VALUE:
                groups[-1][name] += f" {line.strip()[:_MAX_VALUE]}"
        elif ":" in line:
            name, _, value = line.partition(":")
            name = name.strip().lower()
            if name in groups[-1]:
                name = ""
            else:
                groups[-1][name] = value.strip()[: 2 * _MAX_VALUE]
    return [group for group in groups if group]


def _delivery(fields: Fields) -> Report | None:
    """What is said of one recipient. Without an action the status decides, if there is one."""
    words = fields.get("action", "").split()
    status, diagnostic = fields.get("status", ""), _untyped(fields.get("diagnostic-code", ""))
    recipient = _untyped(fields.get("final-recipient") or fields.get("original-recipient") or "")
    found = _STATUS.search(status)
    if not words and (found is None or not recipient):
        return None
    action = words[0].strip(";,.").lower() if words else {"5": "failed", "4": "delayed"}.get(status[:1], "")
    kind = _KINDS.get(action)
    return None if kind is None else _judged(kind, found[0] if found else None, diagnostic, recipient)


def _judged(kind: CallbackKind, status: str | None, diagnostic: str, recipient: str) -> Report:
    code = _code(status, diagnostic)
    # A reply without an enhanced code still says whether it is for good.
    reply = _REPLY.search(diagnostic)
    severity = code[0] if code else reply[1] if reply else ""
    sentence = None if kind is CallbackKind.DELIVERED else _sentence(kind, code, diagnostic, recipient)
    permanent = kind is CallbackKind.BOUNCED and severity == "5" and _NOT_THE_ADDRESS.match(code or "") is None
    return Report(kind=kind, permanent=permanent, code=code or (reply[0] if reply else None), reason=sentence)


def _code(status: str | None, diagnostic: str) -> str | None:
    """The status; where it says nothing (`5.0.0`), what the remote server said, if that is of the same class."""
    said = _STATUS.search(diagnostic)
    if said is not None and (status is None or (status.endswith(".0.0") and said[1] == status[0])):
        return said[0]
    return status


def _sentence(kind: CallbackKind, code: str | None, diagnostic: str, recipient: str) -> str:
    if len(diagnostic) > _MAX_VALUE:  # cut between words, so that no half of an address is left
        diagnostic = diagnostic[:_MAX_VALUE].rpartition(" ")[0]
    said = without_address(_CODES_FIRST.sub("", diagnostic.strip()), recipient)
    if said:
        return said if len(said) <= _MAX_REASON else said[: _MAX_REASON - 1] + "…"
    delayed = kind is CallbackKind.DELAYED
    what = "A mail server could not deliver it yet" if delayed else "A mail server could not deliver it"
    return f"{what} ({code}) and gave no reason." if code else f"{what} and gave no reason."


def _untyped(value: str) -> str:
    """What follows the type: `rfc822; ada@example.com`, `smtp; 550 5.1.1 …`."""
    kind, semicolon, rest = value.partition(";")
    return rest.strip() if semicolon and re.fullmatch(r"\s*[\w.+-]{1,30}\s*", kind) else value.strip()
