"""Cursors come back as the positions that they were made from, and nothing else is one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.gateway import cursor
from domain.errors import ValidationFailed


@given(st.integers(min_value=0, max_value=2**63 - 1))
def test_a_cursor_comes_back_as_its_position(position: int) -> None:
    text = cursor.encode(position)
    assert cursor.decode(text) == position
    assert text.isascii()
    assert len(text) <= 32


@given(st.text())
def test_text_that_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(ValidationFailed) as refusal:
        cursor.decode(text)
    assert refusal.value.fields[0].path == ("after",)


LOOKALIKES = {
    "padded": "cDE6MQ==",
    "with a line end": "cDE6MQ\n",
    "negative": "cDE6LTE",
    "with a leading zero": "cDE6MDE",
    "without a number": "cDE6",
    "without a version": "MQ",
    "more than 64 bits": cursor.encode(2**63),
    "more than int() takes": "cDE6" + "OTk5" * 2000,
}


@pytest.mark.parametrize("text", LOOKALIKES.values(), ids=LOOKALIKES.keys())
def test_what_only_looks_like_a_cursor_is_refused(text: str) -> None:
    with pytest.raises(ValidationFailed):
        cursor.decode(text)
