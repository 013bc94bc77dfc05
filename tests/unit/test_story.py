"""The story that `heliograph explain` prints: everything that happened, where it happened, and what is next."""

from typing import Any

import msgspec
import pytest

from domain.explain.decisions import decisions_of
from domain.explain.story import Story, headline, one_can, story_lines, whats_next
from domain.explain.waits import waits_of
from domain.notification import Outcome, Status
from domain.ports import LogRow
from domain.reasons import Acceptance, PassedOver, Route, Step
from domain.recipient import Quiet
from tests.unit.explained import ACCEPTED, NOON, accepted, at, call, ended, entry, told

S = Status
ADA = {"user_id": None, "email": "a***@example.com", "device_count": 0}


def story(*rows: LogRow, calls: tuple[Any, ...] = (), **more: Any) -> Story:
    """As GraphQL tells it, 10 seconds after acceptance."""
    known = told(*rows, calls=calls, send_at=more.get("send_at"))
    data = {
        "id": "ntf_1",
        "request_id": "r",
        "channel": "EMAIL",
        "status": rows[-1].status,
        "reason": rows[-1].reason,
        "category": "news",
        "priority": "NORMAL",
        "possible_duplicate": False,
        "created_at": NOON,
        "send_at": None,
        "recipient": ADA,
        "decisions": decisions_of(known),
        "waits": waits_of(known, at(10)),
        "attempts": [msgspec.structs.asdict(each) for each in calls],
        "timeline": rows,
    }
    return msgspec.convert(msgspec.to_builtins(data | more), Story)


def lines(*rows: LogRow, **more: Any) -> list[str]:
    return [line.strip() for line in story_lines(story(*rows, **more))]


def why(quiet: Quiet) -> Acceptance:
    """Accepted in these quiet hours."""
    return msgspec.structs.replace(ACCEPTED, quiet=quiet)


def test_the_whole_way_of_one_that_was_sent() -> None:
    steps = (Step(provider="sendgrid", passed_over=PassedOver.BREAKER_OPEN, until=at(30)), Step(provider="smtp"))
    sent = ended(S.SENT, 1.0, provider="smtp", decided={"routes": (Route(steps=steps),)})
    rows = (accepted(), entry(S.QUEUED, 0.012), entry(S.SENDING, 0.99, attempt=1), sent)
    assert "\n".join(story_lines(story(*rows, calls=(call(code="2.0.0"),)))) == (
        "ntf_1  EMAIL to a***@example.com  SENT\n"
        "Accepted 2030-01-31 12:00:00 UTC; request r, category news, priority NORMAL.\n"
        "\n"
        "      +0 ms  ACCEPTED\n"
        "             CHANNEL: The caller asked for EMAIL.\n"
        "             PREFERENCE: The recipient chose nothing about email or 'news', so it is wanted.\n"
        "     +12 ms  QUEUED     (waited 12 ms to be put into the queue)\n"
        "    +990 ms  SENDING    (waited 978 ms in the queue)\n"
        "             PREFERENCE: The recipient chose nothing about email or 'news', so it is wanted.\n"
        "             PROVIDER: sendgrid was passed over, because its breaker was open until 2030-01-31 12:00:30 UTC;"
        " smtp was called, the next in order.\n"
        "             attempt 1: smtp ACCEPTED (2.0.0) after 5 ms\n"
        "     +1.0 s  SENT       by smtp  (waited 10 ms for the answer of smtp)\n"
        "\n"
        "Next: nothing more by us; the provider may still confirm it or send it back."
    )


def test_what_was_decided_for_an_attempt_stands_below_it_however_late_its_start_was_reported() -> None:
    rows = (accepted(), entry(S.QUEUED, 0.1), entry(S.SENDING, 1.1, attempt=1), ended(S.SENT, 1.05))
    told_ = lines(*rows)
    begun = next(place for place, line in enumerate(told_) if "SENDING" in line)
    assert next(place for place, line in enumerate(told_) if line.startswith("PROVIDER")) > begun


def test_what_waits_says_how_long_so_far() -> None:
    assert "now  waits 10.0 s so far to be put into the queue" in lines(accepted())


@pytest.mark.parametrize("status", list(Status))
def test_every_status_says_what_comes_next(status: Status) -> None:
    assert whats_next(story(entry(status))).endswith(".")


def test_a_retry_says_when() -> None:
    calls = (call(1, Outcome.TRANSIENT, retry_at=at(5)), call(2, Outcome.TRANSIENT, retry_at=at(60)))
    rows = (accepted(), ended(S.RETRYING, 1.0), ended(S.RETRYING, 6.0, attempt=2))
    assert whats_next(story(*rows, calls=calls)) == "it is tried again at 2030-01-31 12:01:00 UTC."


def test_what_is_held_says_until_when_and_what_the_caller_put_off_too() -> None:
    assert whats_next(story(entry(S.SCHEDULED), send_at=at(60))) == "it is due at 2030-01-31 12:01:00 UTC."
    assert whats_next(story(entry(S.SCHEDULED))) == "its time comes."
    quiet = Quiet(end="07:00", zone="UTC", until=at(3600))
    held = accepted(why(quiet), S.SCHEDULED, detail={"code": "quiet_hours"}, reason="Quiet.")
    assert whats_next(story(held, send_at=at(60))) == "it is due at 2030-01-31 13:00:00 UTC."
    passed = accepted(why(quiet), S.SCHEDULED)
    assert whats_next(story(passed, send_at=at(60))) == "it is due at 2030-01-31 12:01:00 UTC."


def test_what_one_can_do_comes_with_the_command() -> None:
    failed = story(accepted(), ended(S.FAILED, 1.0))
    assert list(one_can(failed, "dlt_7")) == ["start it again: heliograph dead-letters replay dlt_7"]
    assert "heliograph dead-letters list" in next(one_can(failed, None))
    assert "cancel_notification" in next(one_can(story(accepted()), None))
    assert list(one_can(story(accepted(), ended(S.SENT, 1.0)), None)) == []


def test_a_suppression_can_be_lifted_and_an_opt_out_cannot() -> None:
    suppressed = accepted(None, S.SKIPPED, detail={"code": "suppressed"}, reason="It is suppressed.")
    assert any("lift_suppression" in line for line in one_can(story(suppressed), None))
    opted_out = accepted(None, S.SKIPPED, detail={"code": "opted_out"}, reason="They opted out.")
    assert list(one_can(story(opted_out), None)) == []


@pytest.mark.parametrize(
    ("channel", "recipient", "to"),
    [
        ("EMAIL", {"user_id": "usr_1"}, "usr_1 (a***@example.com)"),
        ("EMAIL", {"email": None}, "nobody"),
        ("PUSH", {"user_id": "usr_1", "email": None, "device_count": 2}, "usr_1 (2 devices)"),
        ("PUSH", {"email": None, "device_count": 1}, "1 device"),
    ],
)
def test_the_heading_says_to_whom(channel: str, recipient: dict[str, Any], to: str) -> None:
    heading = headline(story(entry(S.SKIPPED, reason="Because."), channel=channel, recipient=ADA | recipient))
    assert heading == f"ntf_1  {channel} to {to}  SKIPPED: Because."
