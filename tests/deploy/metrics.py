"""The metrics that the roles tell, by name: with their labels, as dashboards and alerts may use them.

What a running system told, role by role, is in `scrapes/`; `tests.deploy.record` wrote it.
"""

from collections.abc import Iterator
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from domain import metrics

SCRAPES = Path(__file__).with_name("scrapes")
OF_THE_PROCESS: dict[str, set[str]] = {"process_resident_memory_bytes": set(), "process_cpu_seconds_total": set()}
METRICS: dict[str, set[str]] = {each.name: set(each.labels) for each in metrics.METRICS} | OF_THE_PROCESS


def recorded() -> Iterator[tuple[str, Sample]]:
    """Every role and sample of the recordings."""
    for path in sorted(SCRAPES.glob("*.prom")):
        for family in text_string_to_metric_families(path.read_text()):
            for sample in family.samples:
                yield path.stem, sample
