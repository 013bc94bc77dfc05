"""The wire form of a sign of life, and the names of what is measured."""

from datetime import UTC, datetime

import pytest

from domain.metrics import METRICS
from domain.vitals import Sample, Vitals, decode, encode

NOON = datetime(2030, 1, 31, 12, tzinfo=UTC)
ALIVE = Vitals(
    id="ins_1",
    roles=("email",),
    version="1.2.3",
    started_at=NOON,
    seen_at=NOON,
    status="ok",
    url="http://email:8000",
    samples=(Sample("heliograph_queue_published_total", {"queue": "status.queue"}, 7.0),),
)


def test_a_sign_of_life_survives_the_wire() -> None:
    heard = decode(encode(ALIVE))
    assert heard is not None
    assert (heard.id, heard.roles, heard.status, heard.started_at) == ("ins_1", ("email",), "ok", NOON)
    assert list(heard.samples) == list(ALIVE.samples)


@pytest.mark.parametrize("payload", [b"", b"{}", b"[1]", b"\xff", b'{"id": 1}'])
def test_what_is_no_sign_of_life_is_none(payload: bytes) -> None:
    assert decode(payload) is None


def test_metrics_have_names_of_their_own_as_prometheus_wants_them() -> None:
    names = [metric.name for metric in METRICS]
    assert len(set(names)) == len(names)
    for metric in METRICS:
        assert metric.name.startswith("heliograph_")
        assert metric.name.endswith("_total") is (metric.kind == "counter"), metric.name
        assert bool(metric.buckets) is (metric.kind == "histogram"), metric.name
        assert list(metric.buckets) == sorted(metric.buckets)
