"""Telling others that something has changed, and hearing of it: how memories of it are forgotten in every process."""

import logging
from collections.abc import Awaitable, Callable, Sequence

from domain.changes import Changed, Kind, decode_changed, encode_changed
from domain.channels import CHANGES_CHANNEL
from domain.concurrency import Tasks
from domain.ports import Bell, Cache

log = logging.getLogger(__name__)

Tell = Callable[[Kind, Sequence[str]], Awaitable[None]]
"""What the owner of things calls after each commit that changed some: their kind, and their names."""
Heed = Callable[[Changed | None], None]
"""Is told what has changed; None: anything may have. Must not raise and must not block."""


def cache_key(kind: Kind, name: str) -> str:
    """Where the shared cache keeps a thing."""
    return f"{kind}:{name}"


async def tell_nobody(kind: Kind, names: Sequence[str]) -> None:
    """A `Tell` for an owner whose things nobody remembers."""


class Changes:
    """Tells and hears. `tell` is a `Tell`: the shared cache forgets first, then every process is told."""

    def __init__(self, bell: Bell, cache: Cache | None = None) -> None:
        self._bell, self._cache = bell, cache
        self._heeding: list[Heed] = []
        self._tasks = Tasks()

    async def tell(self, kind: Kind, names: Sequence[str]) -> None:
        """These have changed. Never raises; what nobody hears is found out by its age."""
        if not names:
            return
        if self._cache is not None:
            await self._cache.drop([cache_key(kind, name) for name in names])
        self._bell.ring(CHANGES_CHANNEL, encode_changed(kind, names))

    def heed(self, callback: Heed) -> None:
        """Have `callback` told of every change from `start` on."""
        self._heeding.append(callback)

    async def start(self) -> None:
        """Begin to hear."""
        _ = self._tasks.supervise("changes: ear", self._listen)

    async def stop(self) -> None:
        """Stop hearing. May be called twice."""
        await self._tasks.cancel()

    async def _listen(self) -> None:
        async with self._bell.listen(CHANGES_CHANNEL) as rings:
            async for payload in rings:
                changed = decode_changed(payload)
                for callback in self._heeding:
                    callback(changed)
