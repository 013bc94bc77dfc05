"""What is rung survives the wire, and what is not ours does no harm."""

from hypothesis import given
from hypothesis import strategies as st

from domain.doorbell import MAX_PAYLOAD, ROWS_A_RING, Ring, decode, encode_head, encode_parts, encode_rows
from tests.unit.feed_fakes import FakeLog


def test_the_rows_of_a_commit_travel_with_their_last_position() -> None:
    log = FakeLog()
    rows = [log.append(f"ntf_{number}", reason='é "quoted" \n') for number in range(3)]
    assert decode(encode_rows(rows)) == Ring(3, tuple(rows))


def test_rows_that_are_too_many_are_left_out() -> None:
    log = FakeLog()
    rows = [log.append(reason="x" * 1000) for _ in range(300)]
    payload = encode_rows(rows)
    assert len(payload) <= MAX_PAYLOAD
    assert decode(payload) == Ring(300)
    assert decode(encode_rows(rows[:100])) == Ring(100, tuple(rows[:100]))


def test_no_rows_are_the_empty_payload() -> None:
    assert encode_rows([]) == b""


def test_a_heartbeat_says_how_far_the_log_goes() -> None:
    assert decode(encode_head(42)) == Ring(42)
    assert decode(encode_head(0)) == Ring(0)


@given(st.binary() | st.sampled_from([b"", b"null", b"[]", b'{"last": "x"}', b'{"rows": [{}]}', b"\xff{}"]))
def test_anything_else_says_look(payload: bytes) -> None:
    assert decode(payload) == Ring()


def test_a_large_commit_is_told_in_parts_that_carry_their_rows() -> None:
    count = 2 * ROWS_A_RING + 1
    log = FakeLog()
    rows = [log.append() for _ in range(count)]
    heard = [decode(payload) for payload in encode_parts(rows)]
    assert [one.head for one in heard] == [ROWS_A_RING, 2 * ROWS_A_RING, count]
    assert [each for one in heard for each in one.rows] == rows
    assert list(encode_parts([])) == []
