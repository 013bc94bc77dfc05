"""JSON that may be anything, and times to wait that make no sense: neither ever raises."""

import pytest

from workers.http_answer import asked_to_wait, json_object

NOW = 1_700_000_000.0


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[]", b"5", b"{", b'{"a": \xff}', b"[" * 60_000, b'{"a":' * 10_000, b"<html>"],
    ids=["nothing", "null", "list", "number", "half", "not utf-8", "deep list", "deep object", "html"],
)
def test_what_is_no_object_is_an_empty_one(body: bytes) -> None:
    assert json_object(body) == {}


def test_an_object_is_read() -> None:
    assert json_object(b'{"id": "<1@example.com>"}') == {"id": "<1@example.com>"}


@pytest.mark.parametrize(
    "asked",
    ["", "-1", "1.5", "soon", "\u0661", "1e9", "Tue, 99 Nov 2023 22:14:20 GMT", "Mon, 01 Jan 99999 00:00:00 GMT"],
)
def test_what_makes_no_sense_was_not_asked(asked: str) -> None:
    assert asked_to_wait({"retry-after": asked}, NOW) is None
    assert asked_to_wait({"x-ratelimit-reset": asked}, NOW) is None


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [("Tue, 14 Nov 2023 22:14:20 GMT", 60.0), ("Tue, 14 Nov 2023 23:14:20 +0100", 60.0), ("7", 7.0)],
)
def test_seconds_and_dates_are_understood(asked: str, seconds: float) -> None:
    assert asked_to_wait({"retry-after": asked}, NOW) == seconds
