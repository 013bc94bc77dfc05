"""The delivery protocol keeps its promises in every state that can be reached, and each rule is needed for that.

`HELIOGRAPH_MODEL_BOUNDS=faults,turns,replays,attempts` explores further; docs/protocol.md says how far and how long.
"""

import logging
import os
from pathlib import Path

import pytest

from domain.notification import Status
from tests.model.explorer import PROMISES, Broken, Explorer
from tests.model.leftovers import wrong
from tests.model.states import Bounds
from tests.model.switches import ALL_RULES, SECOND_FENCE, SWITCHES, Switch
from tests.model.world import World

log = logging.getLogger(__name__)

PAGE = Path(__file__).parents[2] / "docs" / "protocol.md"


def bounds() -> list[Bounds]:
    """Those of the environment, or those that every run has time for."""
    asked = os.environ.get("HELIOGRAPH_MODEL_BOUNDS")
    if asked:
        return [Bounds(*map(int, asked.split(",")))]
    return [Bounds(faults=2, turns=1, replays=0), Bounds(faults=1, turns=1, replays=1)]


def first_break(tables: str, switch: Switch) -> Broken | None:
    """A shortest history that breaks the promise, among those with the fewest faults."""
    for faults in range(2):
        world = World(tables, Bounds(faults=faults, turns=0, replays=0), switch)
        explored = Explorer(world, {switch.promise} if switch.promise else PROMISES).explore()
        if explored.broken is not None:
            return explored.broken
    return None


@pytest.mark.parametrize("bounds", bounds(), ids=lambda each: "-".join(map(str, each)))
def test_with_all_rules_every_promise_holds_in_every_state(tables: str, bounds: Bounds) -> None:
    world = World(tables, bounds, ALL_RULES)
    explored = Explorer(world).explore()
    log.info("%s: %d states, %d steps, %d rows", bounds, explored.states, explored.steps, len(explored.rows))
    assert explored.broken is None, explored.broken
    assert list(wrong(world.store, explored.rows)) == [], "something was left out that still mattered"
    assert {row.status for row in explored.rows} == set(Status)
    assert explored.accepted > 1, "no history had a duplicate, so the bound was not tried"


@pytest.mark.parametrize("switch", SWITCHES, ids=lambda each: each.name)
def test_without_the_rule_its_promise_is_broken(tables: str, switch: Switch) -> None:
    broken = first_break(tables, switch)
    log.info("without %s\n%s", switch.name, broken)
    assert broken is not None
    assert broken.promise == switch.promise


def test_the_test_for_a_free_claim_is_a_second_fence(tables: str) -> None:
    assert first_break(tables, SECOND_FENCE) is None


def test_every_promise_can_be_broken() -> None:
    assert {switch.promise for switch in SWITCHES} == PROMISES


def test_every_trace_has_a_switch() -> None:
    assert [switch.trace for switch in SWITCHES if switch.trace] == [*range(1, 12)]


def test_the_page_lists_every_switch() -> None:
    _, _, after = PAGE.read_text().partition("| without | trace | promise | steps |\n| --- | --- | --- | --- |\n")
    rows = [line.strip("|").split("|") for line in after.partition("\n\n")[0].splitlines()]
    written = [tuple(cell.strip() for cell in row[:3]) for row in rows]
    assert written == [(each.name, str(each.trace or ""), each.promise) for each in SWITCHES]
