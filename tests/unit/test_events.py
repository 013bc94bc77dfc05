"""The wire form: what goes out comes back equal, and anything else is refused with a reason."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import UnreadableMessage
from domain.events import (
    MAX_CHANGES,
    MAX_DELIVERIES,
    Attempt,
    DeliveryItem,
    DeliveryRequested,
    StatusChanged,
    StatusReport,
    decode_changes,
    decode_delivery,
    decode_report,
    encode,
)
from domain.notification import Channel, Outcome, Priority, Status

NOW = datetime(2030, 1, 1, tzinfo=UTC)

texts = st.text(st.characters(codec="utf-8"), max_size=20)
maybe_text = st.none() | texts
times = st.datetimes(min_value=datetime(1970, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis adds the zone
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
items = st.builds(DeliveryItem, texts, st.integers(0, 2**31))
deliveries = st.builds(
    DeliveryRequested,
    channel=st.sampled_from(Channel),
    priority=st.sampled_from(Priority),
    items=st.lists(items, min_size=1, max_size=MAX_DELIVERIES),
)
attempts = st.builds(
    Attempt,
    number=st.integers(1, 100),
    provider=texts,
    outcome=st.sampled_from(Outcome),
    started_at=times,
    duration_ms=st.integers(0, 10**6),
    device_id=maybe_text,
    code=maybe_text,
    detail=maybe_text,
    retry_at=st.none() | times,
)
changes = st.builds(
    StatusChanged,
    notification_id=texts,
    status=st.sampled_from(Status),
    occurred_at=times,
    attempt=st.integers(0, 2**31),
    token=maybe_text,
    reason=maybe_text,
    provider=maybe_text,
    provider_message_id=maybe_text,
    retry_at=st.none() | times,
    uses_attempt=st.booleans(),
    uncertain=st.booleans(),
    replay=st.booleans(),
    attempts=st.lists(attempts, max_size=2),
    detail=st.dictionaries(texts, json_values, max_size=3),
)
reports = st.builds(StatusReport, changes=st.lists(changes, min_size=1, max_size=5))


def delivery(**replaced: Any) -> bytes:
    """A delivery message with some keys replaced; a value of `...` takes the key away."""
    message = {"version": 1, "channel": "EMAIL", "priority": "NORMAL", "items": [{"id": "ntf_1", "attempt": 0}]}
    return msgspec.json.encode({key: value for key, value in (message | replaced).items() if value is not ...})


def report(version: Any = 1, count: int = 1, **replaced: Any) -> bytes:
    """A status message of `count` equal changes with some keys replaced."""
    change = {"notification_id": "ntf_1", "status": "SENT", "occurred_at": "2030-01-01T00:00:00Z"}
    change = {key: value for key, value in (change | replaced).items() if value is not ...}
    return msgspec.json.encode({"version": version, "changes": [change] * count})


class TestRoundTrip:
    @given(deliveries)
    def test_a_delivery_message(self, message: DeliveryRequested) -> None:
        assert decode_delivery(encode(message)) == message

    @given(reports)
    def test_a_status_message(self, message: StatusReport) -> None:
        assert decode_report(encode(message)) == message

    @given(st.lists(changes, max_size=3))
    def test_what_a_settled_claim_stores(self, settled: list[StatusChanged]) -> None:
        assert decode_changes(encode(settled)) == settled
        assert decode_changes(encode(settled).decode()) == settled

    def test_a_delivery_item_is_an_id_and_an_attempt_and_nothing_else(self) -> None:
        message = DeliveryRequested(channel=Channel.PUSH, priority=Priority.BULK, items=[DeliveryItem("ntf_1", 3)])
        assert msgspec.json.decode(encode(message)) == {
            "version": 1,
            "channel": "PUSH",
            "priority": "BULK",
            "items": [{"id": "ntf_1", "attempt": 3}],
        }

    def test_defaults_are_left_out_of_a_change(self) -> None:
        change = StatusChanged(notification_id="ntf_1", status=Status.QUEUED, occurred_at=NOW)
        assert msgspec.json.decode(encode([change])) == [
            {"notification_id": "ntf_1", "status": "QUEUED", "occurred_at": "2030-01-01T00:00:00Z"}
        ]


class TestStrictness:
    def test_the_examples_are_readable(self) -> None:
        items = [{"id": "n", "attempt": 0}] * MAX_DELIVERIES
        assert len(decode_delivery(delivery(items=items)).items) == MAX_DELIVERIES
        assert len(decode_report(report(count=MAX_CHANGES)).changes) == MAX_CHANGES

    @pytest.mark.parametrize("version", [0, 2, "1", None, 1.5])
    def test_another_version_is_refused(self, version: Any) -> None:
        with pytest.raises(UnreadableMessage):
            decode_delivery(delivery(version=version))
        with pytest.raises(UnreadableMessage):
            decode_report(report(version=version))

    @pytest.mark.parametrize("count", [0, MAX_DELIVERIES + 1])
    def test_too_few_or_too_many_items_are_refused(self, count: int) -> None:
        with pytest.raises(UnreadableMessage, match=f"1 to 50 items, not {count}"):
            decode_delivery(delivery(items=[{"id": "n", "attempt": 0}] * count))

    @pytest.mark.parametrize("count", [0, MAX_CHANGES + 1])
    def test_too_few_or_too_many_changes_are_refused(self, count: int) -> None:
        with pytest.raises(UnreadableMessage, match=f"1 to 500 changes, not {count}"):
            decode_report(report(count=count))

    @pytest.mark.parametrize(
        "replaced",
        [
            {"channel": "FAX"},
            {"channel": "email"},
            {"channel": ...},
            {"priority": 1},
            {"items": ...},
            {"items": {"id": "n", "attempt": 0}},
            {"items": ["ntf_1"]},
            {"items": [{"id": "n"}]},
            {"items": [{"id": 7, "attempt": 0}]},
            {"items": [{"id": "n", "attempt": "0"}]},
            {"items": [{"id": "n", "attempt": 0.5}]},
            {"items": [{"id": None, "attempt": 0}]},
        ],
    )
    def test_a_delivery_message_with_wrong_types_is_refused(self, replaced: dict[str, Any]) -> None:
        with pytest.raises(UnreadableMessage):
            decode_delivery(delivery(**replaced))

    @pytest.mark.parametrize(
        "replaced",
        [
            {"notification_id": ...},
            {"notification_id": 7},
            {"status": "LOST"},
            {"status": ...},
            {"occurred_at": ...},
            {"occurred_at": "yesterday"},
            {"occurred_at": 0},
            {"attempt": "1"},
            {"replay": 1},
            {"detail": []},
            {"attempts": [{"number": 1}]},
        ],
    )
    def test_a_status_message_with_wrong_types_is_refused(self, replaced: dict[str, Any]) -> None:
        with pytest.raises(UnreadableMessage):
            decode_report(report(**replaced))

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"null",
            b"[]",
            b"{}",
            b"\xff\xfe",
            b'{"version":1',
            b'"\\ud800"',
            delivery() + b"x",
            b'{"detail":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        ],
    )
    def test_what_is_no_message_is_refused(self, body: bytes) -> None:
        for decode in (decode_delivery, decode_report):
            with pytest.raises(UnreadableMessage):
                decode(body)

    @given(st.binary(max_size=200))
    def test_whatever_comes_the_refusal_is_ours(self, body: bytes) -> None:
        for decode in (decode_delivery, decode_report):
            with pytest.raises(UnreadableMessage):
                decode(body)
