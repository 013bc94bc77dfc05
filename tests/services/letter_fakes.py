"""Dead letters in memory."""

from collections.abc import Sequence
from typing import Any

import msgspec

from api.gateway.actions import Replayed
from api.gateway.dead_letters import DeadLetter, DeadLetterFilter, Refusal
from api.security import Principal
from domain.errors import NotFound
from domain.ids import DEAD_LETTER, new_id
from domain.notification import Channel
from tests.services.service_fakes import NOON


class Letters:
    """Dead letters in memory, and their replays; it remembers what it was asked, and by whom."""

    def __init__(self) -> None:
        self.kept: dict[str, DeadLetter] = {}
        self.asked: list[tuple[Any, ...]] = []

    def add(self, **changes: Any) -> DeadLetter:
        """Park a delivery, or whatever `changes` make of it."""
        plain = DeadLetter(
            id=new_id(DEAD_LETTER),
            notification_id="ntf_1",
            channel=Channel.EMAIL,
            queue="email.queue",
            reason="No such mailbox.",
            attempts=1,
            payload={"id": "ntf_1", "attempt": 1},
            first_failed_at=NOON,
            dead_lettered_at=NOON,
            replayed_at=None,
        )
        letter = msgspec.structs.replace(plain, **changes)
        self.kept[letter.id] = letter
        return letter

    async def get(self, id: str) -> DeadLetter:
        if id not in self.kept:
            raise NotFound("dead letter", id)
        return self.kept[id]

    async def page(self, where: DeadLetterFilter, page: int, limit: int) -> tuple[list[DeadLetter], int]:
        self.asked.append((where, page, limit))
        found = [
            letter
            for letter in reversed(self.kept.values())
            if where.channel in (None, letter.channel)
            and where.replayed in (None, letter.replayed_at is not None)
            and where.notification_id in (None, letter.notification_id)
        ]
        return found[(page - 1) * limit : page * limit], len(found)

    async def replay(self, ids: Sequence[str], by: Principal) -> Replayed:
        """As `Replays.replay`."""
        self.asked.append((list(ids), by.name))
        done = Replayed()
        for id in ids:
            letter = self.kept.get(id)
            if letter is None:
                done.refused[id] = Refusal.NOT_FOUND
            elif letter.replayed_at is not None:
                done.refused[id] = Refusal.ALREADY_REPLAYED
            elif letter.notification_id is None:
                done.refused[id] = Refusal.NOT_A_DELIVERY
            else:
                self.kept[id] = msgspec.structs.replace(letter, replayed_at=NOON)
                done.replayed.append(id)
        return done

    async def replay_where(
        self, where: DeadLetterFilter, limit: int, by: Principal, rate: int | None = None
    ) -> Replayed:
        """As `Replays.replay_where`; the usual rate is 50."""
        self.asked.append((where, limit, rate, by.name))
        found, _ = await self.page(where, 1, len(self.kept) or 1)
        waiting = [letter.id for letter in reversed(found) if letter.replayed_at is None and letter.notification_id]
        done = await self.replay(waiting[:limit], by)
        done.seconds, done.more = len(done.replayed) / (rate or 50), len(waiting) > limit
        return done
