"""Units of work that are run again when two of them stood in each other's way."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from api.database import Collision
from domain.concurrency import backoff

T = TypeVar("T")

MAX_COLLISIONS = 5


async def again(work: Callable[[], Awaitable[T]]) -> T:
    """Run a unit of work (or one statement), and again from the start after a deadlock or a serialization failure.

    Writers lock in one order (rows by id, the counter last), so this is for what a plan or a stranger may cause.
    """
    async for attempt in backoff(first=0.01, limit=0.2):
        try:
            return await work()
        except Collision:
            if attempt == MAX_COLLISIONS:
                raise
    raise AssertionError("unreachable: backoff never ends")
