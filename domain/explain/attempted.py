"""The decisions of delivery: asked again before each call, who was called, and whether to try again."""

from collections.abc import Iterator

from domain.events import LEASE_ENDED, Attempt
from domain.explain.contact import contact
from domain.explain.providers import chosen
from domain.explain.told import DecisionKind, Explanation, Told, explain
from domain.explain.wording import answer_of, count, moment
from domain.notification import Outcome, Status
from domain.ports import LogRow
from domain.reasons import Attempted, read

_GIVEN_UP = {
    "permanent": "refused for good",
    "attempts_used_up": "all attempts are used up",
    "outcome_unknown": "it may have reached the recipient, and is held instead of being sent twice",
}


def at_delivery(told: Told) -> Iterator[Explanation]:
    """What the entries after the first one keep, and the attempts whose worker fell silent; in no order."""
    again: set[int | None] = set()
    for row in (row for row in told.timeline if row.sequence > 1):
        calls = [call for call in told.attempts if call.number == row.attempt]
        if row.status is not Status.QUEUED:
            yield from _asked_again(told, row, calls)
        if (row.detail or {}).get("possible_duplicate") and row.attempt not in again:
            again.add(row.attempt)
            sentence = "An earlier attempt may have reached the recipient; it was sent again, and may arrive twice."
            yield explain(DecisionKind.RETRY, sentence, row.occurred_at, row.attempt, possible_duplicate=True)
        yield from _ended(told, row, calls)
    for call in told.attempts:
        if call.code == LEASE_ENDED:
            sentence = "The worker fell silent and its claim was taken back: the outcome is not known."
            yield explain(DecisionKind.RETRY, sentence, call.started_at, call.number, code=LEASE_ENDED)


def _asked_again(told: Told, row: LogRow, calls: list[Attempt]) -> Iterator[Explanation]:
    """Decided when the attempt began, told by the entry that says what came of it."""
    kept = read(row.detail, Attempted)
    at = row.occurred_at if kept is None else kept.at
    detail = row.detail or {}
    if "user" in detail.get("stale", ()):
        sentence = "The User Service was away: the recipient is as they were last heard of."
        yield explain(DecisionKind.RECIPIENT, sentence, at, row.attempt, stale=True)
    rule, quiet = (None, None) if kept is None else (kept.rule, kept.quiet)
    yield from contact(told, row, rule, quiet, at, row.attempt)
    if kept is None:
        return
    if kept.suppressed:
        sentence = f"Left out: {count(kept.suppressed, 'device')}, suppressed."
        yield explain(DecisionKind.SUPPRESSION, sentence, at, row.attempt, devices=kept.suppressed)
    if kept.refused:
        sentence = f"Left out: {count(kept.refused, 'device')}, refused for good by an earlier attempt."
        yield explain(DecisionKind.RETRY, sentence, at, row.attempt, devices=kept.refused)
    yield from chosen(kept.routes, calls, at, row.attempt or 0)


def _ended(told: Told, row: LogRow, calls: list[Attempt]) -> Iterator[Explanation]:
    detail = row.detail or {}
    if row.status is Status.RETRYING:
        yield _retry(row, detail.get("put_off") is not None, calls)
    elif row.status is Status.FAILED:
        code = detail.get("given_up") or detail.get("code")
        why = _GIVEN_UP.get(str(code)) or (row.reason or "given up on").rstrip(".")
        yield explain(DecisionKind.RETRY, f"It is not tried again: {why}.", row.occurred_at, row.attempt, code=code)
    elif row.status is Status.EXPIRED:
        sentence = row.reason or "It could not be sent before deliver_by."
        deliver_by = told.deliver_by
        yield explain(DecisionKind.SCHEDULE, sentence, row.occurred_at, row.attempt, deliver_by=deliver_by)
    elif row.status is Status.QUEUED and "dead_letter" in detail:
        sentence = "An operator started it again; its attempts count from zero."
        yield explain(DecisionKind.RETRY, sentence, row.occurred_at, dead_letter=detail["dead_letter"])


def _retry(row: LogRow, put_off: bool, calls: list[Attempt]) -> Explanation:
    due = next((call.retry_at for call in calls if call.retry_at is not None), None)
    blamed = next((call for call in reversed(calls) if call.outcome is not Outcome.ACCEPTED), None)
    why = answer_of(blamed) if blamed is not None else (row.reason or "It did not succeed").rstrip(".")
    when = "" if due is None else f" at {moment(due)}"
    free = " This is its rate limit, so no attempt was used." if put_off else ""
    sentence = f"{why}; it is tried again{when}.{free}"
    return explain(DecisionKind.RETRY, sentence, row.occurred_at, row.attempt, retry_at=due, uses_attempt=not put_off)
