"""How long a notification was in each status, and what it waited for. Computed from its log, not stored."""

from collections.abc import Iterator
from datetime import datetime

import msgspec

from domain.events import LEASE_ENDED, Attempt
from domain.explain.told import Told
from domain.explain.wording import count, span
from domain.notification import FINAL, Outcome, Status
from domain.ports import LogRow

_FINALLY = {
    Status.CANCELLED: "it was cancelled",
    Status.EXPIRED: "it expired",
    Status.SKIPPED: "it was skipped",
}


class Wait(msgspec.Struct, frozen=True, kw_only=True):
    """The time in one status: `since` its entry, `until` the next one; while it lasts None, and `seconds` so far."""

    status: Status
    since: datetime
    until: datetime | None
    seconds: float
    what_for: str


def waits_of(told: Told, now: datetime) -> list[Wait]:
    """In order. A final status waits for nothing, so it is there only where something followed."""
    return list(_waits(told, now))


def _waits(told: Told, now: datetime) -> Iterator[Wait]:
    rows = told.timeline
    for place, row in enumerate(rows):
        after = rows[place + 1] if place + 1 < len(rows) else None
        if after is None and row.status in FINAL:
            continue
        ended = now if after is None else after.occurred_at
        seconds = max(0.0, (ended - row.occurred_at).total_seconds())  # two machines' clocks may differ
        yield Wait(
            status=row.status,
            since=row.occurred_at,
            until=None if after is None else after.occurred_at,
            seconds=round(seconds, 6),
            what_for=_sentence(told, row, after, seconds),
        )


def _sentence(told: Told, row: LogRow, after: LogRow | None, seconds: float) -> str:
    began = "waits" if after is None else "waited"
    so_far = " so far" if after is None else ""
    end = "" if after is None or after.status not in _FINALLY else f", until {_FINALLY[after.status]}"
    return f"{began} {span(seconds)}{so_far} {_what_for(told, row, after)}{end}"


def _what_for(told: Told, row: LogRow, after: LogRow | None) -> str:
    if row.status is Status.SCHEDULED:
        held = (row.detail or {}).get("held_until") or (row.detail or {}).get("code") == "quiet_hours"
        return "for the end of the recipient's quiet hours" if held else "for its send_at"
    if row.status is Status.QUEUED:
        return f"in the queue{_handed_back(told, row, after)}"
    if row.status is Status.SENDING:
        return f"for the answer of {_who(told, row, after)}"
    if row.status is Status.RETRYING:
        return f"for the retry{_after_what(told, row)}"
    if row.status is Status.SENT and after is not None and after.status is Status.DELIVERED:
        return "for the confirmation"
    return _OTHERS[row.status]


_OTHERS = {
    Status.ACCEPTED: "to be put into the queue",
    Status.FAILED: "for a replay",
    Status.SENT: "and came back",
    Status.DELIVERED: "and came back",
}


def _who(told: Told, row: LogRow, after: LogRow | None) -> str:
    number = row.attempt if after is None else after.attempt
    names = dict.fromkeys(call.provider for call in _calls(told, number) if call.code != LEASE_ENDED)
    return " and ".join(names) or "the provider"


def _after_what(told: Told, row: LogRow) -> str:
    calls = [call for call in _calls(told, row.attempt) if call.outcome is not Outcome.ACCEPTED]
    if not calls:
        return ""
    blamed = calls[-1]
    return f" after {blamed.code} from {blamed.provider}" if blamed.code else f" after {blamed.provider} failed"


def _handed_back(told: Told, row: LogRow, after: LogRow | None) -> str:
    """Each claim has a number. One that left no trace was handed back, because nothing could be tried."""
    if not told.from_the_start or after is None or after.attempt is None:
        return ""
    known = [each.attempt or 0 for each in told.timeline if each.sequence <= row.sequence]
    known += [call.number for call in told.attempts if call.number < after.attempt]
    missing = after.attempt - 1 - max(known)
    return "" if missing < 1 else f" ({count(missing, 'claim')} handed back: nothing could be tried)"


def _calls(told: Told, number: int | None) -> list[Attempt]:
    return [call for call in told.attempts if call.number == number]
