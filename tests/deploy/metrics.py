"""The metrics that the roles tell, by name: with their labels, as dashboards and alerts may use them.

What a running system told, role by role, is in `scrapes/`; `tests.deploy.record` wrote it.
"""

from collections.abc import Iterator
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

SCRAPES = Path(__file__).with_name("scrapes")
COUNTERS = {
    "heliograph_http_requests_total": {"method", "route", "status"},
    "heliograph_graphql_operations_total": {"field", "outcome"},
    "heliograph_queue_published_total": {"queue"},
    "heliograph_queue_consumed_total": {"queue", "settled"},
    "heliograph_attempts_total": {"channel", "provider", "outcome"},
    "heliograph_status_changes_total": {"channel", "status"},
    "heliograph_bounce_mails_total": {"result"},
    "heliograph_rows_removed_total": {"table"},
}
GAUGES = {
    "heliograph_info": {"role", "version", "instance"},
    "heliograph_dependency_up": {"dependency"},
    "heliograph_dependency_latency_seconds": {"dependency"},
    "heliograph_queue_depth": {"queue"},
    "heliograph_queue_consumers": {"queue"},
    "heliograph_queue_lag_seconds": {"queue"},
    "heliograph_queue_waiting": {"queue"},
    "heliograph_breaker_state": {"breaker", "channel"},
    "heliograph_in_hand": {"channel"},
    "heliograph_subscriptions": set(),
    "heliograph_sockets": set(),
    "heliograph_follower_lag_positions": set(),
    "heliograph_log_horizon_position": set(),
}
HISTOGRAMS = {
    "heliograph_event_loop_lag_seconds": set(),
    "heliograph_http_request_seconds": {"route"},
    "heliograph_graphql_operation_seconds": {"field"},
    "heliograph_service_call_seconds": {"service", "outcome"},
    "heliograph_attempt_seconds": {"channel", "provider"},
    "heliograph_end_to_end_seconds": {"channel"},
}
OF_THE_PROCESS: dict[str, set[str]] = {"process_resident_memory_bytes": set(), "process_cpu_seconds_total": set()}
METRICS: dict[str, set[str]] = {**COUNTERS, **GAUGES, **HISTOGRAMS, **OF_THE_PROCESS}


def recorded() -> Iterator[tuple[str, Sample]]:
    """Every role and sample of the recordings."""
    for path in sorted(SCRAPES.glob("*.prom")):
        for family in text_string_to_metric_families(path.read_text()):
            for sample in family.samples:
                yield path.stem, sample
