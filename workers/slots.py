"""A bound on how much is in hand at once."""

import asyncio


class Slots:
    """A semaphore that is taken several at a time. Who takes more than the whole waits for all to be free."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._waiters: list[asyncio.Future[None]] = []
        self.used = 0

    async def take(self, count: int) -> None:
        """Wait until so many are free, and have them."""
        while self.used and self.used + count > self._size:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter
        self.used += count

    def give_back(self, count: int) -> None:
        """Let others have them."""
        self.used -= count
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
