"""Whether a row finishes when everything else is gone: all processes killed, all messages lost.

Any state may come to that in one step. From there on nothing more goes wrong, nobody asks for anything, and deliver_by
need not come. If an ending can then be reached from wherever the steps lead, it is reached, once each step that stays
possible is taken some time.
"""

from domain.notification import FINAL
from tests.model.rows import Row
from tests.model.states import State
from tests.model.world import World

Before = dict[State, list[State]]


class Recovery:
    """Answers for one row after the other, and remembers what it went through."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._sound: set[State] = set()

    def finishes(self, row: Row) -> bool:
        """Whether it does from every state that the row may come to by itself."""
        before, ends = self._closure(row)
        sound = set(ends)
        while ends:
            new = [each for each in before[ends.pop()] if each not in sound]
            sound.update(new)
            ends.extend(new)
        if len(sound) < len(before):
            return False
        self._sound |= sound
        return True

    def _closure(self, row: Row) -> tuple[Before, list[State]]:
        """All states that follow, with those right before each; and those of them that are final, or known to end."""
        bounds = self._world.bounds
        start = State(row, faults=bounds.faults, turns=bounds.turns, replays=bounds.replays)
        before: Before = {start: []}
        ends: list[State] = []
        left = [start]
        while left:
            state = left.pop()
            if state in self._sound or state.row.status in FINAL:
                ends.append(state)
                continue
            for step in self._world.own_steps(state):
                if step.state not in before:
                    before[step.state] = []
                    left.append(step.state)
                before[step.state].append(state)
        return before, ends
