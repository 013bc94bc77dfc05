"""The states of the whole system, and what a step says of itself."""

from enum import IntEnum
from typing import NamedTuple

from tests.model.roles import Held
from tests.model.rows import NOTHING, Row
from tests.model.store import Written


class Bounds(NamedTuple):
    """How much may happen in one history.

    `faults`: workers killed between claim and settlement, leases overrun, unknown outcomes, outcomes that could not be
    stored. `turns`: claims that end without an attempt (no provider, quiet hours). `attempts`: of the retry policy.
    """

    faults: int
    turns: int
    replays: int
    attempts: int = 2


class Phase(IntEnum):
    """How far a worker is with its claim."""

    CLAIMED = 0
    CALLING = 1
    ANSWERED = 2
    RETURNING = 3


class Worker(NamedTuple):
    """A worker with a claim in hand. `late`: its lease is over, and it goes on all the same."""

    phase: Phase
    held: Held
    late: bool
    report: int = NOTHING

    @property
    def unsettled(self) -> bool:
        """Whether losing it now, or stopping it until its lease is over, may cost a duplicate."""
        return self.phase is not Phase.RETURNING

    def __str__(self) -> str:
        return f"the worker of attempt {self.held.attempt}"


class Taker(NamedTuple):
    """A dispatcher that may still give the row back. `own`: the clock is the one that it wrote."""

    own: bool


class Recorder(NamedTuple):
    """Who has read the row and not written it yet; only where `record` does not lock."""

    report: int
    read: Row


class State(NamedTuple):
    """Everything there is. `items` and `reports` are sets of attempts and of reports, as bits."""

    row: Row
    items: int = 0
    reports: int = 0
    workers: tuple[Worker, ...] = ()
    takers: tuple[Taker, ...] = ()
    recorders: tuple[Recorder, ...] = ()
    faults: int = 0
    turns: int = 0
    replays: int = 0
    accepted: int = 0

    def heard(self, report: int) -> "State":
        """The state with this report on its way."""
        return self if report == NOTHING else self._replace(reports=self.reports | 1 << report)

    def joined(self, worker: Worker) -> "State":
        """The state with this worker at work."""
        return self._replace(workers=tuple(sorted([*self.workers, worker])))

    def left(self, worker: Worker) -> "State":
        """The state without this worker."""
        at = self.workers.index(worker)
        return self._replace(workers=self.workers[:at] + self.workers[at + 1 :])


class Step(NamedTuple):
    """Somebody acts: what is done (read as words), and to what it leads. The rest is what the promises look at.

    `kind` is "claimed", "called", "accepted" (by the provider), "wrote" or nothing.
    """

    label: tuple[object, ...]
    state: State
    kind: str = ""
    late: bool = False
    report: int = NOTHING
    written: Written | None = None


def bits(number: int) -> list[int]:
    """The members of a set that is kept as bits."""
    return [place for place in range(number.bit_length()) if number >> place & 1]
