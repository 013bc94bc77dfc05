"""Logs to be explained: entries and calls of one notification, made by hand."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from domain.events import Attempt
from domain.explain.told import Told
from domain.notification import Channel, Outcome, Status
from domain.ports import LogRow
from domain.preferences import Rule
from domain.reasons import Acceptance, Attempted, Named, Route, Step, written

NOON = datetime(2030, 1, 31, 12, tzinfo=UTC)
ACCEPTED = Acceptance(channel=Named.CALLER, rule=Rule.DEFAULT)
BY_SMTP = (Route(steps=(Step(provider="smtp"),)),)


def at(seconds: float) -> datetime:
    """So many seconds after acceptance."""
    return NOON + timedelta(seconds=seconds)


def entry(status: Status, seconds: float = 0.0, **more: Any) -> LogRow:
    """One entry of the log; `told` gives it its sequence."""
    given: dict[str, Any] = {"reason": None, "attempt": None, "provider": None, "detail": None}
    return LogRow(
        position=1,
        sequence=0,
        notification_id="ntf_1",
        request_id="r",
        request="req_1",
        client="shop",
        user_id="usr_ada",
        channel=Channel.EMAIL,
        category="news",
        status=status,
        previous_status=None,
        occurred_at=at(seconds),
        recorded_at=at(seconds),
        correlation_id="cor_1",
        **(given | more),
    )


def accepted(decided: Acceptance | None = ACCEPTED, status: Status = Status.ACCEPTED, **more: Any) -> LogRow:
    """The first entry; `detail` stands beside what was decided."""
    detail = more.pop("detail", {}) | ({} if decided is None else written(decided))
    return entry(status, detail=detail or None, **more)


def ended(status: Status, seconds: float, attempt: int = 1, **more: Any) -> LogRow:
    """The entry that says what came of an attempt, which began 10 ms before; `decided` is how it was gone about."""
    how = {"rule": Rule.DEFAULT, "routes": BY_SMTP} | more.pop("decided", {})
    detail = more.pop("detail", {}) | written(Attempted(at=at(seconds - 0.01), **how))
    return entry(status, seconds, attempt=attempt, detail=detail, **more)


def call(number: int = 1, outcome: Outcome = Outcome.ACCEPTED, **more: Any) -> Attempt:
    """One call to a provider."""
    given: dict[str, Any] = {"provider": "smtp", "started_at": at(1.0), "duration_ms": 5} | more
    return Attempt(number=number, outcome=outcome, **given)


def told(*rows: LogRow, calls: tuple[Attempt, ...] = (), **more: Any) -> Told:
    """What is known of it; an email about news, unless said otherwise."""
    timeline = [msgspec.structs.replace(row, sequence=place) for place, row in enumerate(rows, 1)]
    given: dict[str, Any] = {"channel": Channel.EMAIL, "category": "news", "send_at": None, "deliver_by": None} | more
    return Told(timeline=timeline, attempts=calls, **given)
