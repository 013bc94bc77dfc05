"""Whatever happens to rings, database and clients, each client sees the log's rows for its filter, in order, once."""

import asyncio
from collections.abc import Coroutine
from contextlib import aclosing
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from api.gateway.feed import Follower
from domain.channels import STATUS_CHANNEL
from domain.doorbell import encode_head, encode_rows
from domain.notification import Status
from domain.ports import LogFilter, LogRow
from tests.unit.feed_fakes import FakeBell, FakeLog
from tests.unit.virtual_time import VirtualTimeLoop

notifications = st.integers(0, 3)
filters = st.one_of(
    st.builds(LogFilter),
    st.builds(LogFilter, notification_id=notifications.map("ntf_{}".format)),
    st.builds(LogFilter, request=st.sampled_from(["req_0", "req_1"])),
    st.builds(LogFilter, user_id=st.sampled_from(["usr_0", "usr_1"]), status=st.just(frozenset({Status.SENT}))),
)
commits = st.lists(st.tuples(notifications, st.sampled_from([Status.QUEUED, Status.SENT])), min_size=1, max_size=12)


class Client:
    """Reads as many rows as it is allowed to, and comes back with its last cursor when it is dropped."""

    def __init__(self, feed: Follower, where: LogFilter, after: int | None) -> None:
        self.where = where
        self.received: list[LogRow] = []
        self.since = feed.position if after is None else after
        self._feed = feed
        self._appetite = asyncio.Semaphore(0)
        self._task = self._open(after)

    def eat(self, rows: int) -> None:
        """Take this many more rows."""
        for _ in range(rows):
            self._appetite.release()

    async def drop(self) -> None:
        """The socket closes."""
        self._task.cancel()
        await asyncio.wait({self._task})

    def resume(self) -> None:
        """Come back."""
        self._task = self._open(self.received[-1].position if self.received else self.since)

    @property
    def failed(self) -> bool:
        """Whether the subscription ended although nobody asked it to."""
        return self._task.done() and not self._task.cancelled()

    def _open(self, after: int | None) -> "asyncio.Task[None]":
        return asyncio.get_running_loop().create_task(self._read(after))

    async def _read(self, after: int | None) -> None:
        async with aclosing(self._feed.subscribe(self.where, after)) as rows:
            while True:
                await self._appetite.acquire()
                try:
                    self.received.append(await anext(rows))
                except asyncio.CancelledError:
                    self._appetite.release()
                    raise


class FeedMachine(RuleBasedStateMachine):
    """A log, a bell that loses, doubles and delays, a feed, and clients."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualTimeLoop()
        self.log, self.bell = FakeLog(), FakeBell()
        self.clients: list[Client] = []
        self.delayed: list[bytes] = []
        self.run(self.begin())

    async def begin(self) -> None:
        """Small pages and buffers, so that every seam is crossed often."""
        self.feed = Follower(self.log, self.bell, poll=1.0, page=3, buffer=3)
        await self.feed.start()
        await asyncio.sleep(0.01)

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Let the system run for as long as `work` takes."""
        self.loop.run_until_complete(work)

    def append(self, rows: list[tuple[int, Status]]) -> list[LogRow]:
        """One commit."""
        return [
            self.log.append(f"ntf_{number}", status, request=f"req_{number % 2}", user_id=f"usr_{number // 2}")
            for number, status in rows
        ]

    def ring(self, payload: bytes) -> None:
        """It arrives."""
        self.bell.ring(STATUS_CHANNEL, payload)

    @rule(rows=commits, copies=st.integers(0, 2), late=st.booleans(), bare=st.booleans())
    def a_commit(self, rows: list[tuple[int, Status]], copies: int, late: bool, bare: bool) -> None:
        """Its ring arrives, or is lost, doubled, late, or has no rows."""
        written = self.append(rows)
        payload = encode_head(written[-1].position) if bare else encode_rows(written)
        for _ in range(copies):
            self.ring(payload)
        if late:
            self.delayed.append(payload)

    @precondition(lambda self: self.delayed)
    @rule(data=st.data())
    def a_late_ring(self, data: st.DataObject) -> None:
        """Any of the late ones."""
        self.ring(self.delayed.pop(data.draw(st.integers(0, len(self.delayed) - 1))))

    @rule(payload=st.sampled_from([b"", b"nonsense", encode_head(0)]))
    def a_ring_without_rows(self, payload: bytes) -> None:
        """A reconnection, somebody else's message, an old heartbeat."""
        self.ring(payload)

    @rule(away=st.booleans())
    def the_database(self, away: bool) -> None:
        """It goes away or comes back."""
        self.log.away = away

    @rule(seconds=st.sampled_from([0.0, 0.0005, 0.001, 0.0015, 0.005, 3.0]))
    def time_passes(self, seconds: float) -> None:
        """Long enough for a step, a read, or everything."""
        self.run(asyncio.sleep(seconds))

    @rule(where=filters, data=st.data())
    def a_client_comes(self, where: LogFilter, data: st.DataObject) -> None:
        """With a cursor, perhaps of a gateway that is ahead of this one, or without."""
        after = data.draw(st.none() | st.integers(0, len(self.log.rows)))

        async def come() -> None:
            self.clients.append(Client(self.feed, where, after))

        self.run(come())

    @precondition(lambda self: self.clients)
    @rule(data=st.data(), rows=st.integers(1, 20))
    def a_client_reads(self, data: st.DataObject, rows: int) -> None:
        """Some rows and no more."""
        data.draw(st.sampled_from(self.clients)).eat(rows)

    @precondition(lambda self: self.clients)
    @rule(data=st.data(), seconds=st.sampled_from([0.0, 0.001, 3.0]))
    def a_client_drops_and_resumes(self, data: st.DataObject, seconds: float) -> None:
        """After a while, with its last cursor."""
        client = data.draw(st.sampled_from(self.clients))

        async def come_back() -> None:
            await client.drop()
            await asyncio.sleep(seconds)
            client.resume()

        self.run(come_back())

    @invariant()
    def nobody_has_seen_anything_else(self) -> None:
        """What was received is the beginning of what is expected."""
        for client in self.clients:
            assert client.received == self.expected(client)[: len(client.received)]

    def expected(self, client: Client) -> list[LogRow]:
        """What the log has for it."""
        return [row for row in self.log.rows if row.position > client.since and client.where.admits(row)]

    def teardown(self) -> None:
        """Once the database is there and everybody reads, everybody gets everything."""
        try:
            self.log.away = False
            for client in self.clients:
                client.eat(len(self.log.rows) + 1)
            self.run(asyncio.sleep(60))
            for client in self.clients:
                assert not client.failed
                assert client.received == self.expected(client)
            assert self.feed.position == len(self.log.rows)
            assert self.feed.lag == 0
            self.run(self.end())
            assert self.feed.live_subscriptions == 0
        finally:
            self.loop.close()

    async def end(self) -> None:
        """Everybody leaves."""
        for client in self.clients:
            await client.drop()
        await self.feed.stop()


TestFeed = FeedMachine.TestCase
TestFeed.settings = settings(max_examples=100, stateful_step_count=30)
