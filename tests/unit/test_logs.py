"""How a line of the log looks: for machines, for people, and with whatever an exception says."""

import json
import logging
from collections.abc import Iterator
from contextvars import copy_context
from datetime import UTC, datetime
from typing import Any

import pytest

from api.logs import configure_logging
from domain.life import Event, Step, tell, tell_recorded
from domain.notification import Channel, Status
from domain.ports import LogRow
from domain.telemetry import correlation_id, role, speak_of

NOW = datetime(2030, 1, 1, tzinfo=UTC)
ADDRESS = "ada.lovelace@example.com"
STEP = Step(event=Event.ATTEMPTED, correlation_id="cor_1", notification_id="ntf_1", channel=Channel.EMAIL, attempt=1)
log = logging.getLogger("test.logs")


class Written:
    """What was written to standard error."""

    def __init__(self, capture: pytest.CaptureFixture[str]) -> None:
        self._capture, self._so_far = capture, ""

    def getvalue(self) -> str:
        """All of it."""
        self._so_far += self._capture.readouterr().err
        return self._so_far


@pytest.fixture
def written(capsys: pytest.CaptureFixture[str]) -> Iterator[Written]:
    """Standard error; the logging that was there before is put back at the end."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield Written(capsys)
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(written: Written) -> list[dict[str, Any]]:
    return [json.loads(line) for line in written.getvalue().splitlines()]


def row(status: Status, **more: Any) -> LogRow:
    given: dict[str, Any] = {
        "position": 7,
        "sequence": 3,
        "notification_id": "ntf_1",
        "request_id": "r",
        "request": "req_1",
        "client": "key_1",
        "user_id": None,
        "channel": Channel.EMAIL,
        "category": "general",
        "status": status,
        "previous_status": Status.SENDING,
        "reason": None,
        "attempt": 1,
        "provider": "smtp",
        "detail": None,
        "occurred_at": NOW,
        "recorded_at": NOW,
        "correlation_id": "cor_1",
    }
    return LogRow(**{**given, **more})


class TestSteps:
    def test_are_a_json_line_each_with_the_fields_of_every_line(self, written: Written) -> None:
        configure_logging("INFO", "json")
        token = role.set("email")
        try:
            tell([STEP, Step(event=Event.HANDED_BACK, correlation_id="cor_2", notification_id="ntf_2")])
        finally:
            role.reset(token)
        first, second = lines(written)
        assert first.pop("timestamp") == second["timestamp"]
        assert first == {
            "level": "info",
            "logger": "domain.life",
            "role": "email",
            "event": "attempted",
            "correlation_id": "cor_1",
            "notification_id": "ntf_1",
            "channel": "EMAIL",
            "attempt": 1,
        }
        assert (second["event"], second["correlation_id"]) == ("handed back", "cor_2")

    def test_are_a_short_line_each_for_people(self, written: Written) -> None:
        configure_logging("INFO", "text")
        tell([STEP])
        _, _, said = written.getvalue().partition("] ")
        assert said.split() == ["attempted", "ntf_1", "channel=EMAIL", "attempt=1"]

    def test_are_not_made_when_nobody_listens(self, written: Written) -> None:
        configure_logging("WARNING", "json")

        def steps() -> Iterator[Step]:
            raise AssertionError("it was made")
            yield STEP

        tell(steps())
        assert written.getvalue() == ""

    def test_a_failure_is_a_dead_letter_too_at_warning(self, written: Written) -> None:
        configure_logging("INFO", "json")
        tell_recorded([row(Status.FAILED, reason="Refused.", detail={"code": "5.1.1"}), row(Status.SENT)])
        told = [(line["level"], line["event"], line.get("status"), line.get("code")) for line in lines(written)]
        assert told == [
            ("info", "recorded", "FAILED", None),
            ("info", "recorded", "SENT", None),
            ("warning", "dead-lettered", None, "5.1.1"),
        ]

    def test_what_another_call_brought_about_names_that_call(self, written: Written) -> None:
        configure_logging("INFO", "json")
        token = correlation_id.set("cor_of_the_cancellation")
        try:
            tell_recorded([row(Status.CANCELLED)])
        finally:
            correlation_id.reset(token)
        (line,) = lines(written)
        assert (line["correlation_id"], line["brought_by"]) == ("cor_1", "cor_of_the_cancellation")

    @pytest.mark.parametrize("style", ["json", "text"])
    def test_a_reason_that_names_an_address_is_masked(self, written: Written, style: str) -> None:
        configure_logging("INFO", style)
        tell([Step(event=Event.ATTEMPTED, reason=f"550 <{ADDRESS}> unknown")])
        assert ADDRESS not in written.getvalue()
        assert "550 <a***@example.com> unknown" in written.getvalue()

    def test_a_request_id_that_is_an_address_is_masked_and_any_other_is_not(self, written: Written) -> None:
        configure_logging("INFO", "json")
        tell([Step(event=Event.ACCEPTED, request_id=given) for given in (f"welcome-{ADDRESS}", "order-" + "7" * 60)])
        assert [line["request_id"] for line in lines(written)] == ["w***@example.com", "order-" + "7" * 60]


class TestOtherLines:
    @pytest.mark.parametrize("style", ["json", "text"])
    def test_an_exception_shows_neither_address_nor_key_nor_the_values_of_variables(
        self, written: Written, style: str
    ) -> None:
        configure_logging("INFO", style)
        hidden = "-".join(["of", "the", "recipient"])  # the traceback shows this line, and must not show its value
        try:
            raise ValueError(f"550 <{ADDRESS}> with hg_9f3c1b7de24a60588c1d4e7fa3b2d9e1")
        except ValueError:
            log.exception("sending to %s failed", ADDRESS)
        text = written.getvalue()
        assert "Traceback" in text
        assert "550 <a***@example.com> with hg_9***" in text
        assert [found for found in (ADDRESS, hidden, "9f3c1b7d") if found in text] == []

    def test_say_which_notification_they_are_about(self, written: Written) -> None:
        configure_logging("INFO", "json")

        def work() -> None:
            speak_of("cor_1", "ntf_1", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
            log.warning("it waits")

        copy_context().run(work)
        (line,) = lines(written)
        assert (line["correlation_id"], line["notification_id"]) == ("cor_1", "ntf_1")
        assert line["trace_id"] == "4bf92f3577b34da6a3ce929d0e0e4736"
