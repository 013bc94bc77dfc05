"""A set does to each of its notifications what is done to one alone: so what holds for one holds for many."""

import pytest

from tests.model.explorer import Explorer
from tests.model.rows import Clock, Row
from tests.model.states import Bounds
from tests.model.store import Store
from tests.model.switches import ALL_RULES
from tests.model.world import World

Pair = tuple[Row, Row]


@pytest.fixture(scope="module")
def world(tables: str) -> World:
    """A world whose rows have all been seen."""
    return World(tables, Bounds(faults=1, turns=0, replays=0), ALL_RULES)


@pytest.fixture(scope="module")
def pairs(world: World) -> list[Pair]:
    """Each row that can be reached once, with one that has little in common with it."""
    rows = sorted(Explorer(world, ()).explore().rows, key=repr)
    half = len(rows) // 2
    return list(zip(rows[:half], reversed(rows[half:]), strict=False))


@pytest.fixture(scope="module")
def two(tables: str, world: World) -> Store:
    """A store with two notifications."""
    return Store(tables, world.reports, count=2)


def test_a_take(world: World, two: Store, pairs: list[Pair]) -> None:
    due = [pair for pair in pairs if all(row.clock is Clock.DUE for row in pair)]
    assert due
    for pair in due:
        assert [each.change for each in two.take_all(pair)] == [world.store.take(row).change for row in pair]


def test_a_claim(world: World, two: Store, pairs: list[Pair]) -> None:
    for pair in pairs:
        claimed = [each.change for each in two.claim_all(pair, [row.attempt for row in pair])]
        assert claimed == [world.store.claim(row, row.attempt).change for row in pair]


def test_a_settlement(world: World, two: Store, pairs: list[Pair]) -> None:
    outcomes = [report for report, changes in enumerate(world.reports.changes) if changes[-1].token]
    for number, pair in enumerate(pairs):
        reports = [outcomes[number % len(outcomes)], outcomes[(number * 7 + 3) % len(outcomes)]]
        settled = [world.store.settle(row, report) for row, report in zip(pair, reports, strict=True)]
        assert two.settle_all(pair, reports) == settled


def test_a_record(world: World, two: Store, pairs: list[Pair]) -> None:
    count = len(world.reports.changes)
    for number, pair in enumerate(pairs):
        reports = [number % count, (number * 7 + 3) % count]
        recorded = [world.store.record(row, report) for row, report in zip(pair, reports, strict=True)]
        assert all(each.dense for each in recorded)
        assert two.record_all(pair, reports) == recorded
