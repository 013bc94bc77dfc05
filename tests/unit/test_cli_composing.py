"""From the words of a command line to the input of a mutation."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import typer

from api.cli.composing import order
from api.cli.times import duration


def composed(*to: str, **changes: Any) -> dict[str, Any]:
    """The input that these words make."""
    whole = {"template": "welcome", "content": {}, "variables": ((), ""), "times": {}, "more": {}, **changes}
    return order(to=to or ("ada@example.com",), **whole)


@pytest.mark.parametrize(
    ("word", "recipient"),
    [
        ("ada@example.com", {"email": "ada@example.com"}),
        ("usr_0199", {"user_id": "usr_0199"}),
        ("customer-7", {"user_id": "customer-7"}),
        ("device:a:b@c", {"device_token": "a:b@c"}),
    ],
)
def test_a_recipient_is_a_user_an_address_or_a_device(word: str, recipient: dict[str, str]) -> None:
    assert composed(word) == {"recipient": recipient, "template": {"key": "welcome"}}


def test_several_are_a_batch() -> None:
    given = composed("usr_1", "bo@example.com")
    assert given["recipients"] == [{"recipient": {"user_id": "usr_1"}}, {"recipient": {"email": "bo@example.com"}}]
    assert "recipient" not in given


def test_a_template_may_be_of_a_version() -> None:
    assert composed(template="order.sent@12")["template"] == {"key": "order.sent", "version": 12}


@pytest.mark.parametrize(
    ("pair", "value"),
    [
        ("a=1", "1"),
        ("a:=1", 1),
        ("a=", ""),
        ("a=b=c:=d", "b=c:=d"),
        ('a:={"b": [null]}', {"b": [None]}),
        ("a=\n", "\n"),
    ],
)
def test_a_variable_is_a_text_or_json(pair: str, value: object) -> None:
    assert composed(variables=([pair], ""))["variables"] == {"a": value}


def test_a_time_is_taken_on_this_machines_clock_unless_it_says_its_zone() -> None:
    times = {"send_at": "2030-01-31T09:00", "deliver_by": "2030-01-31T09:00:00+02:00"}
    given = composed(times=times)
    assert datetime.fromisoformat(given["send_at"]) == datetime(2030, 1, 31, 9).astimezone()
    assert datetime.fromisoformat(given["deliver_by"]) == datetime(2030, 1, 31, 7, tzinfo=UTC)


def test_a_time_may_be_from_now() -> None:
    before = datetime.now(UTC)
    found = datetime.fromisoformat(composed(times={"send_at": "2h"})["send_at"])
    assert before <= found - timedelta(hours=2) <= datetime.now(UTC)


def test_what_was_left_out_is_not_there() -> None:
    more: dict[str, Any] = {"channels": [], "category": "", "priority": None, "request_id": ""}
    assert set(composed(more=more, times={"send_at": ""})) == {"recipient", "template"}


@pytest.mark.parametrize(
    "changes",
    [
        {"template": ""},
        {"content": {"subject": "Hi"}},
        {"template": "a@"},
        {"template": "a@²"},
        {"variables": (["=x"], "")},
        {"variables": (['a:="\ud800"'], "")},
        {"times": {"send_at": "9999-12-31T23:59-23:59"}},
        {"times": {"send_at": "5w"}},
    ],
)
def test_what_cannot_be_meant_is_wrong_usage(changes: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as raised:
        composed(**changes)
    assert raised.value.exit_code == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("15m", 900), ("1h", 3600), ("7d", 604800), ("0s", 0), ("m", None), ("1.5h", None), ("-1h", None)],
)
def test_a_duration_is_a_number_and_a_unit(text: str, seconds: int | None) -> None:
    assert duration(text) == (None if seconds is None else timedelta(seconds=seconds))
