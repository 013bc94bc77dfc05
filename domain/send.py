"""Verb 1: accept a request.

Validation is all or nothing: when `send` answers, the whole request is stored in one transaction and survives any
crash; when it raises, nothing was stored. It asks the User and Template services (through caches), decides per
recipient which channels to use, pins the template version and locale, and hands one order to the store.
"""

from datetime import UTC, datetime
from typing import Any, Protocol

import msgspec

from domain.errors import FieldProblem, NotFound, RequestError, TemplateError, TemplateSyntaxError, ValidationFailed
from domain.ids import NOTIFICATION, REQUEST, new_id
from domain.notification import Channel, Status
from domain.outgoing import Pinned
from domain.ports import Recipients, Templates
from domain.recipient import Device, Recipient, may_contact, reachable
from domain.submission import CLOCK_TOLERANCE, UNENCODABLE, RecipientRef, Submission, shape_problems
from domain.template import Content, Renderer, TemplateLocale, TemplateVersion, missing
from domain.views import Draft, Order, Receipt


class Requests(Protocol):
    """The gateway's store of what was accepted."""

    async def accept(self, order: Order) -> Receipt:
        """Store the order in ONE transaction: rows, first log entries, nothing or all of it.

        The same client, `request_id` and fingerprint again give the first receipt with `duplicate` set; another
        fingerprint raises `Conflict`. Concurrent twins give one order.
        """

    async def find(self, client: str, request_id: str, fingerprint: str) -> Receipt | None:
        """The receipt of an order accepted before, or None; raises `Conflict` as `accept` does."""


class SendPorts(msgspec.Struct, frozen=True):
    """What accepting needs from the outside."""

    requests: Requests
    recipients: Recipients
    templates: Templates
    renderer: Renderer


async def send(submission: Submission, ports: SendPorts) -> Receipt:
    """Accept a submission.

    Raises `ValidationFailed` naming every wrong field, `Conflict` when the request_id was used for another input, and
    `UpstreamUnavailable` when a user or template must be known and cannot be. May be called again with the same
    request_id: the answer is the same, even when a user or template has gone since.
    """
    fingerprint = submission.fingerprint() if _encodable(submission) else ""
    try:
        order = await _prepare(submission, fingerprint, ports)
    except RequestError:
        known = await _accepted_before(submission, fingerprint, ports)
        if known is not None:
            return known
        raise
    return await ports.requests.accept(order)


def _encodable(submission: Submission) -> bool:
    try:
        msgspec.json.encode(submission)
    except UNENCODABLE:
        return False
    return True


async def _accepted_before(submission: Submission, fingerprint: str, ports: SendPorts) -> Receipt | None:
    if not submission.request_id or not fingerprint or "\0" in submission.request_id:
        return None
    return await ports.requests.find(submission.client, submission.request_id, fingerprint)


async def _prepare(submission: Submission, fingerprint: str, ports: SendPorts) -> Order:
    now = datetime.now(UTC)
    problems = shape_problems(submission, now)
    if problems:
        raise ValidationFailed(problems)
    version = await _template_version(submission, ports.templates)
    recipients = await _recipients(submission, ports.recipients)
    request = new_id(REQUEST)
    drafts = _Drafting(submission, version, ports.renderer, now).drafts(recipients)
    return Order(
        id=request,
        client=submission.client,
        request_id=submission.request_id or request,
        fingerprint=fingerprint,
        correlation_id=submission.correlation_id,
        traceparent=submission.traceparent,
        category=submission.category,
        priority=submission.priority,
        content=submission.content,
        variables=submission.variables,
        push=submission.push,
        metadata=submission.metadata,
        send_at=submission.send_at,
        deliver_by=submission.deliver_by,
        drafts=drafts,
    )


async def _template_version(submission: Submission, templates: Templates) -> TemplateVersion | None:
    ref = submission.template
    if ref is None:
        return None
    try:
        if ref.version is not None:
            return await templates.version(ref.key, ref.version)
        published = (await templates.published(ref.key)).published
    except NotFound as error:
        field = "template.key" if ref.version is None else "template.version"
        raise ValidationFailed.of(field, "not_found", error.message) from error
    if published is None:
        raise ValidationFailed.of("template.key", "not_published", "No version of this template is published yet.")
    return published


async def _recipients(submission: Submission, recipients: Recipients) -> list[Recipient]:
    """Who the references mean, in order. Unknown users are all named."""
    ids = list({ref.user_id for ref in submission.recipients if ref.user_id is not None})
    known = await recipients.lookup(ids) if ids else {}
    problems = [
        FieldProblem((*submission.path_of(index), "user_id"), "not_found", f"There is no user {ref.user_id!r}.")
        for index, ref in enumerate(submission.recipients)
        if ref.user_id is not None and ref.user_id not in known
    ]
    if problems:
        raise ValidationFailed(problems)
    return [known[ref.user_id] if ref.user_id is not None else _direct(ref) for ref in submission.recipients]


def _direct(ref: RecipientRef) -> Recipient:
    if ref.email is not None:
        return Recipient(email=ref.email)
    assert ref.device_token is not None, "the shape was checked: one of the three is given"
    return Recipient(devices=(Device(id=None, token=ref.device_token),))


def offered(part: TemplateLocale | Content) -> list[Channel]:
    """The channels that this body has something to say on, in their usual order."""
    channels = part.channels()
    return [channel for channel in Channel if channel in channels]


class _Drafting:
    """Turns recipients into drafts for one submission; remembers what is the same for many of them."""

    def __init__(
        self, submission: Submission, version: TemplateVersion | None, renderer: Renderer, now: datetime
    ) -> None:
        self._submission = submission
        self._version = version
        self._renderer = renderer
        self._bodies: dict[str | None, tuple[TemplateLocale | Content, Pinned | None]] = {}
        self._needed: dict[tuple[str | None, Channel], frozenset[str]] = {}
        scheduled = submission.send_at is not None and submission.send_at > now + CLOCK_TOLERANCE
        self._first_status = Status.SCHEDULED if scheduled else Status.ACCEPTED
        self._problems: list[FieldProblem] = []

    def drafts(self, recipients: list[Recipient]) -> tuple[Draft, ...]:
        drafts: list[Draft] = []
        for index, (ref, recipient) in enumerate(zip(self._submission.recipients, recipients, strict=True)):
            drafts.extend(self._of_recipient(index, ref, recipient))
        if self._problems:
            raise ValidationFailed(self._problems)
        return tuple(drafts)

    def _of_recipient(self, index: int, ref: RecipientRef, recipient: Recipient) -> list[Draft]:
        locale = self._locale_of(recipient)
        part, pinned = self._body(locale)
        self._check_variables(index, ref, part, pinned, channels := self._channels(recipient, part))
        if channels:
            return [self._draft(channel, ref, recipient, pinned) for channel in channels]
        wanted = (self._submission.channels or offered(part) or [Channel.EMAIL])[0]
        return [self._draft(wanted, ref, recipient, pinned)]

    def _locale_of(self, recipient: Recipient) -> str | None:
        asked = self._submission.template.locale if self._submission.template else None
        return asked or recipient.locale

    def _body(self, locale: str | None) -> tuple[TemplateLocale | Content, Pinned | None]:
        found = self._bodies.get(locale)
        if found is None:
            found = self._bodies[locale] = self._choose(locale)
        return found

    def _choose(self, locale: str | None) -> tuple[TemplateLocale | Content, Pinned | None]:
        if self._version is None:
            assert self._submission.content is not None, "the shape was checked: template or content"
            return self._submission.content, None
        chosen, chain = self._version.choose(locale)
        pinned = Pinned(
            key=self._version.key, version=self._version.version, locale=chosen.locale, locale_fallback=tuple(chain)
        )
        return chosen, pinned

    def _channels(self, recipient: Recipient, part: TemplateLocale | Content) -> list[Channel]:
        """Those asked for; left out, those that have a body and reach the recipient."""
        available = offered(part)
        if self._submission.channels is None:
            if not available:
                self._add(("content",) if self._version is None else ("template",), "body", _NO_BODY)
            return reachable(recipient, available)
        for channel in self._submission.channels:
            if channel not in available:
                field = "content" if self._version is None else "template"
                self._add((field,), "body", f"has no body for {channel}: {_NEEDS[channel]}")
        return list(self._submission.channels)

    def _check_variables(
        self,
        index: int,
        ref: RecipientRef,
        part: TemplateLocale | Content,
        pinned: Pinned | None,
        channels: list[Channel],
    ) -> None:
        needed: frozenset[str] = frozenset()
        for channel in channels:
            key = (pinned.locale if pinned else None, channel)
            if key not in self._needed:
                self._needed[key] = self._required(part, channel)
            needed |= self._needed[key]
        if not needed:
            return
        for name in missing(needed, self._variables(ref)):
            path = (*self._submission.path_of(index)[:-1], "variables", name)
            self._add(path, "missing", f"is used by the {'template' if pinned else 'content'} and was not given")

    def _required(self, part: TemplateLocale | Content, channel: Channel) -> frozenset[str]:
        try:
            return self._renderer.required(part, channels=(channel,))
        except TemplateSyntaxError as error:
            self._add(("content",), "syntax", error.message)
        except TemplateError as error:
            self._add(("content",), error.code.lower(), error.message)
        return frozenset()

    def _variables(self, ref: RecipientRef) -> dict[str, Any]:
        return {**self._submission.variables, **ref.variables} if ref.variables else self._submission.variables

    def _draft(self, channel: Channel, ref: RecipientRef, recipient: Recipient, pinned: Pinned | None) -> Draft:
        decision = may_contact(recipient, channel)
        return Draft(
            id=new_id(NOTIFICATION),
            channel=channel,
            status=self._first_status if decision.allowed else Status.SKIPPED,
            reason=decision.reason,
            recipient=recipient,
            template=pinned,
            variables=ref.variables,
        )

    def _add(self, path: tuple[str, ...], code: str, message: str) -> None:
        problem = FieldProblem(path, code, message)
        if problem not in self._problems and len(self._problems) < MAX_PROBLEMS:
            self._problems.append(problem)


MAX_PROBLEMS = 100
_NO_BODY = "has no body for any channel: email needs subject and html or text, push needs title"
_NEEDS = {Channel.EMAIL: "it needs subject and html or text", Channel.PUSH: "it needs title"}
