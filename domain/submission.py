"""What a caller submits, and the rules of its shape: everything that can be refused without asking anybody.

Every problem names its field and all of them are reported together. Sizes are bounded here, so nothing that a client
sends can cost more than this linear check.
"""

import hashlib
from collections.abc import Callable, Collection, Iterator
from datetime import datetime, timedelta
from typing import Any, Literal

import msgspec

from domain.attachments import AttachmentRef, attachment_problems
from domain.errors import FieldProblem
from domain.markup.scan import MAX_SOURCE
from domain.notification import Channel, Priority
from domain.outgoing import PushOptions
from domain.push_payload import MAX_PAYLOAD, payload_size
from domain.recipient import email_problem, token_problem
from domain.template import Content, locale_problem
from domain.text import storable
from domain.urls import image_problem, link_problem

MAX_RECIPIENTS = 1000
MAX_VARIABLES_BYTES = 64 * 1024
MAX_METADATA_BYTES = 16 * 1024
MAX_CONTENT_CHARACTERS = MAX_SOURCE
MAX_SUBJECT_CHARACTERS = 998
MAX_NAME_CHARACTERS = 200
MAX_URL_CHARACTERS = 2048
MAX_AHEAD = timedelta(days=366)
CLOCK_TOLERANCE = timedelta(seconds=2)
DEFAULT_CATEGORY = "general"
UNENCODABLE = (UnicodeEncodeError, ValueError, TypeError, OverflowError, RecursionError)
"""What encoding a value as JSON may raise: a lone surrogate, a number that is too large, nesting that is too deep."""


class RecipientRef(msgspec.Struct, frozen=True, kw_only=True):
    """Exactly one of the three says who it is for."""

    user_id: str | None = None
    email: str | None = None
    device_token: str | None = None
    variables: dict[str, Any] | None = None


class TemplateRef(msgspec.Struct, frozen=True, kw_only=True):
    """Which template; the published version and the recipient's locale unless said otherwise."""

    key: str
    version: int | None = None
    locale: str | None = None


class Submission(msgspec.Struct, frozen=True, kw_only=True):
    """One `send_notification` or `send_batch`, as the caller meant it. `client` is who `request_id` is unique for.

    `test` is True for what must go to the sandbox, else it is unset, as `attachments` are where there are none:
    fingerprints that were stored before there were test keys or attachments are still those of the same submissions.
    """

    client: str
    request_id: str | None
    recipients: tuple[RecipientRef, ...]
    batch: bool = False
    channels: tuple[Channel, ...] | None = None
    template: TemplateRef | None = None
    content: Content | None = None
    variables: dict[str, Any] = {}
    category: str = DEFAULT_CATEGORY
    priority: Priority = Priority.NORMAL
    send_at: datetime | None = None
    deliver_by: datetime | None = None
    push: PushOptions | None = None
    metadata: Any = None
    correlation_id: str = ""
    traceparent: str | None = None
    test: Literal[True] | msgspec.UnsetType = msgspec.UNSET
    attachments: tuple[AttachmentRef, ...] | msgspec.UnsetType = msgspec.UNSET

    @property
    def files(self) -> tuple[AttachmentRef, ...]:
        """The attachments; none where they are unset."""
        return () if self.attachments is msgspec.UNSET else self.attachments

    def fingerprint(self) -> str:
        """A hash of the canonical input: equal submissions have equal ones, whatever the order of their keys."""
        same = msgspec.structs.replace(self, client="", request_id=None, correlation_id="", traceparent=None)
        return hashlib.sha256(msgspec.json.encode(same, order="sorted")).hexdigest()

    def path_of(self, index: int) -> tuple[str, ...]:
        """Where the caller wrote recipient number `index`."""
        return ("recipients", str(index), "recipient") if self.batch else ("recipient",)


def shape_problems(submission: Submission, now: datetime, attachment_hosts: Collection[str] = ()) -> list[FieldProblem]:
    """Everything that is wrong with the shape, in the order of the fields; empty when nothing is.

    `attachment_hosts` may have attachments beside the hosts of the public internet.
    """
    return [
        *_text_problems(("request_id",), submission.request_id, MAX_NAME_CHARACTERS),
        *_recipients_problems(submission),
        *_channels_problems(submission),
        *_body_problems(submission),
        *_payload_problems(("variables",), submission.variables, MAX_VARIABLES_BYTES),
        *_payload_problems(("metadata",), submission.metadata, MAX_METADATA_BYTES),
        *_text_problems(("category",), submission.category, MAX_NAME_CHARACTERS),
        *_time_problems(submission, now),
        *_push_problems(submission.push),
        *attachment_problems(submission.files, submission.channels, attachment_hosts),
    ]


def _problem(path: tuple[str, ...], code: str, message: str) -> FieldProblem:
    return FieldProblem(path, code, message)


def _recipients_problems(submission: Submission) -> Iterator[FieldProblem]:
    count = len(submission.recipients)
    if not 1 <= count <= MAX_RECIPIENTS:
        message = f"takes 1 to {MAX_RECIPIENTS} recipients, not {count}"
        yield _problem(("recipients",), "size", message)
        return
    for index, recipient in enumerate(submission.recipients):
        path = submission.path_of(index)
        yield from _recipient_problems(path, recipient)
        if recipient.variables:
            yield from _payload_problems((*path[:-1], "variables"), recipient.variables, MAX_VARIABLES_BYTES)


def _recipient_problems(path: tuple[str, ...], recipient: RecipientRef) -> Iterator[FieldProblem]:
    given = [name for name in ("user_id", "email", "device_token") if getattr(recipient, name) is not None]
    if len(given) != 1:
        yield _problem(path, "one_of", "takes exactly one of user_id, email and device_token")
    elif recipient.email is not None and (problem := email_problem(recipient.email)):
        yield _problem((*path, "email"), "email", problem)
    elif recipient.device_token is not None and (problem := token_problem(recipient.device_token)):
        yield _problem((*path, "device_token"), "device_token", problem)
    elif recipient.user_id is not None:
        yield from _text_problems((*path, "user_id"), recipient.user_id, MAX_NAME_CHARACTERS)


def _channels_problems(submission: Submission) -> Iterator[FieldProblem]:
    channels = submission.channels
    if channels is not None and not channels:
        yield _problem(("channels",), "size", "takes at least one channel; leave it out for every channel")
    if channels is not None and len(set(channels)) != len(channels):
        yield _problem(("channels",), "unique", "names a channel twice")


def _body_problems(submission: Submission) -> Iterator[FieldProblem]:
    template, content = submission.template, submission.content
    if (template is None) == (content is None):
        yield _problem(("template",), "one_of", "takes exactly one of template and content")
    if template is not None:
        yield from _text_problems(("template", "key"), template.key, MAX_NAME_CHARACTERS)
        if template.version is not None and template.version < 1:
            yield _problem(("template", "version"), "range", "counts from 1")
        if template.locale is not None and (problem := locale_problem(template.locale)):
            yield _problem(("template", "locale"), "locale", problem)
    if content is not None:
        yield from _content_problems(content)


def _content_problems(content: Content) -> Iterator[FieldProblem]:
    for name in ("subject", "title"):
        value = getattr(content, name)
        if value is not None and ("\r" in value or "\n" in value):
            yield _problem(("content", name), "line_break", "takes one line, without CR or LF")
        yield from _text_problems(("content", name), value, MAX_SUBJECT_CHARACTERS)
    for name in ("html", "text", "body"):
        yield from _text_problems(("content", name), getattr(content, name), MAX_CONTENT_CHARACTERS)


def _time_problems(submission: Submission, now: datetime) -> Iterator[FieldProblem]:
    for name in ("send_at", "deliver_by"):
        moment: datetime | None = getattr(submission, name)
        if moment is None:
            continue
        if moment.tzinfo is None:
            yield _problem((name,), "time_zone", "takes a time with its offset, such as 2030-01-31T09:00:00Z")
            return
        if moment < now - CLOCK_TOLERANCE:
            yield _problem((name,), "past", "lies in the past")
        elif moment > now + MAX_AHEAD:
            yield _problem((name,), "range", f"lies more than {MAX_AHEAD.days} days ahead")
    if submission.send_at and submission.deliver_by and submission.deliver_by <= submission.send_at:
        yield _problem(("deliver_by",), "order", "is not after send_at")


def _push_problems(push: PushOptions | None) -> Iterator[FieldProblem]:
    if push is None:
        return
    for name, check in (("image_url", image_problem), ("click_url", link_problem)):
        yield from _url_problems(("push", name), getattr(push, name), check)
    for name in ("sound", "collapse_key"):
        yield from _text_problems(("push", name), getattr(push, name), MAX_NAME_CHARACTERS)
    if push.ttl_seconds is not None and not 0 <= push.ttl_seconds <= 28 * 24 * 3600:
        yield _problem(("push", "ttl_seconds"), "range", "takes 0 to 28 days, in seconds")
    if push.badge is not None and not 0 <= push.badge <= 99_999:
        yield _problem(("push", "badge"), "range", "takes 0 to 99,999")
    large = [
        *_payload_problems(("push", "data"), push.data, MAX_PAYLOAD),
        *_payload_problems(("push", "actions"), push.actions, MAX_PAYLOAD),
    ]
    if large:
        yield from large
        return
    yield from _push_size_problems(push)
    for index, action in enumerate(push.actions):
        yield from _url_problems(("push", "actions", str(index), "url"), action.url, link_problem)


def _push_size_problems(push: PushOptions) -> Iterator[FieldProblem]:
    """What each for itself would fit may be too large together, before there is a word of text."""
    size = payload_size("", "", push, "")
    if size > MAX_PAYLOAD:
        yield _problem(("push",), "size", f"takes {size} bytes without any text; a push holds {MAX_PAYLOAD}")


def _url_problems(path: tuple[str, ...], url: str | None, check: Callable[[str], str | None]) -> Iterator[FieldProblem]:
    if url is None:
        return
    if len(url) <= MAX_URL_CHARACTERS and storable(url) and (problem := check(url)):
        yield _problem(path, "url", problem)
    else:
        yield from _text_problems(path, url, MAX_URL_CHARACTERS)


def _text_problems(path: tuple[str, ...], value: str | None, limit: int) -> Iterator[FieldProblem]:
    if value is None:
        return
    if not value.strip():
        yield _problem(path, "empty", "is empty")
    elif len(value) > limit:
        yield _problem(path, "size", f"is longer than {limit:,} characters")
    elif not storable(value):
        yield _problem(path, "characters", "holds a NUL or half of a surrogate pair")


def _payload_problems(path: tuple[str, ...], value: Any, limit: int) -> Iterator[FieldProblem]:
    if not value:
        return
    try:
        size = len(msgspec.json.encode(value))
        storable = size > limit or _all_storable(value)
    except UNENCODABLE:
        yield _problem(path, "characters", "holds something that JSON text cannot hold")
        return
    if size > limit:
        yield _problem(path, "size", f"is larger than {limit // 1024} kB")
    elif not storable:
        yield _problem(path, "characters", "holds a NUL or half of a surrogate pair")


def _all_storable(value: Any) -> bool:
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, dict):
        return all(storable(key) and _all_storable(item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return all(_all_storable(item) for item in value)
    return True
