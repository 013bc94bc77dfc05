"""Devices that a push provider refused for good, on their way to the User Service.

Why a table: the worker reports a refusal with the outcome, and the outcome survives everything. So `record` writes
both in one transaction, and the User Service is told from here for as long as it takes: at least once, whoever was
away or died in between. It is told when the provider was asked, so a device that registered since stays valid.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from api.database import Database, Tx, parse_time
from api.gateway.dialect import as_set, dialect_of, stamp
from domain.concurrency import Tasks
from domain.errors import RequestError, Unavailable

log = logging.getLogger(__name__)

AT_ONCE = 100
POLL = 5.0

_COLUMNS = {"device_id": "text", "refused_at": "timestamptz"}


class SqlRefusals:
    """The refusals in the gateway database that the User Service was not told of yet."""

    def __init__(self, database: Database) -> None:
        self._db = database
        rows = dialect_of(database.dialect).recordset("$1", _COLUMNS)
        self._note = f"""
            INSERT INTO device_refusals (device_id, refused_at) SELECT device_id, refused_at FROM {rows} AS item
            WHERE true ON CONFLICT (device_id) DO UPDATE SET refused_at = excluded.refused_at
            WHERE excluded.refused_at > device_refusals.refused_at"""
        self._done = f"""
            DELETE FROM device_refusals WHERE EXISTS (SELECT 1 FROM {rows} AS item
            WHERE item.device_id = device_refusals.device_id AND item.refused_at >= device_refusals.refused_at)"""

    async def note(self, tx: Tx, refused: Mapping[str, datetime]) -> None:
        """Remember these, in somebody else's transaction; of one device the latest. May be called twice."""
        if refused:
            await tx.query(self._note, [_set_of(refused)])

    async def pending(self, limit: int) -> dict[str, datetime]:
        """Those that nobody worked off yet, the oldest first."""
        text = "SELECT device_id, refused_at FROM device_refusals ORDER BY refused_at LIMIT $1"
        return {row["device_id"]: parse_time(row["refused_at"]) for row in await self._db.query(text, [limit])}

    async def done(self, refused: Mapping[str, datetime]) -> None:
        """Forget these, but for those that were refused again since. May be called twice."""
        await self._db.query(self._done, [_set_of(refused)])


class Users(Protocol):
    """What is asked of the User Service."""

    async def retire_devices(self, ids: Sequence[str], refused_at: datetime) -> int:
        """Stop using these unless they registered since. May be called twice. Raises `UpstreamUnavailable`."""


class Retirer:
    """Works off the refusals, every `poll` seconds. Several gateways may do so: telling twice is telling once."""

    def __init__(self, refusals: SqlRefusals, users: Users, *, poll: float = POLL) -> None:
        self._refusals, self._users, self._poll = refusals, users, poll
        self._tasks = Tasks()

    async def start(self) -> None:
        """Work off what there is, from now on."""
        _ = self._tasks.supervise("retirer", self._run)

    async def stop(self) -> None:
        """Stop; what is left is found by the next one. May be called twice."""
        await self._tasks.cancel()

    async def work_off(self) -> None:
        """Tell the User Service of all. Raises `Unavailable`; what was told by then is done."""
        while pending := await self._refusals.pending(AT_ONCE):
            for device_id, refused_at in pending.items():
                await self._retire(device_id, refused_at)

    async def _retire(self, device_id: str, refused_at: datetime) -> None:
        try:
            await self._users.retire_devices([device_id], refused_at)
        except Unavailable:
            raise
        except RequestError as error:  # it will never be accepted, and must not hold up those behind it
            log.warning("device %s is not retired: %s", device_id, error.message)
        await self._refusals.done({device_id: refused_at})

    async def _run(self) -> None:
        while True:
            try:
                await self.work_off()
            except Unavailable as error:
                log.warning("retiring devices waits: %s", error)
            await asyncio.sleep(self._poll)


def _set_of(refused: Mapping[str, datetime]) -> str:
    """In one order, whoever writes: two that write the same rows must not wait for each other."""
    return as_set({"device_id": id_, "refused_at": stamp(at)} for id_, at in sorted(refused.items()))
