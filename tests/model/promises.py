"""What must hold in every state, and in every step."""

from collections.abc import Callable, Mapping

from domain.notification import FACTS, FINAL, TRANSITIONS, Status
from tests.model.rows import NOTHING, Clock
from tests.model.states import State, Step
from tests.model.world import World

OfState = Callable[[World, State], bool]
OfStep = Callable[[World, State, Step], bool]

UNSENT = frozenset({Status.CANCELLED, Status.EXPIRED, Status.SKIPPED, Status.FAILED})
ORDER = (Status.SENT, Status.DELIVERED, Status.BOUNCED)
OVER = frozenset({Status.BOUNCED, Status.SKIPPED, Status.CANCELLED, Status.EXPIRED})


def clock(world: World, state: State) -> bool:
    """What is unfinished has a clock; what is final has none, no claim and no stored outcome."""
    row = state.row
    if row.status not in FINAL:
        return row.clock is not None
    return row.clock is None and not row.token and row.settled == NOTHING


def bound(world: World, state: State) -> bool:
    """Duplicates are at most unknown outcomes + kills in flight + leases overrun."""
    return state.accepted <= 1 + state.faults


def flagged(world: World, state: State) -> bool:
    """Each duplicate is flagged."""
    return state.accepted <= 1 or state.row.possible_duplicate


def exclusive(world: World, state: State) -> bool:
    """Until its lease ends, a claim is its worker's alone, unless a fact ends the notification."""
    row = state.row
    return all(
        worker.late or not worker.unsettled or row.token == worker.held.attempt or row.status in FACTS
        for worker in state.workers
    )


def cancelled(world: World, state: State) -> bool:
    """CANCELLED means that no provider took it."""
    return state.row.status is not Status.CANCELLED or not state.accepted


def no_call_after_an_ending(world: World, before: State, step: Step) -> bool:
    """No call begins after we said that it will not be sent, and none within its lease is accepted."""
    if step.kind == "called":
        return before.row.status not in UNSENT
    return step.kind != "accepted" or step.late or before.row.status not in UNSENT


def endings(world: World, before: State, step: Step) -> bool:
    """The log goes on from where the row is, along the table, densely; FAILED is left by a replay only."""
    if step.written is None:
        return True
    at = before.row.status
    for previous, status in step.written.entries:
        if previous is not at or status not in TRANSITIONS[previous] or previous in OVER:
            return False
        if previous is Status.FAILED and not step.written.replay:
            return False
        at = status
    return step.written.dense and step.state.row.status is at


def time(world: World, before: State, step: Step) -> bool:
    """Nothing is claimed, nor said to be QUEUED, while it waits for its time."""
    row = before.row
    if row.clock is not Clock.LATER or row.driven or row.token:
        return True
    if step.kind == "claimed":
        return False
    return step.written is None or step.written.replay or (row.status, Status.QUEUED) not in step.written.entries


def settled(world: World, before: State, step: Step) -> bool:
    """A settled claim is never sent again."""
    return step.kind != "claimed" or before.row.settled == NOTHING


def facts(world: World, before: State, step: Step) -> bool:
    """What a provider said is never lost: it is the status, or comes after it, or is remembered beside the ending."""
    if step.written is None or not world.reports.is_fact(step.report):
        return True
    said, after = world.reports.changes[step.report][-1].status, step.state.row
    if before.row.status in UNSENT:
        return said is not Status.SENT or after.possible_duplicate
    return after.status in ORDER and ORDER.index(after.status) >= ORDER.index(said)


OF_STATES: Mapping[str, OfState] = {
    "clock": clock,
    "bound": bound,
    "flagged": flagged,
    "exclusive": exclusive,
    "cancelled": cancelled,
}
OF_STEPS: Mapping[str, OfStep] = {
    "no call after an ending": no_call_after_an_ending,
    "endings": endings,
    "time": time,
    "settled": settled,
    "facts": facts,
}
