"""Identifiers: their kind, their shape, their order."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import ids

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MOMENTS = st.integers(0, ((1 << 48) - 1) * 1_000_000)
"""Nanoseconds since 1970, for as long as 48 bits of milliseconds last."""


def test_an_identifier_names_its_kind_and_is_a_uuid_of_version_7() -> None:
    id = ids.new_id(ids.NOTIFICATION)
    assert re.fullmatch(r"ntf_[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}", id)
    assert ids.is_id(ids.NOTIFICATION, id)


def test_many_are_all_different() -> None:
    assert len({ids.new_id(ids.USER) for _ in range(10_000)}) == 10_000


@given(first=MOMENTS, second=MOMENTS)
def test_the_order_is_the_order_of_time(first: int, second: int) -> None:
    earlier, later = sorted((first, second))
    if later - earlier < 245:  # 1/4096 of a millisecond is as fine as it gets
        later = earlier + 245
    with pytest.MonkeyPatch.context() as patch:
        made = []
        for moment in (earlier, later):
            patch.setattr("domain.ids.time.time_ns", lambda moment=moment: moment)
            made.append(ids.new_id(ids.REQUEST))
    assert made == sorted(made)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "ntf",
        "ntf_",
        "usr_018f3b6c9d2a7c3e8f0a1b2c3d4e5f60",
        "ntf_018f3b6c9d2a7c3e8f0a1b2c3d4e5f6",
        "ntf_018f3b6c9d2a7c3e8f0a1b2c3d4e5f601",
        "ntf_018F3B6C9D2A7C3E8F0A1B2C3D4E5F60",
        "ntf_018f3b6c-9d2a-7c3e-8f0a-1b2c3d4e",
        "ntf_018f3b6c9d2a7c3e8f0a1b2c3d4e5f6\n",
        " ntf_018f3b6c9d2a7c3e8f0a1b2c3d4e5f60",
    ],
)
def test_another_shape_or_kind_is_no_identifier(value: str) -> None:
    assert not ids.is_id(ids.NOTIFICATION, value)


@given(moment=st.integers(0, 250 * 366 * 86_400 * 10**9), apart=st.integers(-1000, 1000))
def test_the_first_id_of_a_moment_stands_between_those_before_and_those_from_then_on(moment: int, apart: int) -> None:
    at = max(0, moment // 1_000_000 + apart)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("domain.ids.time.time_ns", lambda: moment)
        id = ids.new_id(ids.REQUEST)
    assert (id < ids.first_id(ids.REQUEST, EPOCH + timedelta(milliseconds=at))) is (moment // 1_000_000 < at)


def test_before_1970_there_is_nothing() -> None:
    assert ids.first_id(ids.REQUEST, EPOCH - timedelta(days=1)) == f"req_{0:032x}"
