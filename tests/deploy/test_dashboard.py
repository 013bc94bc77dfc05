"""The dashboard shows what there is to see, and nothing that is not told."""

import json
import re
from typing import Any

import pytest

from tests.deploy.files import DASHBOARD, MONITORING, compose, expressions, metrics_in, panels, read
from tests.deploy.metrics import METRICS

WANTED = {
    "message rate per queue": {"heliograph_queue_published_total", "heliograph_queue_consumed_total"},
    "service response times": {
        "heliograph_http_request_seconds",
        "heliograph_graphql_operation_seconds",
        "heliograph_service_call_seconds",
    },
    "error rates": {"heliograph_http_requests_total", "heliograph_graphql_operations_total"},
    "queue lag": {"heliograph_queue_lag_seconds"},
    "queue depth": {"heliograph_queue_depth"},
    "attempts by provider and outcome": {"heliograph_attempts_total"},
    "breaker state": {"heliograph_breaker_state"},
    "live subscriptions": {"heliograph_subscriptions"},
    "follower lag": {"heliograph_follower_lag_positions"},
    "end-to-end latency": {"heliograph_end_to_end_seconds"},
    "event-loop lag": {"heliograph_event_loop_lag_seconds"},
}
TOLD_BY_EVERY_GATEWAY = {
    "heliograph_queue_depth",
    "heliograph_queue_waiting",
    "heliograph_queue_consumers",
    "heliograph_queue_lag_seconds",
}


def shown() -> set[str]:
    return {metric for panel in panels() for expression in expressions(panel) for metric in metrics_in(expression)}


@pytest.mark.parametrize("what", WANTED)
def test_it_shows(what: str) -> None:
    assert WANTED[what] - shown() == set()


def test_it_shows_everything_that_the_product_tells() -> None:
    assert shown() == set(METRICS)


def test_attempts_are_told_apart() -> None:
    (expression,) = [
        one for panel in panels() for one in expressions(panel) if "by (channel, provider, outcome)" in one
    ]
    assert "heliograph_attempts_total" in expression


@pytest.mark.parametrize("panel", panels(), ids=lambda panel: panel["title"])
def test_a_panel_reads_what_its_datasource_has(panel: dict[str, Any]) -> None:
    (source,) = read(MONITORING / "grafana/datasources/prometheus.yml")["datasources"]
    assert panel["datasource"]["uid"] == source["uid"]
    for expression in expressions(panel):
        used = metrics_in(expression)
        assert used <= set(METRICS)
        grouped = {label for by in re.findall(r"by \(([^)]*)\)", expression) for label in by.split(", ")}
        labels = {"job", "instance", "le"}.union(*(METRICS[metric] for metric in used))
        assert grouped <= labels
        if used & TOLD_BY_EVERY_GATEWAY:
            assert expression.startswith("max by (queue)"), "a sum would count what each gateway tells of one queue"


def test_panels_do_not_overlap() -> None:
    cells = [
        (x, y)
        for panel in json.loads(DASHBOARD.read_text())["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24


def test_ids_are_its_own() -> None:
    ids = [panel["id"] for panel in json.loads(DASHBOARD.read_text())["panels"]]
    assert len(ids) == len(set(ids))


def test_grafana_finds_it_where_it_is_mounted() -> None:
    (mount, _) = compose()["services"]["grafana"]["volumes"]
    source, target, _ = mount.split(":")
    (provider,) = read(MONITORING / "grafana/dashboards/heliograph.yml")["providers"]
    assert source == "./docker/monitoring/grafana"
    assert provider["options"]["path"] == f"{target}/dashboards"
