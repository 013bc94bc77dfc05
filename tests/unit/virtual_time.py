"""An event loop whose clock jumps: a wait of seconds takes no time, and every run is the same."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec

P = ParamSpec("P")

FOREVER = 3600.0


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """When nothing is ready, the next timer is. Waiting for what cannot come raises instead of hanging."""

    def __init__(self) -> None:
        self._now = 0.0
        super().__init__(_Selector(self._advance))

    def time(self) -> float:
        """Seconds on the virtual clock."""
        return self._now

    def _advance(self, seconds: float) -> None:
        self._now += seconds


class _Selector(selectors.SelectSelector):
    def __init__(self, advance: Callable[[float], None]) -> None:
        super().__init__()
        self._advance = advance

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout is None:
            raise RuntimeError("every task waits for something that nobody will do")
        if not ready and timeout:
            self._advance(timeout)
        return ready


def in_virtual_time(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run an asynchronous test on a loop of its own with a virtual clock, for an hour of it at most."""

    @wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        loop = VirtualTimeLoop()
        try:
            loop.run_until_complete(asyncio.wait_for(test(*args, **kwargs), FOREVER))
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            loop.close()

    return run
