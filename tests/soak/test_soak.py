"""A short soak on every run: a few faults, the whole table, not one promise broken. `make soak` runs a long one."""

from collections import Counter
from pathlib import Path

import pytest

from tests.soak.report import Episode, rows_of, table
from tests.soak.run import Options, soak

FAULTS = 8


@pytest.mark.timeout(300)
async def test_nothing_is_lost_while_everything_is_killed_in_turn(tmp_path: Path) -> None:
    options = Options(minutes=(FAULTS + 0.5) * 5 / 60, rate=20, every=5, seed=7)
    result = await soak(tmp_path, options)
    assert result.breaches == [], result.text()
    assert sum(row.times for row in result.rows) >= FAULTS - 2, result.text()  # some faults take longer than 5 s
    assert result.accepted == result.statuses["SENT"] > 0
    assert [row.name for row in result.rows if None in row.recoveries] == [], result.text()


def test_the_table_counts_each_notification_for_the_fault_that_may_have_struck_it() -> None:
    episodes = [Episode(name="a", begun=10.0, mended=12.0, recovered=13.5), Episode(name="b", begun=20.0, mended=21.0)]
    accepted = {"early": 1.0, "one": 11.0, "two": 18.0, "in flight": 19.5, "late": 25.0}
    rows = rows_of(episodes, accepted, {"early": "SENT", "one": "SENT"}, Counter({"early": 1, "one": 3}))
    assert table(rows).splitlines()[2:] == [
        "| (none) | 0 | 1 | 1 | 0 | 0 |  |",
        "| a | 1 | 2 | 1 | 1 | 2 | 1.5 s, 1.5 s |",
        "| b | 1 | 2 | 0 | 2 | 0 | not in time |",
        "| **all** | 2 | 5 | 2 | 3 | 2 | 1.5 s, 1.5 s, 1 not in time |",
    ]
