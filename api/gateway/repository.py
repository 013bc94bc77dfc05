"""Accepting: one order, or many that arrive together, become rows in ONE transaction (group commit).

Orders that are handed in while a commit is under way wait for it and then go together; each caller gets its own
answer after the commit. Within a group the orders are sorted by (client, request_id), so two groups never wait for
each other in a circle; should the engine refuse a group all the same, its orders are tried one by one, so that a bad
one fails alone.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from api.database import Database, Tx, parse_time
from api.gateway.dialect import Dialect, as_set, dialect_of, stamp
from api.gateway.logwriter import LogWriter, placed
from api.gateway.queries import Queries
from api.gateway.rows import to_text
from api.gateway.units import again
from domain.concurrency import Batcher
from domain.errors import Conflict, DatabaseUnavailable, Unavailable
from domain.life import accepted, tell
from domain.notification import Status
from domain.ports import LogRow
from domain.views import RECEIPT_SIZE, Draft, Order, Receipt, receipt_of

GROUP_LIMIT = 200
GROUPS_IN_FLIGHT = 2


class SqlRequests:
    """`domain.send.Requests` on the gateway database. `announce` is told after each commit."""

    def __init__(self, database: Database, queries: Queries, announce: Callable[[list[LogRow]], None]) -> None:
        self._database = database
        self._queries = queries
        self._announce = announce
        self._sql = _Statements(dialect_of(database.dialect))
        self._log = LogWriter(dialect_of(database.dialect))
        in_flight = GROUPS_IN_FLIGHT if database.dialect == "postgres" else 1
        self._group: Batcher[Order, Receipt] = Batcher(
            self._accept_group, limit=GROUP_LIMIT, concurrency=in_flight, name="accept", apart=True
        )

    async def accept(self, order: Order) -> Receipt:
        return await self._group.submit(order)

    async def find(self, client: str, request_id: str, fingerprint: str) -> Receipt | None:
        rows = await self._database.query(self._sql.find, [as_set([{"client": client, "request_id": request_id}])])
        return await self._duplicate(rows[0], fingerprint) if rows else None

    async def drain(self) -> None:
        """Wait until everything that was handed in is answered."""
        await self._group.drain()

    async def _accept_group(self, orders: Sequence[Order]) -> Sequence[Receipt | Exception]:
        ordered = sorted(orders, key=lambda order: (order.client, order.request_id))
        try:
            answers = await self._commit(ordered)
        except Unavailable:
            raise
        except Exception:
            if len(orders) == 1:
                raise
            answers = {order.id: await self._alone(order) for order in ordered}
        return [answers[order.id] for order in orders]

    async def _alone(self, order: Order) -> Receipt | Exception:
        try:
            return (await self._commit([order]))[order.id]
        except Exception as error:
            return error

    async def _commit(self, orders: Sequence[Order]) -> dict[str, Receipt | Exception]:
        """One transaction for all; answers by order id."""
        if self._sql.at_once:
            stored, entries = await self._store_at_once(orders)
        else:
            stored, entries = await again(partial(self._database.unit, partial(self._store_in_steps, orders=orders)))
        # Before anybody hears of it: what comes of an order stands below it in the log.
        tell(map(accepted, _accepted(orders, stored)))
        self._announce(entries)
        answers: dict[str, Receipt | Exception] = {}
        for order in orders:
            try:
                answers[order.id] = await self._answer(order, stored)
            except (Conflict, DatabaseUnavailable) as error:
                answers[order.id] = error
        return answers

    async def _answer(self, order: Order, stored: "_Stored") -> Receipt:
        existing = stored.get((order.client, order.request_id))
        if existing is not None and existing["id"] == order.id:
            return receipt_of(order, parse_time(existing["created_at"]))
        earlier = await self._duplicate(existing, order.fingerprint) if existing is not None else None
        if earlier is None:  # retention took it between two of our looks
            raise DatabaseUnavailable(f"The request {order.request_id!r} is being removed; send it again.")
        return earlier

    async def _store_at_once(self, orders: Sequence[Order]) -> tuple["_Stored", list[LogRow]]:
        """One statement is one transaction: the log's counter, which is everybody's, is never held across a trip."""
        requests = as_set(_request_columns(order) for order in orders)
        inserted = await again(partial(self._database.query, self._sql.accept, [requests, _columns(orders)]))
        stored = await self._with_existing(self._database, orders, inserted)
        accepted = _accepted(orders, stored)
        if not accepted:
            return stored, []
        entries = _entries(accepted, parse_time(inserted[0]["created_at"]))
        return stored, placed(entries, inserted[0]["head"] - len(entries))

    async def _store_in_steps(self, tx: Tx, orders: Sequence[Order]) -> tuple["_Stored", list[LogRow]]:
        """The same for an engine whose common table expressions cannot write."""
        requests = as_set(_request_columns(order) for order in orders)
        inserted = await tx.query(self._sql.insert_requests, [requests])
        stored = await self._with_existing(tx, orders, inserted)
        accepted = _accepted(orders, stored)
        if not accepted:
            return stored, []
        now = inserted[0]["created_at"]
        await tx.query(self._sql.insert_notifications, [_columns(accepted), now])
        return stored, await self._log.append(tx, _entries(accepted, parse_time(now)))

    async def _with_existing(
        self, source: Database | Tx, orders: Sequence[Order], inserted: Sequence[Mapping[str, Any]]
    ) -> "_Stored":
        """The row of each request by its key: those that were inserted, and those that were there before."""
        stored = {(row["client"], row["request_id"]): row for row in inserted}
        missing = [order for order in orders if (order.client, order.request_id) not in stored]
        if missing:
            keys = [{"client": order.client, "request_id": order.request_id} for order in missing]
            for row in await source.query(self._sql.find, [as_set(keys)]):
                stored[row["client"], row["request_id"]] = row
        return stored

    async def _duplicate(self, row: Mapping[str, Any], fingerprint: str) -> Receipt | None:
        """None: it was removed since. Raises `Conflict`."""
        request_id = row["request_id"]
        if row["fingerprint"] != fingerprint:
            raise Conflict(f"request_id {request_id!r} was used before with another input.", request_id)
        request = await self._queries.request_by_id(row["id"])
        if request is None:
            return None
        first = await self._queries.notifications_of_request(row["id"], None, 1, RECEIPT_SIZE)
        accepted = request.total - request.counts.get(Status.SKIPPED, 0)
        return Receipt(request=request, notifications=first.items, duplicate=True, accepted=accepted)


_Stored = dict[tuple[str, str], Mapping[str, Any]]
"""Rows of requests by (client, request_id)."""


def _pairs(orders: Sequence[Order]) -> Iterator[tuple[Order, Draft]]:
    return ((order, draft) for order in orders for draft in order.drafts)


def _accepted(orders: Sequence[Order], stored: _Stored) -> list[Order]:
    """Those of the orders that are new, and not the twin of one that is."""
    found = {row["id"] for row in stored.values()}
    return [order for order in orders if order.id in found]


def _request_columns(order: Order) -> dict[str, Any]:
    return {
        "id": order.id,
        "client": order.client,
        "request_id": order.request_id,
        "fingerprint": order.fingerprint,
        "correlation_id": order.correlation_id,
        "traceparent": order.traceparent,
        "category": order.category,
        "priority": order.priority.rank,
        "total": len(order.drafts),
        "content": to_text(order.content),
        "variables": to_text(order.variables or None),
        "push": to_text(order.push),
        "attachments": to_text(order.attachments or None),
        "metadata": to_text(order.metadata),
        "send_at": stamp(order.send_at),
        "deliver_by": stamp(order.deliver_by),
    }


def _columns(orders: Sequence[Order]) -> str:
    """The notifications of all orders as one set."""
    return as_set(_notification(order, draft, ordinal) for ordinal, (order, draft) in enumerate(_pairs(orders)))


def _notification(order: Order, draft: Draft, ordinal: int) -> dict[str, Any]:
    return {
        "id": draft.id,
        "request": order.id,
        "request_id": order.request_id,
        "client": order.client,
        "user_id": draft.recipient.user_id,
        "correlation_id": order.correlation_id,
        "traceparent": order.traceparent,
        "channel": draft.channel,
        "category": order.category,
        "priority": order.priority.rank,
        "status": draft.status,
        "reason": draft.reason,
        "sequence": 1,
        "recipient": to_text(draft.recipient),
        "template": to_text(draft.template),
        "variables": to_text(draft.variables or None),
        "test": order.test,
        "send_at": stamp(order.send_at),
        "deliver_by": stamp(order.deliver_by),
        "due_at": stamp(draft.due_at),
        "detail": to_text(draft.detail or None),
        "ordinal": ordinal,
    }


def _entries(orders: Sequence[Order], now: datetime) -> list[LogRow]:
    """The first log entry of each notification, counted from 1."""
    return [_entry(order, draft, place, now) for place, (order, draft) in enumerate(_pairs(orders), 1)]


def _entry(order: Order, draft: Draft, position: int, now: datetime) -> LogRow:
    return LogRow(
        position=position,
        sequence=1,
        notification_id=draft.id,
        request_id=order.request_id,
        request=order.id,
        client=order.client,
        user_id=draft.recipient.user_id,
        channel=draft.channel,
        category=order.category,
        status=draft.status,
        previous_status=None,
        reason=draft.reason,
        attempt=None,
        provider=None,
        detail=draft.detail or None,
        occurred_at=now,
        recorded_at=now,
        correlation_id=order.correlation_id,
    )


_REQUEST_COLUMNS = {
    "id": "text",
    "client": "text",
    "request_id": "text",
    "fingerprint": "text",
    "correlation_id": "text",
    "traceparent": "text",
    "category": "text",
    "priority": "smallint",
    "total": "int",
    "content": "text",
    "variables": "text",
    "push": "text",
    "attachments": "text",
    "metadata": "text",
    "send_at": "timestamptz",
    "deliver_by": "timestamptz",
}
_NOTIFICATION_COLUMNS = {
    "id": "text",
    "request": "text",
    "request_id": "text",
    "client": "text",
    "user_id": "text",
    "correlation_id": "text",
    "traceparent": "text",
    "channel": "text",
    "category": "text",
    "priority": "smallint",
    "status": "text",
    "reason": "text",
    "sequence": "int",
    "recipient": "text",
    "template": "text",
    "variables": "text",
    "test": "boolean",
    "send_at": "timestamptz",
    "deliver_by": "timestamptz",
    "due_at": "timestamptz",
    "detail": "text",
    "ordinal": "int",
}
_ON_THE_WAY = ("due_at", "detail", "ordinal")
"""What becomes the clock, what goes into the log, and what only keeps the order."""


class _Statements:
    """Each takes one set."""

    def __init__(self, sql: Dialect) -> None:
        requests = ", ".join(_REQUEST_COLUMNS)
        self.insert_requests = f"""
            INSERT INTO requests ({requests}, created_at) SELECT {requests}, {sql.now}
            FROM {sql.recordset("$1", _REQUEST_COLUMNS)} AS item WHERE true
            ON CONFLICT (client, request_id) DO NOTHING
            RETURNING id, client, request_id, fingerprint, created_at"""
        keys = sql.recordset("$1", {"client": "text", "request_id": "text"})
        self.find = f"""
            SELECT requests.id, requests.client, requests.request_id, fingerprint, created_at
            FROM requests JOIN {keys} AS item
                ON requests.client = item.client AND requests.request_id = item.request_id"""
        own = [name for name in _NOTIFICATION_COLUMNS if name not in _ON_THE_WAY]
        into = f"INSERT INTO notifications ({', '.join(own)}, next_at, created_at, updated_at)"
        columns = ", ".join(f"item.{name}" for name in own)
        due = "CASE item.status WHEN 'SKIPPED' THEN NULL WHEN 'SCHEDULED' THEN item.due_at ELSE {now} END"
        drafts = sql.recordset("$1", _NOTIFICATION_COLUMNS)
        self.insert_notifications = f"{into} SELECT {columns}, {due.format(now='$2')}, $2, $2 FROM {drafts} AS item"
        logged = (
            "sequence, request, request_id, client, user_id, channel, category, status, reason, detail, correlation_id"
        )
        self.at_once = sql.writable_cte
        self.accept = f"""
            WITH new AS ({self.insert_requests}),
            item AS {sql.materialized} (
                SELECT draft.*, new.created_at AS now, row_number() OVER (ORDER BY draft.ordinal) AS place
                FROM {sql.recordset("$2", _NOTIFICATION_COLUMNS)} AS draft JOIN new ON new.id = draft.request),
            stored AS ({into} SELECT {columns}, {due.format(now="item.now")}, item.now, item.now FROM item),
            head AS (
                UPDATE status_log_head SET position = position + (SELECT count(*) FROM item)
                WHERE id = 1 RETURNING position),
            logged AS (
                INSERT INTO status_log (position, notification_id, occurred_at, recorded_at, {logged})
                SELECT head.position - (SELECT count(*) FROM item) + item.place, item.id, item.now, item.now, {logged}
                FROM item CROSS JOIN head)
            SELECT new.*, head.position AS head FROM new CROSS JOIN head"""
