"""Erasing users: what the gateway knows of them besides their id goes when the User Service says that they are gone.

The User Service keeps a record of each erasure until it is told that it was worked off here, so none is forgotten,
whatever crashes. Unfinished notifications are cancelled; of past ones the contact points, the variables and the
content go. The status log holds only ids. Erasing twice is erasing once.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Protocol

from api.database import Database, among, listed
from api.gateway.rows import recipient_of, to_text
from api.gateway.suppressions import SqlSuppressions
from api.records import Erasure
from domain.changes import Changed, Kind
from domain.concurrency import Tasks
from domain.errors import Unavailable
from domain.events import StatusChanged
from domain.notification import Channel, Status
from domain.ports import Known, LogRow, StatusStore
from domain.recipient import Recipient

log = logging.getLogger(__name__)

ERASURES_AT_ONCE = 100
AT_ONCE = 500
POLL = 30.0
SECOND_LOOK = 30.0
"""Seconds after which a user's rows are looked at again: another gateway may have accepted one for them just then,
from what it remembered."""
PATIENCE = 5.0
"""Seconds for which whoever deletes a user waits for the gateway's part."""


class Users(Protocol):
    """What is asked of the User Service; each raises `UpstreamUnavailable`."""

    async def lookup(self, user_ids: Sequence[str]) -> Mapping[str, Known[Recipient]]:
        """Those that exist."""

    async def erasures(self, limit: int) -> Sequence[Erasure]:
        """Those that nobody has confirmed yet, the oldest first."""

    async def confirm_erasure(self, id: str) -> None:
        """It was worked off. May be called twice."""


class Eraser:
    """Works off erasures, one after the other. `announce` rings the bell after a commit."""

    def __init__(
        self,
        database: Database,
        store: StatusStore,
        suppressions: SqlSuppressions,
        users: Users,
        announce: Callable[[list[LogRow]], None],
        *,
        poll: float = POLL,
        second_look: float = SECOND_LOOK,
    ) -> None:
        self._db, self._store, self._suppressions, self._users = database, store, suppressions, users
        self._announce = announce
        self._poll, self._second_look = poll, second_look
        self._one_at_a_time = asyncio.Lock()
        self._nudged = asyncio.Event()
        self._tasks = Tasks()

    async def start(self) -> None:
        """Work off what there is, from now on."""
        _ = self._tasks.supervise("eraser", self._run)

    async def stop(self) -> None:
        """Stop; what is left is found by the next one. May be called twice."""
        await self._tasks.cancel()

    def heed(self, changed: Changed | None) -> None:
        """Look at once when somebody was erased, or may have been."""
        if changed is None or changed.kind is Kind.ERASURE:
            self._nudged.set()

    async def hasten(self) -> None:
        """Work off now what there is, for whoever waits; what takes longer, or cannot be done now, is done later."""
        self._nudged.set()
        with suppress(TimeoutError, Unavailable):
            async with asyncio.timeout(PATIENCE):
                await self.work_off()

    async def work_off(self) -> None:
        """Erase everybody whose erasure is not confirmed, and confirm it. Raises `Unavailable`."""
        async with self._one_at_a_time:
            for erasure in await self._users.erasures(ERASURES_AT_ONCE):
                if await self.erase(erasure.user_id):
                    await self._users.confirm_erasure(erasure.id)
                    _ = self._tasks.start("eraser: second look", self._look_again(erasure.user_id))

    async def erase(self, user_id: str) -> bool:
        """Erase what is here of a user; False while a delivery is under way that must end first."""
        await self._cancel(user_id)
        await self._blank_notifications(user_id)
        await self._blank_requests(user_id)
        return not await self._unfinished(user_id, 1)

    async def _run(self) -> None:
        while True:
            self._nudged.clear()
            try:
                await self.work_off()
            except Unavailable as error:
                log.warning("erasing waits: %s", error)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._poll):
                    await self._nudged.wait()

    async def _look_again(self, user_id: str) -> None:
        await asyncio.sleep(self._second_look)
        with suppress(Unavailable):
            if user_id not in await self._users.lookup([user_id]):
                await self.erase(user_id)

    async def _cancel(self, user_id: str) -> None:
        """What is under way stays; a worker that claims it later finds nobody to send it to."""
        after = ""
        while ids := await self._unfinished(user_id, AT_ONCE, after):
            now = datetime.now(UTC)
            changes = [
                StatusChanged(
                    notification_id=id, status=Status.CANCELLED, occurred_at=now, reason="The user was erased."
                )
                for id in ids
            ]
            self._announce((await self._store.record(changes)).rows)
            after = ids[-1]

    async def _unfinished(self, user_id: str, limit: int, after: str = "") -> list[str]:
        rows = await self._db.query(
            "SELECT id FROM notifications WHERE user_id = $1 AND id > $2 AND next_at IS NOT NULL ORDER BY id LIMIT $3",
            [user_id, after, limit],
        )
        return [row["id"] for row in rows]

    async def _blank_notifications(self, user_id: str) -> None:
        blank = to_text(Recipient(user_id=user_id))
        while rows := await self._db.query(
            "SELECT id, recipient FROM notifications"
            " WHERE user_id = $1 AND (recipient <> $2 OR variables IS NOT NULL) LIMIT $3",
            [user_id, blank, AT_ONCE],
        ):
            await self._forget_contact_points(rows)
            chosen = among(self._db.dialect, "id", "$2")
            await self._db.query(
                f"UPDATE notifications SET recipient = $1, variables = NULL WHERE {chosen}",
                [blank, listed(self._db.dialect, [row["id"] for row in rows])],
            )

    async def _forget_contact_points(self, rows: Sequence[Mapping[str, Any]]) -> None:
        recipients = [recipient_of(row["recipient"]) for row in rows]
        for channel in Channel:
            points = {point for recipient in recipients for point in recipient.contact_points(channel)}
            await self._suppressions.forget(channel, points)

    async def _blank_requests(self, user_id: str) -> None:
        """Requests that were this user's alone. What a batch shares belongs to nobody in particular, and others need
        it; what it says of this user alone stood with their notifications."""
        await self._db.query(
            "UPDATE requests SET content = NULL, variables = NULL, push = NULL, metadata = NULL, attachments = NULL"
            " WHERE id IN (SELECT request FROM notifications WHERE user_id = $1) AND NOT EXISTS"
            " (SELECT 1 FROM notifications AS other WHERE other.request = requests.id"
            "  AND (other.user_id IS NULL OR other.user_id <> $1))",
            [user_id],
        )
