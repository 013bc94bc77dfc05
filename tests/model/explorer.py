"""Breadth first through all states, so that the first history that breaks a promise is a shortest one."""

from collections.abc import Collection, Iterator
from typing import NamedTuple

from tests.model.promises import OF_STATES, OF_STEPS
from tests.model.recovery import Recovery
from tests.model.rows import Row
from tests.model.states import State
from tests.model.world import World

FINISHES = "finishes"
PROMISES = frozenset({*OF_STATES, *OF_STEPS, FINISHES})


class Broken(NamedTuple):
    """A promise that does not hold, and the shortest history that shows it."""

    promise: str
    history: list[str]
    rows: list[Row]

    def __str__(self) -> str:
        width = max(len(line) for line in self.history)
        lines = [f"{line:<{width}}  {row}" for line, row in zip(self.history, self.rows, strict=True)]
        end = ["and if everything else is lost now, it never finishes"] if self.promise == FINISHES else []
        return "\n".join([f"{self.promise!r} is broken after {len(lines) - 1} steps:", *lines, *end])


class Explored(NamedTuple):
    """What was seen. `broken` is None when everything holds in everything that can be reached.

    `accepted`: how often a provider took the notification at most.
    """

    states: int
    steps: int
    rows: set[Row]
    accepted: int
    broken: Broken | None


class Explorer:
    """Explores a world once."""

    def __init__(self, world: World, promises: Collection[str] = PROMISES) -> None:
        self._world = world
        self._of_states = [(name, holds) for name, holds in OF_STATES.items() if name in promises]
        self._of_steps = [(name, holds) for name, holds in OF_STEPS.items() if name in promises]
        self._recovery = Recovery(world) if FINISHES in promises else None
        self._from: dict[State, tuple[State, tuple[object, ...]] | None] = {}
        self._rows: set[Row] = set()
        self._steps = 0

    def explore(self) -> Explored:
        """Everything, or up to the first promise that is broken."""
        with self._world.switch.off():
            broken = next(self._levels(), None)
        accepted = max(state.accepted for state in self._from)
        return Explored(len(self._from), self._steps, self._rows, accepted, broken)

    def _levels(self) -> Iterator[Broken]:
        level = self._world.roots()
        for state in level:
            self._from[state] = None
        while level:
            for state in level:
                yield from self._look_at(state)
            found: list[State] = []
            for state in level:
                yield from self._leave(state, found)
            level = found

    def _look_at(self, state: State) -> Iterator[Broken]:
        for name, holds in self._of_states:
            if not holds(self._world, state):
                yield self._broken(name, state)
        if state.row not in self._rows:
            self._rows.add(state.row)
            if self._recovery is not None and not self._recovery.finishes(state.row):
                yield self._broken(FINISHES, state)

    def _leave(self, state: State, found: list[State]) -> Iterator[Broken]:
        for step in self._world.steps(state):
            self._steps += 1
            if step.kind:
                for name, holds in self._of_steps:
                    if not holds(self._world, state, step):
                        self._from.setdefault(step.state, (state, step.label))
                        yield self._broken(name, state, (step.label, step.state))
            if step.state not in self._from:
                self._from[step.state] = (state, step.label)
                found.append(step.state)

    def _broken(self, promise: str, state: State, last: tuple[tuple[object, ...], State] | None = None) -> Broken:
        steps = [] if last is None else [last]
        at: State | None = state
        while at is not None:
            came = self._from[at]
            steps.append((("accepted",) if came is None else came[1], at))
            at = None if came is None else came[0]
        steps.reverse()
        return Broken(promise, [" ".join(map(str, label)) for label, _ in steps], [state.row for _, state in steps])
