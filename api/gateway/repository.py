"""Accepting: one order, or many that arrive together, become rows in ONE transaction (group commit).

Orders that are handed in while a commit is under way wait for it and then go together; each caller gets its own
answer after the commit. Within a group the orders are sorted by (client, request_id), so two groups never wait for
each other in a circle; should the engine refuse a group all the same, its orders are tried one by one, so that a bad
one fails alone.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from api.database import Database, Tx, parse_time
from api.gateway.dialect import Dialect, as_set, dialect_of, stamp
from api.gateway.logwriter import LogWriter
from api.gateway.queries import Queries
from api.gateway.rows import to_text
from api.gateway.units import again
from domain.concurrency import Batcher
from domain.errors import Conflict, Unavailable
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
            self._accept_group, limit=GROUP_LIMIT, concurrency=in_flight, name="accept"
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
        stored, entries = await again(self._database, lambda tx: self._store(tx, orders))
        self._announce(entries)
        answers: dict[str, Receipt | Exception] = {}
        for order in orders:
            existing = stored[order.client, order.request_id]
            if existing["id"] == order.id:
                answers[order.id] = receipt_of(order, existing["at"])
                continue
            try:
                answers[order.id] = await self._duplicate(existing, order.fingerprint)
            except Conflict as conflict:
                answers[order.id] = conflict
        return answers

    async def _store(
        self, tx: Tx, orders: Sequence[Order]
    ) -> tuple[dict[tuple[str, str], dict[str, Any]], list[LogRow]]:
        """Insert what is new. The row of each request, new or not, by its key; and what was added to the log."""
        inserted = await tx.query(self._sql.insert_requests, [as_set(_request_columns(order) for order in orders)])
        rows = {(row["client"], row["request_id"]): _with_time(row) for row in inserted}
        missing = [order for order in orders if (order.client, order.request_id) not in rows]
        if missing:
            keys = [{"client": order.client, "request_id": order.request_id} for order in missing]
            for row in await tx.query(self._sql.find, [as_set(keys)]):
                rows[row["client"], row["request_id"]] = _with_time(row)
        accepted = [order for order in orders if rows[order.client, order.request_id]["id"] == order.id]
        if not accepted:
            return rows, []
        return rows, await self._store_notifications(
            tx, accepted, rows[accepted[0].client, accepted[0].request_id]["at"]
        )

    async def _store_notifications(self, tx: Tx, orders: Sequence[Order], now: datetime) -> list[LogRow]:
        pairs = [(order, draft) for order in orders for draft in order.drafts]
        written = stamp(now)
        columns = as_set(_columns(order, draft, written) for order, draft in pairs)
        await tx.query(self._sql.insert_notifications, [columns])
        return await self._log.append(tx, lambda first: _entries(pairs, first, now), len(pairs))

    async def _duplicate(self, row: Mapping[str, Any], fingerprint: str) -> Receipt:
        request_id = row["request_id"]
        if row["fingerprint"] != fingerprint:
            raise Conflict(f"request_id {request_id!r} was used before with another input.", request_id)
        request = await self._queries.request_by_id(row["id"])
        assert request is not None, "the row was just read; requests are removed with their notifications only"
        first = await self._queries.notifications_of_request(row["id"], None, 1, RECEIPT_SIZE)
        accepted = request.total - request.counts.get(Status.SKIPPED, 0)
        return Receipt(request=request, notifications=first.items, duplicate=True, accepted=accepted)


def _with_time(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, "at": parse_time(row["created_at"])}


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
        "metadata": to_text(order.metadata),
        "send_at": stamp(order.send_at),
        "deliver_by": stamp(order.deliver_by),
    }


def _columns(order: Order, draft: Draft, now: str | None) -> dict[str, Any]:
    next_at = {Status.SKIPPED: None, Status.SCHEDULED: stamp(order.send_at)}.get(draft.status, now)
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
        "next_at": next_at,
        "recipient": to_text(draft.recipient),
        "template": to_text(draft.template),
        "variables": to_text(draft.variables or None),
        "send_at": stamp(order.send_at),
        "deliver_by": stamp(order.deliver_by),
        "created_at": now,
        "updated_at": now,
    }


def _entries(pairs: Sequence[tuple[Order, Draft]], first: int, now: datetime) -> list[LogRow]:
    """The first log entry of each notification, from position `first` on."""
    return [_entry(order, draft, first + offset, now) for offset, (order, draft) in enumerate(pairs)]


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
        detail=_creation_detail(draft),
        occurred_at=now,
        recorded_at=now,
        correlation_id=order.correlation_id,
    )


def _creation_detail(draft: Draft) -> dict[str, Any] | None:
    """Which template version and locale was chosen, and which locales were tried."""
    return None if draft.template is None else {"template": msgspec.to_builtins(draft.template)}


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
    "next_at": "timestamptz",
    "recipient": "text",
    "template": "text",
    "variables": "text",
    "send_at": "timestamptz",
    "deliver_by": "timestamptz",
    "created_at": "timestamptz",
    "updated_at": "timestamptz",
}


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
        notifications = ", ".join(_NOTIFICATION_COLUMNS)
        self.insert_notifications = f"""
            INSERT INTO notifications ({notifications}) SELECT {notifications}
            FROM {sql.recordset("$1", _NOTIFICATION_COLUMNS)} AS item"""
