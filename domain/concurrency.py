"""How long-lived tasks and batches are run: named, owned, supervised, bounded, drained.

Nothing here is specific to notifications; it stands in the innermost package because every role needs it.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextvars import Context, copy_context
from random import uniform
from typing import Any, Generic, TypeVar

T = TypeVar("T")
Item = TypeVar("Item")
Result = TypeVar("Result")

log = logging.getLogger(__name__)


async def shielded(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` in a task of its own that a cancelled caller does not cancel.

    For units of work on a database: a transaction that is cancelled half-way leaks its connection.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        # Nobody waits any more; still, an error must not pass as "never retrieved".
        task.add_done_callback(_note_abandoned)
        raise


def _note_abandoned(task: "asyncio.Future[Any]") -> None:
    if not task.cancelled() and task.exception() is not None:
        log.warning("abandoned work failed: %r", task.exception())


async def backoff(first: float = 0.1, limit: float = 5.0) -> AsyncIterator[int]:
    """Count attempts 1, 2, 3, … and sleep between them, doubling with jitter up to `limit` seconds."""
    attempt = 0
    while True:
        attempt += 1
        yield attempt
        await asyncio.sleep(min(limit, first * 2 ** min(attempt - 1, 16)) * uniform(0.8, 1.2))


CANCEL_AGAIN = 0.5
"""Seconds after which a task that is still there is cancelled once more."""


class Tasks:
    """The long-lived tasks of one owner. A loop that fails is logged and started again with back-off."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def supervise(self, name: str, loop: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        """Run `loop` until it returns; whenever it raises, say so and run it again."""
        return self.start(name, self._restarting(name, loop))

    def start(self, name: str, work: Coroutine[Any, Any, T], context: Context | None = None) -> asyncio.Task[T]:
        """Run `work` once, owned by this object; in `context`, or else a copy of the caller's."""
        task = asyncio.create_task(work, name=name, context=context)
        self._tasks.add(task)
        task.add_done_callback(self._forget)
        return task

    async def cancel(self) -> None:
        """Cancel all and wait until they are gone. May be called twice."""
        while tasks := self._others():
            for task in tasks:
                task.cancel()
            # Again and again: a library may swallow a cancellation (`asyncio.wait_for` before Python 3.12 does).
            await asyncio.wait(tasks, timeout=CANCEL_AGAIN)

    async def drain(self, seconds: float) -> bool:
        """Wait up to `seconds` for all to end by themselves; then cancel. Whether nothing had to be cancelled."""
        clock = asyncio.get_running_loop().time
        until = clock() + seconds
        while (pending := self._others()) and (left := until - clock()) > 0:
            await asyncio.wait(pending, timeout=left)  # what they start in the meantime is waited for too
        await self.cancel()
        return not pending

    def __len__(self) -> int:
        return len(self._tasks)

    def _others(self) -> list[asyncio.Task[Any]]:
        return [task for task in self._tasks if task is not asyncio.current_task()]

    def _forget(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("task %s failed", task.get_name(), exc_info=task.exception())

    async def _restarting(self, name: str, loop: Callable[[], Awaitable[None]]) -> None:
        async for attempt in backoff(first=0.2, limit=5.0):
            try:
                await loop()
            except asyncio.CancelledError:
                raise
            except Exception:
                log.exception("%s failed (attempt %d); it is started again", name, attempt)
            else:
                return


class Batcher(Generic[Item, Result]):
    """Many callers, one call: whatever gathers while a batch is in flight goes as the next batch.

    Under light load an item goes at once and alone; under load the batches grow by themselves, up to `limit` items,
    with at most `concurrency` in flight. `gather` seconds are waited for company only when more than one item is
    there already. `work` answers with one result per item, in order; an exception in place of a result goes to that
    caller, and an exception raised by `work` goes to all callers of the batch. Batches run in the context (of
    `contextvars`) of a caller that began them; those that are `apart` in that of whoever made the batcher, so that no
    log line of a batch names one caller alone.
    """

    def __init__(
        self,
        work: Callable[[Sequence[Item]], Awaitable[Sequence[Result | Exception]]],
        *,
        limit: int,
        concurrency: int = 1,
        gather: float = 0.0,
        name: str = "batcher",
        apart: bool = False,
    ) -> None:
        self._work = work
        self._limit = limit
        self._concurrency = concurrency
        self._gather = gather
        self._name = name
        self._waiting: deque[tuple[Item, asyncio.Future[Result]]] = deque()
        self._running = 0
        self._context = copy_context() if apart else None
        self._tasks = Tasks()

    async def submit(self, item: Item) -> Result:
        """Hand in one item; answers when its batch is done. A cancelled caller does not stop the batch."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._running < self._concurrency:
            self._running += 1
            context = None if self._context is None else self._context.copy()
            _ = self._tasks.start(self._name, self._run(), context)
        return await future

    async def drain(self, seconds: float = 10.0) -> None:
        """Wait up to `seconds` until nothing is in flight. Callers that are not answered by then are cancelled."""
        await self._tasks.drain(seconds)
        while self._waiting:
            self._waiting.popleft()[1].cancel()

    async def _run(self) -> None:
        try:
            await asyncio.sleep(0)  # let everything that is ready in this turn of the loop come along
            while self._waiting:
                if self._gather and 1 < len(self._waiting) < self._limit:
                    await asyncio.sleep(self._gather)
                await self._one_batch()
        finally:
            self._running -= 1

    async def _one_batch(self) -> None:
        batch = [self._waiting.popleft() for _ in range(min(self._limit, len(self._waiting)))]
        if not batch:  # another batch took them while this one waited for company
            return
        try:
            results = await self._results([item for item, _ in batch])
        except asyncio.CancelledError:
            for _, future in batch:
                future.cancel()
            raise
        for (_, future), result in zip(batch, results, strict=True):
            if future.done():  # its caller was cancelled
                continue
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)

    async def _results(self, items: Sequence[Item]) -> Sequence[Result | Exception]:
        """One for each item, whatever `work` does: a caller without an answer would wait for ever."""
        try:
            results = await self._work(items)
        except Exception as error:
            return [error] * len(items)
        if len(results) != len(items):
            broken = RuntimeError(f"{self._name} answered {len(results)} results for {len(items)} items")
            return [broken] * len(items)
        return results
