"""Who wants a socket passes one after the other: a burst of ten thousand must not stop the requests in between."""

import asyncio
from collections import deque
from collections.abc import Callable

PASSES_PER_SECOND = 1_000.0
MAX_WAITING = 20_000
_LONGEST_WAIT = 0.1


class Turnstile:
    """Lets `per_second` callers pass at most, and fewer when there is much else to do.

    Between two callers it waits for its own pause, and then for as long again as it was called late: so whatever else
    the event loop has to do gets every other moment. At most `waiting` callers wait.
    """

    def __init__(self, per_second: float = PASSES_PER_SECOND, waiting: int = MAX_WAITING) -> None:
        self._pause = 1.0 / per_second
        self._bound = waiting
        self._waiting: deque[Callable[[], None]] = deque()
        self._next_at = 0.0

    def knock(self, enter: Callable[[], None]) -> bool:
        """Have `enter` called when it is its turn, at once if nobody waits. False: too many wait already."""
        loop = asyncio.get_running_loop()
        if not self._waiting and loop.time() >= self._next_at:
            self._next_at = loop.time() + self._pause
            enter()
            return True
        if len(self._waiting) >= self._bound:
            return False
        self._waiting.append(enter)
        if len(self._waiting) == 1:
            loop.call_at(self._next_at, self._turn)
        return True

    def _turn(self) -> None:
        loop = asyncio.get_running_loop()
        late = min(max(0.0, loop.time() - self._next_at), _LONGEST_WAIT)
        try:
            self._waiting.popleft()()
        finally:
            self._next_at = loop.time() + self._pause + late
            if self._waiting:
                loop.call_at(self._next_at, self._turn)
