"""Verb 3: apply a status change.

`track` decides, for one row and one reported change, what the change does. It is pure, so every writer of the status
log (the relay; the gateway for cancel, replay, acknowledgements and webhooks) follows the same rules, and any shuffle
and duplication of the changes that the claims allow ends in the same state. The rules R4, R5 and R9 are those of
`docs/protocol.md`.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime

import msgspec

from domain.events import StatusChanged
from domain.notification import BEFORE_QUEUED, CLAIMED_ONLY, FACTS, FINAL, TRANSITIONS, Outcome, Progress, Status


class Entry(msgspec.Struct, frozen=True):
    """A change that applied: what the row became, and from which status. One row of the status log."""

    change: StatusChanged
    status: Status
    sequence: int
    previous_status: Status


class Ignored(msgspec.Struct, frozen=True):
    """A change that did not apply, and why not. It takes no sequence and no position."""

    change: StatusChanged
    why: str


class Tracked(msgspec.Struct, frozen=True):
    """What a batch of changes came to."""

    rows: dict[str, Progress]
    entries: list[Entry]
    ignored: list[Ignored]


def track_all(rows: Mapping[str, Progress], changes: Iterable[StatusChanged], now: datetime) -> Tracked:
    """Apply `changes` in order. `rows` in the result holds only those that differ from before."""
    touched: dict[str, Progress] = {}
    entries: list[Entry] = []
    ignored: list[Ignored] = []
    for change in changes:
        row = touched.get(change.notification_id) or rows.get(change.notification_id)
        if row is None:
            ignored.append(Ignored(change, "no such notification"))
            continue
        after, applied, why = track(row, change, now)
        if after is not row:
            touched[row.id] = after
        entries.extend(applied)
        if why is not None:
            ignored.append(Ignored(change, why))
    return Tracked(touched, entries, ignored)


def track(row: Progress, change: StatusChanged, now: datetime) -> tuple[Progress, list[Entry], str | None]:
    """Apply one change: the row afterwards, its log entries, and why it was ignored (None if it applied).

    An ignored change may still teach us something: a late SENT marks the row as a possible duplicate.
    """
    why = _refusal(row, change, now)
    if why is not None:
        return _learn(row, change), [], why
    entries: list[Entry] = []
    if change.status not in TRANSITIONS[row.status]:
        # A claim proves that the row was published: its QUEUED is late or lost, and the claim stands in for it.
        row = _step(row, change, Status.QUEUED, entries)
    row = _step(row, change, change.status, entries)
    return _settle_clock(row, change, now), entries, None


def _refusal(row: Progress, change: StatusChanged, now: datetime) -> str | None:
    if change.status in CLAIMED_ONLY and (row.token is None or change.token != row.token):
        return "stale claim"
    if change.status is Status.QUEUED:
        return _queued_refusal(row, change, now)
    if change.status in FACTS and row.attempt == 0:
        return "there was no attempt"
    if change.status is Status.CANCELLED and (row.token is not None or row.uncertain):
        return "an attempt is under way or its outcome is unknown"
    if change.status in TRANSITIONS[row.status]:
        return None
    if row.status in BEFORE_QUEUED and change.status in TRANSITIONS[Status.QUEUED]:
        return None
    return f"{row.status} is not followed by {change.status}"


def _queued_refusal(row: Progress, change: StatusChanged, now: datetime) -> str | None:
    """Rules R5 and R9: QUEUED speaks of the attempt that it was published for, and FAILED is left by replay only.

    A replay that names an attempt is of that attempt's dead letter, and of no later one.
    """
    if change.replay:
        if row.status is not Status.FAILED:
            return f"{row.status} is not replayed"
        if change.attempt and row.attempt != change.attempt:
            return "it was replayed and failed again"
        return "deliver_by has passed" if row.deliver_by is not None and now >= row.deliver_by else None
    if row.status not in BEFORE_QUEUED:
        return f"{row.status} is not followed by QUEUED"
    if row.token is not None:
        return "it is claimed already"
    if row.attempt != change.attempt:
        return "it was published for an earlier attempt"
    return None


def _step(row: Progress, change: StatusChanged, status: Status, entries: list[Entry]) -> Progress:
    after = msgspec.structs.replace(row, status=status, sequence=row.sequence + 1)
    entries.append(Entry(change, status, after.sequence, row.status))
    return after


def _settle_clock(row: Progress, change: StatusChanged, now: datetime) -> Progress:
    """What the new status means for the claim and the clock (rule R6), and what the change brings besides."""
    facts = {
        "provider": change.provider or row.provider,
        "provider_message_id": change.provider_message_id or row.provider_message_id,
        "reason": change.reason,
        "attempts_used": row.attempts_used + change.uses_attempt,
        "uncertain": row.uncertain or change.uncertain,
        "refused_devices": row.refused_devices | _refused_devices(change),
    }
    if change.replay:
        due_at = change.retry_at or now  # whoever replays many spreads them
        forgotten = {"attempts_used": 0, "refused_devices": frozenset()}
        return msgspec.structs.replace(row, **{**facts, **forgotten, "next_at": due_at, "token": None})
    if change.status in FINAL:
        return msgspec.structs.replace(row, **facts, token=None, settled=False, next_at=None)
    if change.status in (Status.RETRYING, Status.SCHEDULED):
        return msgspec.structs.replace(row, **facts, token=None, settled=False, next_at=change.retry_at or now)
    return msgspec.structs.replace(row, **facts)


def _refused_devices(change: StatusChanged) -> frozenset[str]:
    """The devices that need not be tried again, whatever comes of the others."""
    refused = (attempt.device_id for attempt in change.attempts if attempt.outcome is Outcome.PERMANENT)
    return frozenset(id for id in refused if id is not None)


def _learn(row: Progress, change: StatusChanged) -> Progress:
    """A SENT that comes after we had given up is no status any more, but somebody may have got it: say so."""
    if change.status is Status.SENT and row.final and row.status not in FACTS and not row.possible_duplicate:
        return msgspec.structs.replace(row, possible_duplicate=True)
    return row
