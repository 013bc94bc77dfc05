"""The gateway's own statements on the model's rows: accept, take, give back, claim, settle, release, record.

Each is the real method of `SqlOutbox`, `SqlClaims` or `SqlStatusStore` on SQLite, run on rows that are written before
and read after. What it does to one row depends on nothing else, so it is run once and remembered.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from functools import cache
from typing import Any, NamedTuple, TypeVar

import msgspec

from api.database import parse_time
from api.gateway.claims import SqlClaims
from api.gateway.dialect import SqliteDialect, stamp
from api.gateway.outbox import SqlOutbox
from api.gateway.queries import Queries
from api.gateway.repository import SqlRequests
from api.gateway.rows import progress_of, settled_of, to_text
from api.gateway.statuslog import SqlStatusStore
from domain.events import DeliveryItem
from domain.notification import Channel, Progress, Status
from domain.ports import Claim, Due, Recorded, Settlement
from domain.track import track_all
from tests.contracts.gateway_store import LEASE, REDRIVE, order
from tests.model.database import NOW, ModelDatabase, run
from tests.model.rows import NOTHING, Clock, Reports, Row

T = TypeVar("T")

PAST, FUTURE = stamp(NOW - timedelta(seconds=1)), stamp(NOW + timedelta(days=1))
"""What is written for a clock that is due, and for one that is not. No statement writes either by itself."""

_WRITE = """
    UPDATE notifications SET status = $2, attempt = $3, attempts_used = $4, drives = $5, next_at = $6, token = $7,
        settled = $8, uncertain = $9, possible_duplicate = $10, deliver_by = $11, sequence = 1 WHERE id = $1"""
_LOGGED = ("notification_id", "sequence", "status", "previous_status", "position")
_LOG = f"SELECT {', '.join(_LOGGED)} FROM status_log ORDER BY position"


class Change(NamedTuple):
    """What became of a row. `moved`: its clock was written, be it to what it was."""

    row: Row
    moved: bool


class Taken(NamedTuple):
    """A row that a dispatcher took. `due` is what `take_due` said of it."""

    change: Change
    due: Due


class Claimed(NamedTuple):
    """A claim, if it was not refused."""

    change: Change
    claim: Claim | None


class Written(NamedTuple):
    """What recording did: from which status to which, whether by a replay, and whether the log has no hole."""

    change: Change
    entries: tuple[tuple[Status, Status], ...]
    replay: bool
    dense: bool


def token_of(attempt: int) -> str:
    """The token of an attempt's claim."""
    return f"clm_{attempt}"


class Store:
    """The status store with `count` notifications. The methods with `_all` take one row for each of the first few."""

    def __init__(self, tables: str, reports: Reports, count: int = 1) -> None:
        self.database = ModelDatabase(tables)
        self.reports = reports
        self.outbox = SqlOutbox(self.database.as_real)
        self.claims = SqlClaims(self.database.as_real)
        self.status = SqlStatusStore(self.database.as_real)
        self._requests = SqlRequests(self.database.as_real, Queries(self.database.as_real), lambda entries: None)
        first = order(count=count)
        run(self._requests._commit([first]))
        self.ids = [draft.id for draft in first.drafts]
        self.claim, self.take = cache(self._claim), cache(self._take)
        self.settle, self.release = cache(self._settle), cache(self._release)
        self.give_back, self.expedite, self.record = cache(self._give_back), cache(self._expedite), cache(self._record)
        self._progress = cache(self._progress_of)
        self.move_clock = cache(self._move_clock)

    def accepted(self, status: Status) -> Row:
        """A row as `accept` writes it."""
        due_at = NOW + timedelta(hours=1) if status is Status.SCHEDULED else None
        given = order(status=status, send_at=due_at)

        def act() -> Row:
            run(self._requests._commit([given]))
            return self._read(given.drafts[0].id, None).row

        return self.database.undone(act)

    def take_all(self, rows: Sequence[Row]) -> list[Taken]:
        """Rule R2; the rows must be due."""
        taken, changes = self._on(rows, lambda: run(self.outbox.take_due(Channel.EMAIL, len(rows), REDRIVE)))
        due = {each.id: each for each in taken}
        return [Taken(change, due[id]) for id, change in zip(self.ids, changes, strict=False)]

    def claim_all(self, rows: Sequence[Row], attempts: Sequence[int]) -> list[Claimed]:
        """Rule R1, for items with these attempts."""
        items = [DeliveryItem(id, attempt) for id, attempt in zip(self.ids, attempts, strict=False)]
        claims, changes = self._on(rows, lambda: run(self.claims.claim(items, LEASE)))
        found = {claim.id: msgspec.structs.replace(claim, token=token_of(claim.attempt)) for claim in claims}
        return [Claimed(change, found.get(id)) for id, change in zip(self.ids, changes, strict=False)]

    def settle_all(self, rows: Sequence[Row], reports: Sequence[int]) -> list[Change]:
        """Rule R3, with the tokens that the reports carry."""
        stored = [self.reports.changes[report] for report in reports]
        outcomes = [
            Settlement(id=id, token=changes[-1].token or "", changes=changes)
            for id, changes in zip(self.ids, stored, strict=False)
        ]
        return self._on(rows, lambda: run(self.claims.settle(outcomes)))[1]

    def record_all(
        self, rows: Sequence[Row], reports: Sequence[int], read: Sequence[Row] | None = None
    ) -> list[Written]:
        """Rule R6; `read`: what was read, where that was some time before and without a lock."""
        changes = [
            msgspec.structs.replace(change, notification_id=id)
            for id, report in zip(self.ids, reports, strict=False)
            for change in self.reports.changes[report]
        ]
        stale = None if read is None else self._on(read, lambda: self.database.ask(*self._lock_rows(len(read))))[0]

        def act() -> tuple[Recorded, list[dict[str, Any]]]:
            self.database.ask("DELETE FROM status_log")
            self.database.ask("UPDATE status_log_head SET position = 0")
            if stale is not None:
                self.database.answers[self.status._sql.lock_rows] = stale
            try:
                return run(self.status.record(changes)), self.database.ask(_LOG)
            finally:
                self.database.answers.clear()

        (recorded, log), after = self._on(rows, act)
        told = [{name: getattr(row, name) for name in _LOGGED} for row in recorded.rows]
        dense = told == log and [row["position"] for row in log] == [*range(1, len(log) + 1)]
        return [self._written(id, change, log, changes, dense) for id, change in zip(self.ids, after, strict=False)]

    def tracked(self, row: Row, report: int) -> bool:
        """Whether recording the report would change the row: by `track` alone, which is what decides it."""
        progress = self._progress(row)
        return bool(track_all({progress.id: progress}, self.reports.changes[report], NOW).rows)

    def claims_any(self, row: Row, attempts: Iterable[int]) -> bool:
        """Whether an item with one of these attempts would get the claim."""
        items = [DeliveryItem(self.ids[0], attempt) for attempt in attempts]
        return bool(self._on([row], lambda: run(self.claims.claim(items, LEASE)))[0])

    def _progress_of(self, row: Row) -> Progress:
        (found,) = self._on([row], lambda: self.database.ask(*self._lock_rows(1)))[0]
        return progress_of(found)

    def _written(
        self, id: str, change: Change, log: list[dict[str, Any]], changes: Sequence[Any], dense: bool
    ) -> Written:
        own = [row for row in log if row["notification_id"] == id]
        entries = tuple((Status(row["previous_status"]), Status(row["status"])) for row in own)
        dense = dense and [row["sequence"] for row in own] == [*range(2, len(own) + 2)]
        return Written(change, entries, any(each.replay for each in changes if each.notification_id == id), dense)

    def _lock_rows(self, count: int) -> tuple[str, list[str]]:
        return self.status._sql.lock_rows, [to_text([{"id": id} for id in self.ids[:count]]) or ""]

    def _take(self, row: Row) -> Taken:
        return self.take_all([row])[0]

    def _claim(self, row: Row, attempt: int) -> Claimed:
        return self.claim_all([row], [attempt])[0]

    def _settle(self, row: Row, report: int) -> Change:
        return self.settle_all([row], [report])[0]

    def _record(self, row: Row, report: int, read: Row | None = None) -> Written:
        return self.record_all([row], [report], None if read is None else [read])[0]

    def _release(self, row: Row, attempt: int, delay: float) -> Change:
        return self._on([row], lambda: run(self.claims.release([(self.ids[0], token_of(attempt))], delay)))[1][0]

    def _give_back(self, row: Row, untouched: bool) -> Change:
        """The publish failed; `untouched`: the clock is the one that the taker wrote."""
        own = _stamp_of(row.clock) if untouched else None
        due = msgspec.structs.replace(self._a_due, written=parse_time(own) if own else NOW - timedelta(days=1))
        return self._on([row], lambda: run(self.outbox.give_back([due])))[1][0]

    def _expedite(self, row: Row) -> Change:
        return self._on([row], lambda: run(self.outbox.expedite(Channel.EMAIL)))[1][0]

    def _move_clock(self, row: Row) -> Change:
        """What no statement of ours does: write the clock whatever has happened to the row."""
        text = f"UPDATE notifications SET next_at = {SqliteDialect().after('$2')} WHERE id = $1"
        return self._on([row], lambda: self.database.ask(text, [self.ids[0], REDRIVE]))[1][0]

    @property
    def _a_due(self) -> Due:
        return self.take(self.accepted(Status.ACCEPTED)).due

    def _on(self, rows: Sequence[Row], act: Callable[[], T]) -> tuple[T, list[Change]]:
        """What `act` answers on these rows, and what becomes of them."""
        ids = self.ids[: len(rows)]

        def whole() -> tuple[T, list[Change]]:
            for id, row in zip(ids, rows, strict=True):
                self._write(id, row)
            answer = act()
            return answer, [self._read(id, _stamp_of(row.clock)) for id, row in zip(ids, rows, strict=True)]

        return self.database.undone(whole)

    def _write(self, id: str, row: Row) -> None:
        token = token_of(row.token) if row.token else None
        settled = None if row.settled == NOTHING else to_text(self.reports.changes[row.settled])
        deliver_by = PAST if row.expired else FUTURE
        values = (row.status, row.attempt, row.used, row.driven, _stamp_of(row.clock), token, settled)
        self.database.ask(_WRITE, [id, *values, row.uncertain, row.possible_duplicate, deliver_by])

    def _read(self, id: str, clock: str | None) -> Change:
        (found,) = self.database.ask("SELECT * FROM notifications WHERE id = $1", [id])
        next_at, settled, attempt = found["next_at"], found["settled"], found["attempt"]
        row = Row(
            status=Status(found["status"]),
            attempt=attempt,
            used=found["attempts_used"],
            driven=found["drives"] > 0,
            clock=None if next_at is None else Clock.DUE if next_at <= (stamp(NOW) or "") else Clock.LATER,
            token=0 if found["token"] is None else _attempt_of(found["token"], attempt),
            settled=NOTHING if settled is None else self.reports.number(settled_of(settled)),
            uncertain=bool(found["uncertain"]),
            possible_duplicate=bool(found["possible_duplicate"]),
            expired=found["deliver_by"] == PAST,
        )
        return Change(row, next_at != clock)


def _stamp_of(clock: Clock | None) -> str | None:
    return None if clock is None else PAST if clock is Clock.DUE else FUTURE


def _attempt_of(token: str, newest: int) -> int:
    """The attempt whose claim it is. A new claim's token is random, and of the newest attempt."""
    return next((attempt for attempt in range(newest) if token_of(attempt) == token), newest)
