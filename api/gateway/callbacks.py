"""What providers, devices and recipients say of a notification after it was sent, taken into the status log, the
suppressions and the preferences. `docs/callbacks.md` is the table of what becomes of each.

A notification keeps each thing that is said of it once, the first time; suppressions follow from what is new, so that
what is said again after a suppression was lifted does not bring it back. The statuses, what is kept and the
suppressions are ONE unit of work. An unsubscribe may be the User Service's to keep, so it is done before: should the
unit fail then, whoever said it says it again.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import msgspec

from api.database import Database, Tx, among, listed
from api.gateway.bounces import Contact, SoftBounces
from api.gateway.dialect import as_set, dialect_of, stamp
from api.gateway.opt_outs import OptOuts, Wish
from api.gateway.rows import recipient_of
from api.gateway.statuslog import SqlStatusStore
from api.gateway.suppressions import BOUNCED_OFTEN, Block, SqlSuppressions
from api.gateway.units import again
from domain.callbacks import DEVICE, Callback, CallbackKind
from domain.events import StatusChanged
from domain.life import called_back, tell
from domain.notification import Channel, Status
from domain.ports import LogRow
from domain.text import anonymous, cleaned
from domain.tracing import UNTRACED, Attributes, Tracer

AT_ONCE = 200
"""Callbacks in one unit of work: the position counter is locked to its end, and others wait for it."""
FACTS = {CallbackKind.DELIVERED: Status.DELIVERED, CallbackKind.BOUNCED: Status.BOUNCED}
_SET = {
    "notification_id": "text",
    "kind": "text",
    "permanent": "boolean",
    "occurred_at": "timestamptz",
    "provider": "text",
    "code": "text",
    "reason": "text",
}


class Known(msgspec.Struct, frozen=True):
    """A notification that callbacks speak of, where it went, and what its logs and spans go by."""

    wish: Wish
    contacts: tuple[Contact, ...]
    correlation_id: str
    traceparent: str | None

    @property
    def contact(self) -> Contact | None:
        """The one contact point; None where there are several, of which nobody says which one is meant, or none."""
        return self.contacts[0] if len(self.contacts) == 1 else None


class SqlCallbacks:
    """`domain.callbacks.Callbacks` on the gateway database. `announce` rings the bell after a commit.

    Besides what the port says, `UpstreamUnavailable` is raised for an unsubscribe that the User Service must keep.
    """

    def __init__(
        self,
        database: Database,
        store: SqlStatusStore,
        suppressions: SqlSuppressions,
        opt_outs: OptOuts,
        announce: Callable[[list[LogRow]], None],
        tracer: Tracer = UNTRACED,
    ) -> None:
        self._db, self._store, self._suppressions, self._opt_outs = database, store, suppressions, opt_outs
        self._announce, self._tracer = announce, tracer
        self._bounces = SoftBounces(database.dialect)
        columns = ", ".join(_SET)
        self._keep = f"""
            INSERT INTO callbacks ({columns}) SELECT {columns}
            FROM {dialect_of(database.dialect).recordset("$1", _SET)} AS item WHERE true
            ON CONFLICT (notification_id, kind, permanent) DO NOTHING RETURNING notification_id, kind, permanent"""

    async def record(self, callbacks: Sequence[Callback]) -> None:
        for start in range(0, len(callbacks), AT_ONCE):
            part = [_fit(one) for one in callbacks[start : start + AT_ONCE]]
            known = await self._known({one.notification_id for one in part})
            part = [one for one in part if one.notification_id in known]
            if part:
                await self._opt_out(part, known)
                await self._write(part, known)

    async def unsubscribe(self, callback: Callback) -> str | None:
        """Somebody asks for it themselves, so it counts each time: the category, or None where there is no such
        notification. Raises as `record`."""
        known = await self._known([callback.notification_id])
        found = known.get(callback.notification_id)
        if found is None:
            return None
        await self._opt_outs.opt_out(found.wish)
        await self._write([_fit(callback)], known)
        return found.wish.category

    async def _known(self, ids: set[str] | Sequence[str]) -> Mapping[str, Known]:
        """Those notifications that exist and that an attempt was made for; of others nothing can be said."""
        chosen = among(self._db.dialect, "id", "$1")
        rows = await self._db.query(
            f"""SELECT id, channel, category, recipient, correlation_id, traceparent
            FROM notifications WHERE attempt > 0 AND {chosen}""",
            [listed(self._db.dialect, ids)],
        )
        return {row["id"]: self._known_of(row) for row in rows}

    def _known_of(self, row: Mapping[str, Any]) -> Known:
        channel, recipient = Channel(row["channel"]), recipient_of(row["recipient"])
        points = recipient.contact_points(channel)
        contacts = tuple(Contact(self._suppressions.key(channel, point), channel, point) for point in points)
        wish = Wish(recipient, channel, row["category"])
        return Known(wish, contacts, row["correlation_id"], row["traceparent"])

    async def _opt_out(self, callbacks: Sequence[Callback], known: Mapping[str, Known]) -> None:
        """What was said before is not done again: they may have changed their mind since."""
        asked = {one.notification_id for one in callbacks if one.kind is CallbackKind.UNSUBSCRIBED}
        if not asked:
            return
        chosen = among(self._db.dialect, "notification_id", "$2")
        rows = await self._db.query(
            f"SELECT notification_id FROM callbacks WHERE kind = $1 AND {chosen}",
            [CallbackKind.UNSUBSCRIBED.value, listed(self._db.dialect, asked)],
        )
        for id in sorted(asked - {row["notification_id"] for row in rows}):
            await self._opt_outs.opt_out(known[id].wish)

    async def _write(self, callbacks: Sequence[Callback], known: Mapping[str, Known]) -> None:
        tell(called_back(one, known[one.notification_id].correlation_id) for one in callbacks)
        with ExitStack() as spans:
            self._answer_traces(callbacks, known, spans)
            await self._keep_and_announce(callbacks, known)

    def _answer_traces(self, callbacks: Sequence[Callback], known: Mapping[str, Known], spans: ExitStack) -> None:
        """What brought them is linked to the traces that they answer, and each is a span there."""
        here = self._tracer.current()
        here.link(known[one.notification_id].traceparent for one in callbacks)
        for one in callbacks:
            trace = known[one.notification_id].traceparent
            if trace is not None:
                told: Attributes = {
                    "heliograph.notification.id": one.notification_id,
                    "heliograph.callback": one.kind.value,
                    "heliograph.provider": one.provider,
                    "heliograph.code": one.code,
                }
                links = [here.traceparent]
                spans.enter_context(self._tracer.span("callback", attributes=told, parent=trace, links=links))

    async def _keep_and_announce(self, callbacks: Sequence[Callback], known: Mapping[str, Known]) -> None:
        rows = await again(partial(self._db.unit, partial(self._write_within, callbacks=callbacks, known=known)))
        self._suppressions.heed()
        self._announce(rows)

    async def _write_within(self, tx: Tx, callbacks: Sequence[Callback], known: Mapping[str, Known]) -> list[LogRow]:
        """The locks in one order: what is kept, the contact points, and last, in `record_within`, rows and counter."""
        new = await self._keep_new(tx, callbacks)
        bounced = await self._bounces.count(tx, _soft(new, known))
        blocks = [*_blocks(new, known), *(_block(contact, BOUNCED_OFTEN) for contact in bounced)]
        await self._suppressions.add_within(tx, blocks)
        await self._bounces.forgive(tx, _deliveries(new, known))
        changes = [_change(one) for one in callbacks if one.kind in FACTS and _is_fact(one, known)]
        return (await self._store.record_within(tx, changes)).rows if changes else []

    async def _keep_new(self, tx: Tx, callbacks: Sequence[Callback]) -> list[Callback]:
        first = {_identity(one): one for one in reversed(callbacks)}
        rows = await tx.query(self._keep, [as_set(_columns(first[key]) for key in sorted(first))])
        return [first[row["notification_id"], row["kind"], bool(row["permanent"])] for row in rows]


def _fit(callback: Callback) -> Callback:
    """Whoever translated it may have left in what must not be shown, or cannot be stored."""
    return msgspec.structs.replace(
        callback,
        code=anonymous(callback.code, 60),
        reason=anonymous(callback.reason),
        provider_message_id=(cleaned(callback.provider_message_id) or "")[:200] or None,
    )


def _identity(callback: Callback) -> tuple[str, str, bool]:
    return (callback.notification_id, callback.kind.value, callback.permanent)


def _columns(callback: Callback) -> dict[str, Any]:
    id, kind, permanent = _identity(callback)
    return {
        "notification_id": id,
        "kind": kind,
        "permanent": permanent,
        "occurred_at": stamp(callback.occurred_at),
        "provider": callback.provider,
        "code": callback.code,
        "reason": callback.reason,
    }


def _is_fact(callback: Callback, known: Mapping[str, Known]) -> bool:
    """That one of several devices did not get it says nothing of the others."""
    return callback.kind is CallbackKind.DELIVERED or len(known[callback.notification_id].contacts) <= 1


def _change(callback: Callback) -> StatusChanged:
    bounced = callback.kind is CallbackKind.BOUNCED
    detail: dict[str, Any] = {"permanent": callback.permanent} if bounced else {}
    if callback.code is not None:
        detail["code"] = callback.code
    return StatusChanged(
        notification_id=callback.notification_id,
        status=FACTS[callback.kind],
        occurred_at=callback.occurred_at,
        reason=callback.reason or ("It came back." if bounced else None),
        provider=None if callback.provider == DEVICE else callback.provider,
        provider_message_id=callback.provider_message_id,
        detail=detail,
    )


def _blocks(new: Sequence[Callback], known: Mapping[str, Known]) -> list[Block]:
    blocks = []
    for one in new:
        contact = known[one.notification_id].contact
        if contact is None:
            continue
        if one.kind is CallbackKind.COMPLAINED:
            blocks.append(_block(contact, "complaint"))
        elif one.kind is CallbackKind.BOUNCED and one.permanent:
            blocks.append(_block(contact, f"hard bounce ({one.code})" if one.code else "hard bounce"))
    return blocks


def _block(contact: Contact, reason: str) -> Block:
    return Block(channel=contact.channel, contact_point=contact.point, reason=reason)


def _soft(new: Sequence[Callback], known: Mapping[str, Known]) -> list[tuple[Contact, Any]]:
    found = ((known[one.notification_id].contact, one) for one in new if one.kind is CallbackKind.BOUNCED)
    return [(contact, one.occurred_at) for contact, one in found if contact is not None and not one.permanent]


def _deliveries(new: Sequence[Callback], known: Mapping[str, Known]) -> dict[Contact, Any]:
    """The last delivery to each contact point."""
    found: dict[Contact, Any] = {}
    for one in sorted(new, key=lambda one: one.occurred_at):
        contact = known[one.notification_id].contact
        if one.kind is CallbackKind.DELIVERED and contact is not None:
            found[contact] = one.occurred_at
    return found
