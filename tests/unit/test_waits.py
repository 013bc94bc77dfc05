"""What a notification waited for, and how long: all of its time, in every status."""

from itertools import pairwise

import msgspec
import pytest

from domain.explain.waits import waits_of
from domain.explain.wording import span
from domain.notification import FINAL, TRANSITIONS, Outcome, Status
from domain.ports import LogRow
from tests.unit.explained import accepted, at, call, ended, entry, told

S = Status
LATER = at(1000)


def words(*rows: LogRow, calls: tuple[object, ...] = ()) -> list[str]:
    return [wait.what_for for wait in waits_of(told(*rows, calls=calls), LATER)]  # type: ignore[arg-type]


def test_the_waits_follow_each_other_without_a_hole() -> None:
    rows = [accepted(), entry(S.QUEUED, 0.012), entry(S.SENDING, 0.02, attempt=1), ended(S.SENT, 0.36)]
    waits = waits_of(told(*rows, calls=(call(),)), LATER)
    assert [wait.status for wait in waits] == [S.ACCEPTED, S.QUEUED, S.SENDING]
    assert all(before.until == after.since for before, after in pairwise(waits))
    assert [wait.seconds for wait in waits] == [0.012, 0.008, 0.34]
    assert [wait.what_for for wait in waits] == [
        "waited 12 ms to be put into the queue",
        "waited 8 ms in the queue",
        "waited 340 ms for the answer of smtp",
    ]


def test_a_retry_says_after_what() -> None:
    calls = (call(outcome=Outcome.TRANSIENT, code="421"),)
    assert words(accepted(), ended(S.RETRYING, 1.0), entry(S.QUEUED, 4.2), calls=calls)[1] == (
        "waited 3.2 s for the retry after 421 from smtp"
    )


def test_what_is_not_over_lasts_up_to_now() -> None:
    (wait,) = waits_of(told(accepted()), at(90))
    assert (wait.until, wait.seconds) == (None, 90.0)
    assert wait.what_for == "waits 1 min 30 s so far to be put into the queue"


@pytest.mark.parametrize("status", sorted(FINAL))
def test_what_is_final_waits_for_nothing(status: Status) -> None:
    assert words(entry(status)) == []


@pytest.mark.parametrize(
    ("detail", "what_for"),
    [
        (None, "waited 1 h for its send_at"),
        ({"code": "quiet_hours"}, "waited 1 h for the end of the recipient's quiet hours"),
        ({"held_until": "2030"}, "waited 1 h for the end of the recipient's quiet hours"),
    ],
)
def test_what_is_scheduled_says_for_what(detail: dict[str, str] | None, what_for: str) -> None:
    assert words(entry(S.SCHEDULED, detail=detail), entry(S.QUEUED, 3600))[0] == what_for


def test_claims_that_were_handed_back_are_counted() -> None:
    queued = entry(S.QUEUED, 0.1, attempt=0)
    assert words(accepted(), queued, entry(S.SENDING, 9.1, attempt=3))[1] == (
        "waited 9.0 s in the queue (2 claims handed back: nothing could be tried)"
    )


def test_a_claim_that_was_taken_back_was_not_handed_back() -> None:
    lost = call(1, Outcome.UNKNOWN, provider="unknown", code="lease_ended")
    queued = entry(S.QUEUED, 0.1, attempt=0)
    assert words(accepted(), queued, entry(S.SENDING, 60.1, attempt=2), calls=(lost,))[1] == "waited 1 min in the queue"


def test_a_log_whose_beginning_is_gone_counts_no_claims() -> None:
    whole = told(accepted(), entry(S.QUEUED, 0.1, attempt=2), entry(S.SENDING, 0.2, attempt=5))
    rest = msgspec.structs.replace(whole, timeline=whole.timeline[1:])
    assert [wait.what_for for wait in waits_of(rest, LATER)][:1] == ["waited 100 ms in the queue"]


def test_an_end_in_the_middle_is_named() -> None:
    assert words(accepted(), entry(S.CANCELLED, 2.0)) == [
        "waited 2.0 s to be put into the queue, until it was cancelled"
    ]


def test_clocks_that_differ_give_no_wait_below_nothing() -> None:
    waits = waits_of(told(accepted(), entry(S.QUEUED, -0.5)), LATER)
    assert waits[0].seconds == 0.0


@pytest.mark.parametrize(
    ("before", "after"), [(before, after) for before, all_ in TRANSITIONS.items() for after in sorted(all_)]
)
def test_every_transition_has_words(before: Status, after: Status) -> None:
    (first, *_) = words(entry(before, 0.0, attempt=1), entry(after, 1.0, attempt=1))
    assert first.startswith("waited 1.0 s ")


@pytest.mark.parametrize(
    ("seconds", "told_as"),
    [
        (-1.0, "0 ms"),
        (0.0124, "12 ms"),
        (0.9996, "1.0 s"),
        (3.24, "3.2 s"),
        (59.96, "1 min"),
        (65.0, "1 min 5 s"),
        (3600 * 3 + 125, "3 h 2 min"),
        (86400 * 2 + 3 * 3600, "2 d 3 h"),
    ],
)
def test_spans_are_told_in_two_units_at_most(seconds: float, told_as: str) -> None:
    assert span(seconds) == told_as
