"""Verb 1: accept a request.

Validation is all or nothing: when `send` answers, the whole request is stored in one transaction and survives any
crash; when it raises, nothing was stored. It asks the User and Template services (through caches), decides per
recipient which channels to use, pins the template version and locale, and hands one order to the store.
"""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Protocol

import msgspec

from domain.ahead import Ahead
from domain.drafting import Drafting
from domain.errors import FieldProblem, NotFound, RequestError, ValidationFailed
from domain.ids import REQUEST, new_id
from domain.notification import Channel
from domain.ports import Known, Recipients, Suppressions, Templates
from domain.recipient import Device, Recipient, Suppressed
from domain.submission import UNENCODABLE, RecipientRef, Submission, TemplateRef, shape_problems
from domain.template import Renderer, TemplateVersion
from domain.tracing import UNTRACED, Attributes, Tracer
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
    """What accepting needs from the outside. `ahead` fills the cache of `renderer`; None: nobody waits for it.

    With a `tracer` the order is a span of the caller's trace, or of a new one, and what comes of it goes on from there.
    `attachment_hosts` may have attachments beside the hosts of the public internet.
    """

    requests: Requests
    recipients: Recipients
    templates: Templates
    suppressions: Suppressions
    renderer: Renderer
    ahead: Ahead | None = None
    tracer: Tracer = UNTRACED
    attachment_hosts: frozenset[str] = frozenset()


async def send(submission: Submission, ports: SendPorts) -> Receipt:
    """Accept a submission.

    Raises `ValidationFailed` naming every wrong field, `Conflict` when the request_id was used for another input, and
    `UpstreamUnavailable` when a user or template must be known and cannot be, `RateLimited` when too many long texts
    wait to be compiled. May be called again with the same
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
    return await _accept(order, ports)


async def _accept(order: Order, ports: SendPorts) -> Receipt:
    told: Attributes = {
        "heliograph.request.id": order.id,
        "heliograph.correlation_id": order.correlation_id,
        "heliograph.notifications": len(order.drafts),
    }
    with ports.tracer.span("accept", attributes=told, parent=order.traceparent) as span:
        if span.traceparent is not None:
            order = msgspec.structs.replace(order, traceparent=span.traceparent)
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
    problems = shape_problems(submission, now, ports.attachment_hosts)
    if problems:
        raise ValidationFailed(problems)
    ref = submission.template
    template = None if ref is None else await template_version(ref, ports.templates)
    recipients = await _recipients(submission, ports.recipients)
    suppressed = await _suppressed(submission, recipients, ports.suppressions)
    request = new_id(REQUEST)
    drafting = Drafting(submission, template, suppressed, ports.renderer, now)
    if ports.ahead is not None:
        await ports.ahead.compile(drafting.bodies(recipients))
    drafts = drafting.drafts(recipients)
    test = submission.test is True
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
        drafts=_marked(drafts) if test else drafts,
        test=test,
        attachments=tuple(ref.named() for ref in submission.files),
    )


def _marked(drafts: tuple[Draft, ...]) -> tuple[Draft, ...]:
    """The first entry of each one's log says that it was a test."""
    return tuple(msgspec.structs.replace(draft, detail={**draft.detail, "test": True}) for draft in drafts)


async def template_version(ref: TemplateRef, templates: Templates) -> Known[TemplateVersion]:
    """The version that is meant: the one asked for, or the published one. Raises `ValidationFailed` when there is none,
    and `UpstreamUnavailable`."""
    try:
        if ref.version is not None:
            return Known(await templates.version(ref.key, ref.version))
        template = await templates.published(ref.key)
    except NotFound as error:
        field = "template.key" if ref.version is None else "template.version"
        raise ValidationFailed.of(field, "not_found", error.message) from error
    if template.value.published is None:
        raise ValidationFailed.of("template.key", "not_published", "No version of this template is published yet.")
    return Known(template.value.published, template.stale)


async def _recipients(submission: Submission, recipients: Recipients) -> list[Known[Recipient]]:
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
    return [known[ref.user_id] if ref.user_id is not None else Known(_direct(ref)) for ref in submission.recipients]


def _direct(ref: RecipientRef) -> Recipient:
    if ref.email is not None:
        return Recipient(email=ref.email)
    assert ref.device_token is not None, "the shape was checked: one of the three is given"
    return Recipient(devices=(Device(id=None, token=ref.device_token),))


async def _suppressed(
    submission: Submission, recipients: Sequence[Known[Recipient]], suppressions: Suppressions
) -> Suppressed:
    """The suppressed ones among the contact points that may be used. Asked together, they are one statement."""
    asked = []
    for channel in submission.channels or Channel:
        points = {point for one in recipients for point in one.value.contact_points(channel)}
        if points:
            asked.append(suppressions.among(channel, points, submission.category))
    return {point: why for answer in await asyncio.gather(*asked) for point, why in answer.items()}
