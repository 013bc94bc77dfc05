"""One notification, and all who deal with it.

The broker is as bad as it may be: what was published once may arrive at any time, in any order, again and again, or
never. So messages are not taken away, a lost broker is one that nobody hears of, and a message counts as published as
soon as it may be: whoever is killed before it publishes is one whose message never arrives. A relay that records in
one transaction holds nothing between its steps; so a second one, or a zombie, is a report that is recorded late, or
again.
"""

from collections.abc import Iterator
from datetime import timedelta
from functools import cache
from typing import Any, NamedTuple

from domain.events import StatusChanged
from domain.notification import Status
from tests.model.database import NOW
from tests.model.leftovers import Leftovers
from tests.model.roles import Published, Roles
from tests.model.rows import NOTHING, Clock, Reports, Row
from tests.model.states import Bounds, Recorder, State, Step, Taker, bits
from tests.model.store import Change, Store
from tests.model.switches import Switch
from tests.model.working import Working

DISPATCHERS = RECORDERS = 2
WAIT = 10.0
"""Seconds between two attempts; the model only knows that they are to come."""


class Out(NamedTuple):
    """What taking a row did, and what is then published for it."""

    change: Change
    published: Published


class World:
    """All that may happen to a notification, with one rule off or none."""

    def __init__(self, tables: str, bounds: Bounds, switch: Switch) -> None:
        self.bounds, self.switch = bounds, switch
        self.reports = Reports()
        self.store = Store(tables, self.reports)
        switch.rewrite(self.store)
        self._roles = Roles(self.reports, [WAIT] * (bounds.attempts - 1))
        self._leftovers = Leftovers(self.reports, switch.prunes)
        self._workers = Working(bounds, switch, self.reports, self.store, self._roles, self._leftovers)
        self._taken, self._replays = cache(self._take_of), cache(self._replays_of)
        self._expired = self._said(Status.EXPIRED)
        self._cancelled = self._said(Status.CANCELLED)
        self._facts = [self._said(Status.DELIVERED), self._said(Status.BOUNCED)]

    def roots(self) -> list[State]:
        """As `accept` leaves it: due at once, or scheduled."""
        return [State(self.store.accepted(status)) for status in (Status.ACCEPTED, Status.SCHEDULED)]

    def steps(self, state: State) -> Iterator[Step]:
        """All that may happen next."""
        row = state.row
        if not row.expired:
            yield Step(("deliver_by passes",), self._leftovers.with_row(state, row._replace(expired=True)))
        yield from self.own_steps(state)
        yield from self._gateway(state)

    def own_steps(self, state: State) -> Iterator[Step]:
        """What happens by itself, whatever anybody asks for."""
        if state.row.clock is Clock.LATER:
            yield from self._time(state)
        yield from self._dispatchers(state)
        yield from self._workers.steps(state)
        yield from self._relays(state)

    def _time(self, state: State) -> Iterator[Step]:
        """A lease that ends while its worker is at work is a fault, and the worker a zombie from then on."""
        row = state.row
        overrun = [
            each for each in state.workers if not each.late and each.unsettled and each.held.attempt == row.token
        ]
        faults = state.faults + len(overrun)
        if faults <= self.bounds.faults:
            workers = tuple(sorted(each._replace(late=each.late or each in overrun) for each in state.workers))
            after = state._replace(workers=workers, faults=faults)
            label = ("the lease ends, and its worker goes on",) if overrun else ("its clock comes",)
            yield Step(label, self._leftovers.with_row(after, row._replace(clock=Clock.DUE)))

    def _dispatchers(self, state: State) -> Iterator[Step]:
        row = state.row
        if row.clock is Clock.DUE and len(state.takers) < DISPATCHERS:
            yield from self._take(state)
        if row.clock is Clock.LATER and row.driven and not row.token:
            after = self._leftovers.changed(state, self.store.expedite(row))
            yield Step(("a dispatcher finds the queue empty, so it is due",), after)
        for at, taker in enumerate(state.takers):
            others = state._replace(takers=state.takers[:at] + state.takers[at + 1 :])
            yield from self._after_publishing(others, taker)

    def _take(self, state: State) -> Iterator[Step]:
        change, (report, item) = self._taken(state.row)
        after = self._leftovers.changed(state, change).heard(report)
        if item != NOTHING:
            after = after._replace(items=after.items | 1 << item)
        takers = tuple(sorted([*after.takers, Taker(own=True)]))
        what = [self.reports.text(report)] if report != NOTHING else []
        what += [f"the item of attempt {item}"] if item != NOTHING else []
        label = ("a dispatcher takes it and publishes", " and ".join(what))
        yield Step(label, self._leftovers.without(after._replace(takers=takers)))

    def _take_of(self, row: Row) -> Out:
        change, due = self.store.take(row)
        if self.switch.dispatcher_expires and row.expired and not due.settled:
            return Out(change, Published(self._expired, NOTHING))
        return Out(change, self._roles.published(due))

    def _after_publishing(self, others: State, taker: Taker) -> Iterator[Step]:
        """Give the row back where publishing failed (some of it may have arrived all the same)."""
        if self.switch.clock_after:
            moved = self._leftovers.changed(others, self.store.move_clock(others.row))
            yield Step(("the dispatcher moves the clock",), moved)
        else:
            given = self._leftovers.changed(others, self.store.give_back(others.row, taker.own))
            yield Step(("the dispatcher has no confirm and gives it back",), given)

    def _relays(self, state: State) -> Iterator[Step]:
        for report in bits(state.reports):
            yield from self._record("a relay", state, report)
        for at, recorder in enumerate(state.recorders):
            others = state._replace(recorders=state.recorders[:at] + state.recorders[at + 1 :])
            written = self.store.record(state.row, recorder.report, recorder.read)
            after = self._leftovers.changed(others, written.change)
            label = ("who has read it before writes", self.reports.text(recorder.report))
            yield Step(label, after, "wrote", False, recorder.report, written)

    def _gateway(self, state: State) -> Iterator[Step]:
        """What is recorded at once: a cancellation, what a provider says later, a replay."""
        yield from self._record("the gateway", state, self._cancelled)
        if state.accepted:
            for fact in self._facts:
                yield from self._record("a webhook", state, fact)
        if state.row.status is Status.FAILED and state.replays < self.bounds.replays:
            for replay in self._replays(state.row.attempt):
                yield from self._record("a replay", state._replace(replays=state.replays + 1), replay)

    def _replays_of(self, attempt: int) -> list[int]:
        """At once, or later, where many are replayed."""
        at_once = self._change(Status.QUEUED, attempt=attempt, replay=True)
        later = self._change(Status.QUEUED, attempt=attempt, replay=True, retry_at=NOW + timedelta(hours=1))
        return [self.reports.number([at_once]), self.reports.number([later])]

    def _record(self, who: str, state: State, report: int) -> Iterator[Step]:
        if not self.switch.locks:
            if len(state.recorders) < RECORDERS:
                recorders = tuple(sorted([*state.recorders, Recorder(report, state.row)]))
                label = (f"{who} reads the row for", self.reports.text(report))
                yield Step(label, state._replace(recorders=recorders))
            return
        written = self.store.record(state.row, report)
        if written.change.row != state.row or self.reports.is_fact(report):
            after = self._leftovers.changed(state, written.change)
            yield Step((f"{who} records", self.reports.text(report)), after, "wrote", False, report, written)

    def _said(self, status: Status) -> int:
        return self.reports.number([self._change(status)])

    def _change(self, status: Status, **more: Any) -> StatusChanged:
        return StatusChanged(notification_id=self.store.ids[0], status=status, occurred_at=NOW, **more)
