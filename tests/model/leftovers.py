"""Messages that cannot change anything any more are left out of a state, so that there are fewer states.

Which those are follows from the rules; so `wrong` tries it for every row that was reached. Where a rule is off that
this relies on, nothing is left out.
"""

from collections.abc import Collection, Iterator

from tests.model.rows import NEVER_LEFT, Reports, Row
from tests.model.states import State, Taker, bits
from tests.model.store import Change, Store


class Leftovers:
    """Makes new states out of old ones. `prunes`: whether anything is left out at all."""

    def __init__(self, reports: Reports, prunes: bool) -> None:
        self._reports = reports
        self._prunes = prunes
        self._known: dict[tuple[object, ...], int] = {}

    def changed(self, state: State, change: Change) -> State:
        """The state with the row as it became. A clock that was written is nobody's own any more."""
        if change.moved and state.takers:
            state = state._replace(takers=() if self._prunes else tuple(Taker(own=False) for _ in state.takers))
        return self.with_row(state, change.row)

    def with_row(self, state: State, row: Row) -> State:
        """The state with another row."""
        return state if row == state.row else self.without(state._replace(row=row))

    def without(self, state: State) -> State:
        """The state without what is over."""
        if not self._prunes:
            return state
        row = state.row
        key = (row.attempt, row.token, row.status, state.reports)
        reports = self._known.get(key)
        if reports is None:
            reports = sum(1 << report for report in bits(state.reports) if not self._reports.is_over(report, row))
            self._known[key] = reports
        items = 0 if row.status in NEVER_LEFT else state.items >> row.attempt << row.attempt
        return state._replace(items=items, reports=reports)


def wrong(store: Store, rows: Collection[Row]) -> Iterator[str]:
    """Everything that was said to be over and is not, in words."""
    for row in rows:
        for report in range(len(store.reports.changes)):
            if store.reports.is_over(report, row) and store.tracked(row, report):
                yield f"{store.reports.text(report)} changes {row}"
        attempts = range(row.attempt + (row.status in NEVER_LEFT))
        if store.claims_any(row, attempts):
            yield f"an item of an attempt before {row.attempt} claims {row}"
        if store.give_back(row, False).row != row:
            yield f"giving back what somebody else has moved changes {row}"
