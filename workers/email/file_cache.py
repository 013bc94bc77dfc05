"""Files that were fetched a moment ago, so that a batch of a thousand mails fetches its attachment once."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable

import msgspec

from domain.concurrency import Tasks
from domain.notification import Outcome
from workers.email.fetching import FetchError

KEPT_SECONDS = 60.0
REFUSED_SECONDS = 5.0
KEPT_BYTES = 96 * 1024 * 1024
KEPT_FILES = 1_000
_A_FAILURE = 1_000  # what it counts for, in bytes


class Body(msgspec.Struct, frozen=True):
    """What a URL led to: its bytes, the same in base64 (see `domain.outgoing.File`), and the type that was served."""

    content: bytes
    lines: tuple[bytes, ...]
    content_type: str

    @property
    def weight(self) -> int:
        """Bytes of memory."""
        return len(self.content) + sum(map(len, self.lines))


class _Entry(msgspec.Struct, frozen=True):
    found: Body | FetchError
    until: float

    @property
    def weight(self) -> int:
        return self.found.weight if isinstance(self.found, Body) else _A_FAILURE


class FileCache:
    """Remembers what URLs led to: files for a minute, refusals for good for some seconds, other failures not at all.

    It keeps so many bytes and files, the newest; `clock` is monotonic, in seconds.
    """

    def __init__(self, *, max_bytes: int = KEPT_BYTES, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_bytes, self._clock = max_bytes, clock
        self._kept: OrderedDict[str, _Entry] = OrderedDict()
        self._bytes = 0
        self._under_way: dict[str, asyncio.Task[Body | FetchError]] = {}
        self._tasks = Tasks()

    async def get(self, url: str, fetch: Callable[[], Awaitable[Body]]) -> Body:
        """What `url` leads to: as it is remembered, or as `fetch` has it. Raises `FetchError`.

        Those who ask while it is fetched wait for that one fetch, which no one of them can cancel.
        """
        self._forget_old()
        if (kept := self._kept.get(url)) is not None:
            return _had(kept.found)
        task = self._under_way.get(url)
        if task is None:
            task = self._under_way[url] = self._tasks.start("attachment", self._fetched(url, fetch))
        return _had(await asyncio.shield(task))

    async def close(self) -> None:
        """Give up what is under way. May be called twice."""
        await self._tasks.cancel()

    async def _fetched(self, url: str, fetch: Callable[[], Awaitable[Body]]) -> Body | FetchError:
        try:
            found: Body | FetchError = await fetch()
        except FetchError as error:
            found = error
        finally:
            del self._under_way[url]
        if isinstance(found, Body) or found.outcome is Outcome.PERMANENT:
            keep = KEPT_SECONDS if isinstance(found, Body) else REFUSED_SECONDS
            self._keep(url, _Entry(found, self._clock() + keep))
        return found

    def _keep(self, url: str, entry: _Entry) -> None:
        if entry.weight > self._max_bytes:
            return
        self._kept[url] = entry
        self._bytes += entry.weight
        while self._bytes > self._max_bytes or len(self._kept) > KEPT_FILES:
            self._drop(next(iter(self._kept)))

    def _forget_old(self) -> None:
        now = self._clock()
        for url in [url for url, entry in self._kept.items() if entry.until <= now]:
            self._drop(url)

    def _drop(self, url: str) -> None:
        self._bytes -= self._kept.pop(url).weight


def _had(found: Body | FetchError) -> Body:
    """The file; a failure is raised anew for each who asked."""
    if isinstance(found, FetchError):
        raise FetchError(found.outcome, found.code, found.what, found.retry_after)
    return found
