"""Tasks and batches: owned, supervised, bounded, drained; a caller always gets an answer. In virtual time."""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from contextvars import ContextVar
from itertools import pairwise

import pytest

from domain.concurrency import Batcher, Tasks, backoff, shielded
from tests.unit.virtual_time import in_virtual_time


def now() -> float:
    return asyncio.get_running_loop().time()


class Work:
    """Doubles numbers in batches, as slowly as it is told. A word in `faults` is answered with its exception."""

    def __init__(self, seconds: float = 1.0) -> None:
        self.batches: list[list[int]] = []
        self.in_flight = self.most_in_flight = 0
        self.faults: dict[int, Exception] = {}
        self._seconds = seconds

    async def __call__(self, items: Sequence[int]) -> Sequence[int | Exception]:
        self.batches.append(list(items))
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await asyncio.sleep(self._seconds)
        finally:
            self.in_flight -= 1
        return [self.faults.get(item, 2 * item) for item in items]


async def settled(count: int = 5) -> None:
    """Let everything that is ready run."""
    for _ in range(count):
        await asyncio.sleep(0)


class TestBatcher:
    @in_virtual_time
    async def test_a_lone_item_goes_at_once_and_alone(self) -> None:
        work = Work()
        batcher = Batcher(work, limit=10, gather=0.5)
        assert await batcher.submit(1) == 2
        assert work.batches == [[1]]
        assert now() == 1.0

    @in_virtual_time
    async def test_what_is_ready_in_one_turn_of_the_loop_goes_together_and_each_gets_its_own(self) -> None:
        work = Work()
        batcher = Batcher(work, limit=10)
        assert await asyncio.gather(*(batcher.submit(item) for item in (3, 1, 2))) == [6, 2, 4]
        assert work.batches == [[3, 1, 2]]

    @in_virtual_time
    async def test_what_gathers_while_a_batch_is_in_flight_is_the_next_one_in_order(self) -> None:
        work = Work()
        batcher = Batcher(work, limit=3)
        first = asyncio.create_task(batcher.submit(0))
        await settled()
        answers = await asyncio.gather(first, *(batcher.submit(item) for item in range(1, 8)))
        assert answers == [2 * item for item in range(8)]
        assert work.batches == [[0], [1, 2, 3], [4, 5, 6], [7]]
        assert work.most_in_flight == 1

    @in_virtual_time
    async def test_no_more_batches_are_in_flight_than_allowed(self) -> None:
        work = Work()
        batcher = Batcher(work, limit=2, concurrency=3)
        callers = []
        for item in range(12):
            callers.append(asyncio.create_task(batcher.submit(item)))
            await settled()
        assert await asyncio.gather(*callers) == [2 * item for item in range(12)]
        assert work.most_in_flight == 3
        assert max(len(batch) for batch in work.batches) == 2

    @in_virtual_time
    async def test_company_is_waited_for_only_when_there_is_some(self) -> None:
        work = Work()
        batcher = Batcher(work, limit=10, gather=0.5)
        early = [asyncio.create_task(batcher.submit(item)) for item in (1, 2)]
        await asyncio.sleep(0.25)
        await asyncio.gather(*early, batcher.submit(3))
        assert work.batches == [[1, 2, 3]]
        assert now() == 1.5

    @in_virtual_time
    async def test_two_batches_that_wait_for_the_same_company_do_not_make_an_empty_one(self) -> None:
        work = Work()
        batcher = Batcher(work, limit=10, concurrency=2, gather=0.5)
        await asyncio.gather(*(batcher.submit(item) for item in (1, 2)))
        assert work.batches == [[1, 2]]

    @in_virtual_time
    async def test_an_exception_in_place_of_a_result_goes_to_its_caller_alone(self) -> None:
        work = Work()
        work.faults[2] = ValueError("two")
        batcher = Batcher(work, limit=10)
        answers = await asyncio.gather(*(batcher.submit(item) for item in (1, 2, 3)), return_exceptions=True)
        assert answers == [2, work.faults[2], 6]

    @in_virtual_time
    async def test_an_exception_of_the_work_goes_to_all_of_the_batch_and_the_next_one_is_fine(self) -> None:
        fault = OSError("away")

        async def work(items: Sequence[int]) -> Sequence[int]:
            if 1 in items:
                raise fault
            return items

        batcher: Batcher[int, int] = Batcher(work, limit=10)
        answers = await asyncio.gather(*(batcher.submit(item) for item in (1, 2)), return_exceptions=True)
        assert answers == [fault, fault]
        assert await batcher.submit(3) == 3

    @pytest.mark.parametrize("results", [[], [1], [1, 2, 3]])
    def test_work_that_answers_for_too_few_or_too_many_leaves_nobody_waiting(self, results: list[int]) -> None:
        @in_virtual_time
        async def test() -> None:
            async def work(_: Sequence[int]) -> Sequence[int]:
                return results

            batcher: Batcher[int, int] = Batcher(work, limit=10)
            answers = await asyncio.gather(batcher.submit(1), batcher.submit(2), return_exceptions=True)
            assert [type(answer) for answer in answers] == [RuntimeError, RuntimeError]

        test()

    @in_virtual_time
    async def test_a_cancelled_caller_stops_neither_its_batch_nor_its_neighbours(self) -> None:
        work = Work()
        batcher = Batcher(work, limit=10)
        gone, stays = (asyncio.create_task(batcher.submit(item)) for item in (1, 2))
        await asyncio.sleep(0.5)
        gone.cancel()
        assert await stays == 4
        assert gone.cancelled()
        assert work.batches == [[1, 2]]

    @in_virtual_time
    async def test_draining_waits_for_what_is_in_flight_and_for_what_waits(self) -> None:
        work = Work()
        batcher = Batcher(work, limit=1)
        callers = [asyncio.create_task(batcher.submit(item)) for item in range(3)]
        await settled()
        await batcher.drain()
        assert [caller.result() for caller in callers] == [0, 2, 4]
        assert now() == 3.0

    @in_virtual_time
    async def test_draining_waits_for_what_is_handed_in_meanwhile(self) -> None:
        work = Work()
        batcher = Batcher(work, limit=1, concurrency=2)
        first = asyncio.create_task(batcher.submit(1))
        await settled()
        draining = asyncio.create_task(batcher.drain())
        await asyncio.sleep(0.5)
        second = asyncio.create_task(batcher.submit(2))
        await draining
        assert (first.result(), second.result()) == (2, 4)

    @in_virtual_time
    async def test_when_draining_takes_too_long_nobody_is_left_waiting(self) -> None:
        batcher = Batcher(Work(seconds=1000.0), limit=1)
        callers = [asyncio.create_task(batcher.submit(item)) for item in range(3)]
        await settled()
        await batcher.drain(5.0)
        await asyncio.wait(callers)
        assert all(caller.cancelled() for caller in callers)
        assert now() == 5.0

    @in_virtual_time
    async def test_after_draining_it_works_again(self) -> None:
        batcher = Batcher(Work(), limit=1)
        await batcher.drain()
        assert await batcher.submit(1) == 2

    @in_virtual_time
    async def test_a_batch_runs_in_its_callers_context_but_for_one_that_is_apart(self) -> None:
        whose: ContextVar[str] = ContextVar("whose", default="nobody's")
        seen: list[str] = []

        async def work(items: Sequence[int]) -> Sequence[int]:
            seen.append(whose.get())
            return items

        callers: Batcher[int, int] = Batcher(work, limit=2)
        apart: Batcher[int, int] = Batcher(work, limit=2, apart=True)
        whose.set("the caller's")
        await asyncio.gather(callers.submit(1), apart.submit(1))
        assert seen == ["the caller's", "nobody's"]


class TestTasks:
    @in_virtual_time
    async def test_a_loop_that_fails_is_logged_and_started_again(self) -> None:
        runs: list[float] = []

        async def loop() -> None:
            runs.append(now())
            if len(runs) < 4:
                raise OSError("away")

        tasks = Tasks()
        with Captured() as log:
            await tasks.supervise("the loop", loop)
        assert len(runs) == 4
        pauses = [later - earlier for earlier, later in pairwise(runs)]
        assert all(0.8 * 0.2 * 2**n <= pause <= 1.2 * 0.2 * 2**n for n, pause in enumerate(pauses))
        assert [record.getMessage() for record in log.records] == [
            f"the loop failed (attempt {attempt}); it is started again" for attempt in (1, 2, 3)
        ]
        assert all(record.exc_info for record in log.records)

    @in_virtual_time
    async def test_a_loop_that_returns_is_not_started_again(self) -> None:
        runs = 0

        async def loop() -> None:
            nonlocal runs
            runs += 1

        tasks = Tasks()
        await tasks.supervise("once", loop)
        await asyncio.sleep(60)
        assert (runs, len(tasks)) == (1, 0)

    @in_virtual_time
    async def test_a_task_that_fails_is_logged_and_forgotten(self) -> None:
        tasks = Tasks()
        with Captured() as log:
            task = tasks.start("fragile", failing())
            await asyncio.wait({task})
            await settled()
        assert [record.getMessage() for record in log.records] == ["task fragile failed"]
        assert len(tasks) == 0

    @in_virtual_time
    async def test_cancel_waits_until_all_are_gone(self) -> None:
        ended: list[int] = []

        async def loop(number: int) -> None:
            try:
                await asyncio.sleep(1000)
            finally:
                await asyncio.sleep(number / 10)
                ended.append(number)

        tasks = Tasks()
        for number in (1, 2):
            _ = tasks.start(f"loop {number}", loop(number))
        await settled()
        await tasks.cancel()
        assert ended == [1, 2]
        await tasks.cancel()
        assert len(tasks) == 0

    @in_virtual_time
    async def test_a_task_that_swallows_its_cancellation_is_cancelled_again(self) -> None:
        async def stubborn() -> None:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(1000)
            await asyncio.sleep(1000)

        tasks = Tasks()
        task = tasks.start("stubborn", stubborn())
        await settled()
        await tasks.cancel()
        assert task.cancelled()
        assert now() < 10

    @in_virtual_time
    async def test_draining_lets_them_finish(self) -> None:
        tasks = Tasks()
        task = tasks.start("slow", asyncio.sleep(3, "done"))
        assert await tasks.drain(5.0)
        assert task.result() == "done"
        assert now() == 3.0

    @in_virtual_time
    async def test_draining_waits_for_what_they_start_themselves(self) -> None:
        tasks = Tasks()
        children: list[asyncio.Task[str]] = []

        async def parent() -> None:
            await asyncio.sleep(1)
            children.append(tasks.start("child", asyncio.sleep(1, "done")))

        _ = tasks.start("parent", parent())
        assert await tasks.drain(5.0)
        assert children[0].result() == "done"

    @in_virtual_time
    async def test_draining_cancels_what_takes_too_long_and_says_so(self) -> None:
        tasks = Tasks()
        task = tasks.start("endless", asyncio.sleep(1000))
        assert not await tasks.drain(5.0)
        assert task.cancelled()
        assert now() == 5.0
        assert await tasks.drain(5.0)

    @in_virtual_time
    async def test_an_owner_may_stop_from_within_one_of_its_tasks(self) -> None:
        tasks = Tasks()

        async def stop() -> str:
            await tasks.cancel()
            await tasks.drain(1.0)
            return "stopped"

        other = tasks.start("other", asyncio.sleep(1000))
        assert await tasks.start("stopper", stop()) == "stopped"
        assert other.cancelled()


class TestShielded:
    @in_virtual_time
    async def test_the_work_goes_on_when_the_caller_is_cancelled(self) -> None:
        done: list[str] = []

        async def work() -> None:
            await asyncio.sleep(1)
            done.append("committed")

        caller = asyncio.create_task(shielded(work()))
        await settled()
        caller.cancel()
        await asyncio.wait({caller})
        assert caller.cancelled()
        assert done == []
        await asyncio.sleep(2)
        assert done == ["committed"]

    @in_virtual_time
    async def test_its_result_and_its_error_are_the_callers(self) -> None:
        assert await shielded(asyncio.sleep(1, "result")) == "result"
        with pytest.raises(OSError, match="broken"):
            await shielded(failing())

    @in_virtual_time
    async def test_an_error_that_nobody_waits_for_any_more_is_logged(self) -> None:
        with Captured() as log:
            caller = asyncio.create_task(shielded(failing(after=1.0)))
            await settled()
            caller.cancel()
            await asyncio.sleep(2)
        assert [record.getMessage() for record in log.records] == ["abandoned work failed: OSError('broken')"]


@in_virtual_time
async def test_backoff_counts_doubles_and_stays_within_its_limit() -> None:
    attempts, moments = [], []
    async for attempt in backoff(first=1.0, limit=4.0):
        attempts.append(attempt)
        moments.append(now())
        if attempt == 5:
            break
    assert attempts == [1, 2, 3, 4, 5]
    pauses = [later - earlier for earlier, later in pairwise(moments)]
    for pause, wait in zip(pauses, (1.0, 2.0, 4.0, 4.0), strict=True):
        assert 0.8 * wait <= pause <= 1.2 * wait


async def failing(after: float = 0.0) -> None:
    await asyncio.sleep(after)
    raise OSError("broken")


class Captured(logging.Handler):
    """What `domain.concurrency` logs meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self._log = logging.getLogger("domain.concurrency")

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def __enter__(self) -> "Captured":
        self._log.addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._log.removeHandler(self)
