"""Work that takes the processor for longer than an event loop should wait: in one thread, one piece after the other."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from domain.errors import RateLimited

T = TypeVar("T")


class OffLoop:
    """One thread of its own, so that what the work uses need not be made for several threads.

    Up to `waiting` pieces may be asked for at once; each answers within `deadline` seconds or is given up.
    """

    def __init__(self, name: str, *, waiting: int = 16, deadline: float = 5.0) -> None:
        self._waiting, self._deadline = waiting, deadline
        self._asked = 0
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)

    async def run(self, work: Callable[[], T]) -> T:
        """What `work` answers or raises. Raises `RateLimited` when too much is waiting."""
        busy = RateLimited("Too many templates are being worked on at once.", retry_after_seconds=1)
        if self._asked >= self._waiting:
            raise busy
        self._asked += 1
        try:
            async with asyncio.timeout(self._deadline):
                return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except TimeoutError as error:
            raise busy from error
        finally:
            self._asked -= 1

    def close(self) -> None:
        """Give up what waits. May be called twice."""
        self._thread.shutdown(wait=False, cancel_futures=True)
