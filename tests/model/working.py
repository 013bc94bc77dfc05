"""What workers do: two of them, each of which may be killed at any step, or stopped until its lease is over.

What a worker reports may be recorded at any later time or never, so it counts as reported as soon as it may be.
"""

from collections.abc import Iterator

from domain.deliver import PAUSE, HandBack
from domain.notification import Outcome, Status
from tests.model.leftovers import Leftovers
from tests.model.roles import Roles
from tests.model.rows import Reports
from tests.model.states import Bounds, Phase, State, Step, Worker, bits
from tests.model.store import Store
from tests.model.switches import Switch

WORKERS = 2


class Working:
    """The steps of the workers."""

    def __init__(
        self, bounds: Bounds, switch: Switch, reports: Reports, store: Store, roles: Roles, leftovers: Leftovers
    ) -> None:
        self._bounds = bounds
        self._looks_at_deliver_by = not switch.dispatcher_expires
        self._reports = reports
        self._store = store
        self._roles = roles
        self._leftovers = leftovers

    def steps(self, state: State) -> Iterator[Step]:
        """All that a worker may do next."""
        if len(state.workers) < WORKERS:
            for item in bits(state.items):
                yield from self._claim(state, item)
        for worker in state.workers:
            others = state.left(worker)
            yield from self._work(others, worker)
            if others.faults + worker.unsettled <= self._bounds.faults:
                killed = others._replace(faults=others.faults + worker.unsettled)
                yield Step((worker, "is killed"), killed)

    def _claim(self, state: State, item: int) -> Iterator[Step]:
        change, claim = self._store.claim(state.row, item)
        if claim is not None:
            worker = Worker(Phase.CLAIMED, self._roles.holding(claim), late=False)
            after = self._leftovers.changed(state, change).joined(worker)
            yield Step(("a worker claims the item of attempt", item), after, "claimed")

    def _work(self, others: State, worker: Worker) -> Iterator[Step]:
        if worker.phase is Phase.CLAIMED:
            for standing in ("allowed", "refused", "quiet"):
                yield from self._begin(others, worker, standing)
        elif worker.phase is Phase.CALLING:
            for outcome in Outcome:
                yield from self._answer(others, worker, outcome)
        elif worker.phase is Phase.ANSWERED:
            yield from self._settle(others, worker)
        else:
            change = self._store.release(others.row, worker.held.attempt, PAUSE)
            yield Step((worker, "hands its claim back"), self._leftovers.changed(others, change))

    def _begin(self, others: State, worker: Worker, standing: str) -> Iterator[Step]:
        """Decide not to send, or call the provider."""
        expired = others.row.expired and self._looks_at_deliver_by
        reached = self._roles.begin(worker.held, expired, worker.late, standing)
        if reached is None:
            calling = others.heard(self._roles.slow(worker.held)).joined(worker._replace(phase=Phase.CALLING))
            yield Step((worker, "calls the provider"), self._leftovers.without(calling), "called", worker.late)
            yield from self._without_provider(others, worker)
        elif isinstance(reached, HandBack):
            returning = others.joined(worker._replace(phase=Phase.RETURNING))
            yield Step((worker, "finds its lease too short"), returning)
        else:
            turns = others.turns + self._reports.says(reached, Status.SCHEDULED)
            if turns <= self._bounds.turns:
                answered = others._replace(turns=turns).joined(worker._replace(phase=Phase.ANSWERED, report=reached))
                yield Step((worker, "decides", self._reports.text(reached)), answered)

    def _without_provider(self, others: State, worker: Worker) -> Iterator[Step]:
        if others.turns < self._bounds.turns:
            after = others._replace(turns=others.turns + 1).joined(worker._replace(phase=Phase.RETURNING))
            yield Step((worker, "finds no provider"), after)

    def _answer(self, others: State, worker: Worker, outcome: Outcome) -> Iterator[Step]:
        """An unknown outcome is the worst one: the provider took it."""
        unknown = outcome is Outcome.UNKNOWN
        if others.faults + unknown > self._bounds.faults:
            return
        took = unknown or outcome is Outcome.ACCEPTED
        answered = worker._replace(phase=Phase.ANSWERED, report=self._roles.answer(worker.held, outcome))
        after = others._replace(faults=others.faults + unknown, accepted=others.accepted + took).joined(answered)
        label = ("the provider's answer to attempt", worker.held.attempt, "is", outcome)
        yield Step(label, after, "accepted" if took else "", worker.late)

    def _settle(self, others: State, worker: Worker) -> Iterator[Step]:
        """Store the outcome, then report it; report it too when it cannot be stored for so long that we give up."""
        told = others.heard(worker.report)
        text = self._reports.text(worker.report)
        stored = self._leftovers.changed(told, self._store.settle(told.row, worker.report))
        yield Step(("a worker settles and reports", text), self._leftovers.without(stored))
        if told.faults < self._bounds.faults:
            after = self._leftovers.without(told._replace(faults=told.faults + 1))
            yield Step(("a worker cannot settle and reports", text), after)
