"""A notification's way as a story: what happened when, why, what comes next. For people at a terminal.

It is made of what GraphQL answers, so whoever may read a notification may have its story.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from domain.explain.told import DecisionKind
from domain.explain.wording import count, moment, span
from domain.notification import Channel, Outcome, Priority, Status


class Recipient(msgspec.Struct, frozen=True, kw_only=True):
    """Who it is for; the address is masked."""

    user_id: str | None
    email: str | None
    device_count: int


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """As the field `decisions` has it."""

    kind: DecisionKind
    sentence: str
    detail: dict[str, Any] | None
    at: datetime
    attempt: int | None


class Wait(msgspec.Struct, frozen=True, kw_only=True):
    """As the field `waits` has it."""

    status: Status
    until: datetime | None
    what_for: str


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """As the field `attempts` has it."""

    number: int
    provider: str
    outcome: Outcome
    code: str | None
    detail: str | None
    started_at: datetime
    duration_ms: int
    retry_at: datetime | None


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """As the field `timeline` has it."""

    status: Status
    reason: str | None
    attempt: int | None
    provider: str | None
    occurred_at: datetime


class Heading(msgspec.Struct, frozen=True, kw_only=True):
    """What, to whom, and what became of it."""

    id: str
    channel: Channel
    status: Status
    reason: str | None
    recipient: Recipient


class Story(Heading, frozen=True, kw_only=True):
    """A notification with all that explains it."""

    request_id: str
    category: str
    priority: Priority
    possible_duplicate: bool
    created_at: datetime
    send_at: datetime | None
    decisions: list[Decision]
    waits: list[Wait]
    attempts: list[Call]
    timeline: list[Event]


def headline(heading: Heading) -> str:
    """One line."""
    who = heading.recipient
    where = who.email if heading.channel is Channel.EMAIL else count(who.device_count, "device")
    to = where or "nobody" if who.user_id is None else f"{who.user_id} ({where or 'no address'})"
    why = f": {heading.reason}" if heading.reason else ""
    return f"{heading.id}  {heading.channel} to {to}  {heading.status}{why}"


def story_lines(story: Story) -> Iterator[str]:
    """The whole story. Times are relative to acceptance; each entry of the log stands above what was decided there."""
    yield headline(story)
    about = f"request {story.request_id}, category {story.category}, priority {story.priority}"
    yield f"Accepted {moment(story.created_at)}; {about}."
    if story.possible_duplicate:
        yield "The recipient may have got it twice."
    yield ""
    notes = _notes(story)
    for place, event in enumerate(story.timeline):
        yield _entry(story, place, event)
        yield from (f"{'':13}{note}" for note in notes.get(place, ()))
    if story.waits and story.waits[-1].until is None:
        yield f"{'now':>11}  {story.waits[-1].what_for}"
    yield ""
    yield f"Next: {whats_next(story)}"


def _entry(story: Story, place: int, event: Event) -> str:
    since = f"+{span((event.occurred_at - story.created_at).total_seconds())}"
    parts = [f"{since:>11}  {event.status:<9}"]
    if event.provider:
        parts.append(f"by {event.provider}")
    if event.reason:
        parts.append(event.reason)
    if 0 < place <= len(story.waits):
        parts.append(f"({story.waits[place - 1].what_for})")
    return "  ".join(parts).rstrip()


def _notes(story: Story) -> dict[int, list[str]]:
    """What stands below each entry of the log: decisions, then calls."""
    notes: dict[int, list[str]] = {}
    for decision in story.decisions:
        place = _place(story.timeline, decision.attempt, decision.at)
        notes.setdefault(place, []).append(f"{decision.kind}: {decision.sentence}")
    for call in story.attempts:
        place = _place(story.timeline, call.number, None)
        said = f": {call.detail}" if call.detail else ""
        code = f" ({call.code})" if call.code else ""
        took = span(call.duration_ms / 1000)
        told = f"attempt {call.number}: {call.provider} {call.outcome}{code} after {took}{said}"
        notes.setdefault(place, []).append(told)
    return notes


def _place(timeline: Sequence[Event], attempt: int | None, at: datetime | None) -> int:
    """The entry that something stands below: of its attempt's, the last one by then, else the first one."""
    own = [place for place, event in enumerate(timeline) if attempt and event.attempt == attempt]
    own = [place for place in own if timeline[place].status is not Status.QUEUED] or own or list(range(len(timeline)))
    by_then = [place for place in own if at is not None and timeline[place].occurred_at <= at]
    return (by_then[-1:] or own[:1] or [0])[0]


_NEXT = {
    Status.ACCEPTED: "it is put into the queue.",
    Status.QUEUED: "a worker takes it.",
    Status.SENDING: "the provider answers.",
    Status.SENT: "nothing more by us; the provider may still confirm it or send it back.",
    Status.DELIVERED: "nothing more.",
    Status.FAILED: "nothing, until it is replayed.",
}


def whats_next(story: Story) -> str:
    """What happens by itself."""
    due = due_at(story)
    if story.status is Status.RETRYING:
        return "it is tried again." if due is None else f"it is tried again at {moment(due)}."
    if story.status is Status.SCHEDULED:
        return "its time comes." if due is None else f"it is due at {moment(due)}."
    return _NEXT.get(story.status, f"nothing: {story.status} is the end.")


def due_at(story: Story) -> datetime | None:
    """When it goes on, as far as the story says; None where it waits for no time."""
    if story.status is Status.RETRYING:
        return max((call.retry_at for call in story.attempts if call.retry_at is not None), default=None)
    if story.status is not Status.SCHEDULED:
        return None
    quiet = [each.detail or {} for each in story.decisions if each.kind is DecisionKind.QUIET_HOURS]
    if quiet and quiet[-1].get("passed") is False and isinstance(until := quiet[-1].get("until"), str):
        return datetime.fromisoformat(until).astimezone(UTC)
    return story.send_at


def one_can(story: Story, dead_letter: str | None) -> Iterator[str]:
    """What a person can do now, each with the exact command or mutation."""
    if story.status is Status.FAILED:
        letter = dead_letter or "dlt_… (`heliograph dead-letters list` has its id)"
        yield f"start it again: heliograph dead-letters replay {letter}"
    last = story.decisions[-1] if story.decisions else None
    if story.status is Status.SKIPPED and last is not None and last.kind is DecisionKind.SUPPRESSION:
        found = f"{{ suppressions(channel: {story.channel}) {{ data {{ id contact_point reason }} }} }}"
        yield f"find the suppression: {found}"
        yield 'lift it: mutation { lift_suppression(id: "sup_…") { success message } }; then send again'
    if story.status in (Status.SCHEDULED, Status.ACCEPTED, Status.QUEUED, Status.RETRYING):
        yield f'cancel it: mutation {{ cancel_notification(id: "{story.id}") {{ success message }} }}'
