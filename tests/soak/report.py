"""What came of a soak, fault by fault, as a table in Markdown."""

import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import msgspec

IN_FLIGHT = 1.0
"""Seconds after its acceptance for which a notification may be in flight, and a fault's victim."""


class Episode(msgspec.Struct, kw_only=True):
    """One fault of the schedule: when it began and was mended (monotonic), and when all from before had its end."""

    name: str
    begun: float
    mended: float = 0.0
    recovered: float | None = None

    @property
    def recovery(self) -> float | None:
        """Seconds from the mending until all that was accepted by then was final; None: not within the patience."""
        return None if self.recovered is None else max(0.0, self.recovered - self.mended)


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """All episodes of one fault: what was accepted since it began, or was in flight then, until the next one began."""

    name: str
    times: int
    accepted: int
    final: int
    duplicates: int
    recoveries: tuple[float | None, ...]

    @property
    def lost(self) -> int:
        """Accepted and never ended."""
        return self.accepted - self.final


def rows_of(
    episodes: Sequence[Episode], accepted: Mapping[str, float], final: Mapping[str, str], mails: Counter[str]
) -> list[Row]:
    """A row a fault, in the order of their names; what came before the first is the row of no fault."""
    of_fault: dict[str, list[str]] = {"(none)": []}
    for episode in episodes:
        of_fault.setdefault(episode.name, [])
    for id, at in accepted.items():
        before = [episode for episode in episodes if episode.begun <= at + IN_FLIGHT]
        of_fault[before[-1].name if before else "(none)"].append(id)
    return [_row(name, ids, episodes, final, mails) for name, ids in sorted(of_fault.items())]


def _row(
    name: str, ids: Sequence[str], episodes: Sequence[Episode], final: Mapping[str, str], mails: Counter[str]
) -> Row:
    mine = [episode for episode in episodes if episode.name == name]
    return Row(
        name=name,
        times=len(mine),
        accepted=len(ids),
        final=sum(id in final for id in ids),
        duplicates=sum(max(0, mails[id] - 1) for id in ids),
        recoveries=tuple(episode.recovery for episode in mine),
    )


def table(rows: Sequence[Row]) -> str:
    """The rows and their sum."""
    return "\n".join(_lines(rows))


def _lines(rows: Sequence[Row]) -> Iterator[str]:
    yield "| fault | times | accepted | final | lost | duplicates | recovery: median, longest |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for row in rows:
        yield _line(row.name, row.times, row.accepted, row.final, row.duplicates, _seconds(row.recoveries))
    times, accepted, final, duplicates = (
        sum(getattr(row, name) for row in rows) for name in ("times", "accepted", "final", "duplicates")
    )
    everything = [recovery for row in rows for recovery in row.recoveries]
    yield _line("**all**", times, accepted, final, duplicates, _seconds(everything))


def _line(name: str, times: int, accepted: int, final: int, duplicates: int, recovery: str) -> str:
    return f"| {name} | {times} | {accepted:,} | {final:,} | {accepted - final} | {duplicates} | {recovery} |"


def _seconds(recoveries: Sequence[float | None]) -> str:
    known = [recovery for recovery in recoveries if recovery is not None]
    if not known:
        return "" if not recoveries else "not in time"
    late = "" if len(known) == len(recoveries) else f", {len(recoveries) - len(known)} not in time"
    return f"{statistics.median(known):.1f} s, {max(known):.1f} s{late}"
