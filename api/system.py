"""A system: what runs in one process, started in order and stopped in the opposite one."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

import msgspec
from starlette.types import ASGIApp

from domain.errors import Unavailable

log = logging.getLogger(__name__)

Step = Callable[[], Awaitable[object]]


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is started and stopped. `stop` may be called when `start` failed or never ran."""

    name: str
    start: Step | None = None
    stop: Step | None = None


class System:
    """The parts of one process and the application that it serves."""

    def __init__(self, *, stop_seconds: float = 30.0) -> None:
        self._parts: list[Part] = []
        self._stop_seconds = stop_seconds
        self._running = False
        self.app: ASGIApp | None = None

    def add(self, name: str, *, start: Step | None = None, stop: Step | None = None) -> None:
        """Append a part: started after those before it, stopped before them."""
        self._parts.append(Part(name=name, start=start, stop=stop))

    async def start(self) -> None:
        """Start all parts in order; when one fails, stop those that were started and raise."""
        for index, part in enumerate(self._parts):
            try:
                if part.start is not None:
                    await part.start()
            except BaseException:
                await self._stop(self._parts[: index + 1])
                raise
        self._running = True

    async def check(self) -> None:
        """Raises `Unavailable` unless all parts run: a role is not ready before."""
        if not self._running:
            raise Unavailable("It is starting or stopping.")

    async def stop(self) -> None:
        """Stop all parts, the last one first. A part that hangs or fails does not keep the others from stopping."""
        self._running = False
        await self._stop(self._parts)

    async def _stop(self, parts: list[Part]) -> None:
        for part in reversed(parts):
            if part.stop is None:
                continue
            try:
                async with asyncio.timeout(self._stop_seconds):
                    await part.stop()
            except Exception:
                log.exception("stopping %s failed", part.name)
