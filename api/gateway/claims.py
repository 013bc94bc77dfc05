"""Claims: the mark that stops two workers delivering one attempt (rules R1 and R3). One statement a batch."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import msgspec

from api.database import Database, Tx, parse_time
from api.gateway.dialect import Dialect, as_set, dialect_of
from api.gateway.rows import (
    attachments_of,
    content_of,
    ids_of,
    maybe_time,
    pinned_of,
    push_of,
    recipient_of,
    to_text,
    variables_of,
)
from api.gateway.units import again
from domain.attachments import Attachment
from domain.events import DeliveryItem
from domain.ids import CLAIM, new_id
from domain.notification import Channel, Priority, Status
from domain.outgoing import PushOptions
from domain.ports import Claim, Settlement
from domain.template import Content

SHARED_CACHE = 512


class Shared(msgspec.Struct, frozen=True):
    """What all notifications of one request share. Never changes, so it is kept."""

    content: Content | None
    variables: dict[str, Any]
    push: PushOptions | None
    attachments: tuple[Attachment, ...] = ()


class SqlClaims:
    """`domain.ports.Claims` on the gateway database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = _Statements(dialect_of(database.dialect))
        self._shared: OrderedDict[str, Shared] = OrderedDict()

    async def claim(self, items: Sequence[DeliveryItem], lease: float) -> list[Claim]:
        wanted = [{"id": item.id, "attempt": item.attempt, "token": new_id(CLAIM)} for item in items]
        asked = [as_set(wanted), float(lease)]
        if self._sql.at_once:
            rows = await again(partial(self._database.query, self._sql.claim_with_shared, asked))
            shared = {row["request"]: self._remember(row["request"], row) for row in rows if row["shared"] is not None}
            return [_claim_of(row, shared[row["request"]]) for row in rows]
        return await again(partial(self._database.unit, partial(self._claim_in_steps, asked=asked)))

    async def _claim_in_steps(self, tx: Tx, asked: Sequence[Any]) -> list[Claim]:
        """The claims and what their requests share, or neither: a claim that nobody could use would cost an attempt."""
        rows = await tx.query(self._sql.claim, asked)
        shared = await self._shared_of(tx, {row["request"] for row in rows})
        return [_claim_of(row, shared[row["request"]]) for row in rows]

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        rows = [{"id": one.id, "token": one.token, "settled": to_text(one.changes)} for one in settlements]
        await self._database.query(self._sql.settle, [as_set(rows)])

    async def release(self, claims: Sequence[tuple[str, str]], delay: float = 0.0) -> None:
        rows = [{"id": id, "token": token} for id, token in claims]
        await self._database.query(self._sql.release, [as_set(rows), float(delay)])

    async def _shared_of(self, tx: Tx, requests: set[str]) -> Mapping[str, Shared]:
        unknown = [request for request in requests if request not in self._shared]
        found = {request: self._shared[request] for request in requests if request in self._shared}
        if unknown:
            for row in await tx.query(self._sql.shared, [as_set([{"id": id} for id in unknown])]):
                found[row["id"]] = self._remember(row["id"], row)
        return found

    def _remember(self, request: str, row: Mapping[str, Any]) -> Shared:
        known = self._shared.get(request)
        if known is not None:
            return known
        shared = Shared(
            content_of(row["content"]),
            variables_of(row["shared_variables"]),
            push_of(row["push"]),
            attachments_of(row["attachments"]),
        )
        self._shared[request] = shared
        while len(self._shared) > SHARED_CACHE:
            self._shared.popitem(last=False)
        return shared


def _claim_of(row: Mapping[str, Any], shared: Shared) -> Claim:
    own = variables_of(row["variables"])
    return Claim(
        id=row["id"],
        token=row["token"],
        attempt=row["attempt"],
        attempts_used=row["attempts_used"],
        claimed_at=parse_time(row["claimed_at"]),
        lease_until=parse_time(row["next_at"]),
        channel=Channel(row["channel"]),
        category=row["category"],
        priority=Priority.of_rank(row["priority"]),
        status=Status(row["status"]),
        recipient=recipient_of(row["recipient"]),
        template=pinned_of(row["template"]),
        content=shared.content,
        variables={**shared.variables, **own} if own else shared.variables,
        push=shared.push,
        deliver_by=maybe_time(row["deliver_by"]),
        uncertain=bool(row["uncertain"]),
        request_id=row["request_id"],
        correlation_id=row["correlation_id"],
        traceparent=row["traceparent"],
        refused_devices=ids_of(row["refused_devices"]),
        test=bool(row["test"]),
        attachments=shared.attachments,
    )


class _Statements:
    """The rows are locked in id order before they are compared: the plan stays an index look-up per id."""

    def __init__(self, sql: Dialect) -> None:
        held = f"""held AS {sql.materialized} (
                SELECT id, attempt, token, next_at, settled IS NULL AS unsettled FROM notifications
                WHERE id IN (SELECT id FROM item) ORDER BY id {sql.for_update})"""
        attempts = sql.recordset("$1", {"id": "text", "attempt": "int", "token": "text"})
        wanted = f"WITH item AS {sql.materialized} {attempts}, {held}"
        update = f"""
            UPDATE notifications SET attempt = notifications.attempt + 1, token = item.token, settled = NULL,
                next_at = {sql.after("$2")}, drives = 0,
                possible_duplicate = notifications.possible_duplicate OR notifications.uncertain
            FROM item JOIN held ON held.id = item.id
            WHERE notifications.id = item.id
                AND held.token IS NULL AND held.attempt = item.attempt AND held.next_at IS NOT NULL
            RETURNING notifications.id, notifications.token, notifications.attempt, attempts_used,
                notifications.next_at, channel, category, priority, status, recipient, template, variables, deliver_by,
                uncertain, refused_devices, test, request, request_id, correlation_id, traceparent,
                {sql.now} AS claimed_at"""
        self.claim = f"{wanted} {update}"
        self.at_once = sql.writable_cte
        # What a request shares may be large: it comes once, with the first of its notifications.
        self.claim_with_shared = f"""
            {wanted}, claimed AS ({update}),
            numbered AS (SELECT *, row_number() OVER (PARTITION BY request ORDER BY id) AS nth FROM claimed)
            SELECT numbered.*, requests.id AS shared, content, requests.variables AS shared_variables, push,
                attachments
            FROM numbered LEFT JOIN requests ON numbered.nth = 1 AND requests.id = numbered.request"""
        outcomes = sql.recordset("$1", {"id": "text", "token": "text", "settled": "text"})
        self.settle = f"""
            WITH item AS {sql.materialized} {outcomes}, {held}
            UPDATE notifications SET settled = item.settled FROM item JOIN held ON held.id = item.id
            WHERE notifications.id = item.id AND held.token = item.token AND held.unsettled
            RETURNING notifications.id"""
        tokens = sql.recordset("$1", {"id": "text", "token": "text"})
        self.release = f"""
            WITH item AS {sql.materialized} {tokens}, {held}
            UPDATE notifications SET token = NULL, drives = 0, next_at = {sql.after("$2")}
            FROM item JOIN held ON held.id = item.id
            WHERE notifications.id = item.id AND held.token = item.token AND held.unsettled
            RETURNING notifications.id"""
        ids = sql.recordset("$1", {"id": "text"})
        self.shared = f"""
            SELECT id, content, variables AS shared_variables, push, attachments FROM requests
            WHERE id IN (SELECT id FROM {ids} AS item)"""
