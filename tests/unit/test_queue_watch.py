"""How long what waits has waited, as far as can be seen from outside."""

import pytest

from api.gateway.backlog import Waiting
from api.gateway.instances import Recent
from api.gateway.queue_watch import Level, QueueWatch
from domain.errors import BrokerUnavailable, DatabaseUnavailable
from domain.notification import Channel
from domain.ports import QueueDepth
from domain.vitals import Sample


class World:
    """A broker and a database that a test fills, or takes away."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.depths = {"email.queue": QueueDepth(0, 1), "status.queue": QueueDepth(0, 1)}
        self.waiting = Waiting(0, 0.0)
        self.broker_away = self.database_away = False
        self.recent = Recent(lambda: self.time)
        self.told: list[Level] = []
        self.watch = QueueWatch(
            {"email.queue": Channel.EMAIL, "status.queue": None},
            self.depth,
            self,
            self.recent,
            tell=self.told.append,
            clock=lambda: self.time,
        )

    async def depth(self, queue: str) -> QueueDepth:
        if self.broker_away:
            raise BrokerUnavailable("The broker is away.")
        return self.depths[queue]

    async def of(self, channel: Channel) -> Waiting:
        if self.database_away:
            raise DatabaseUnavailable("The database is away.")
        return self.waiting

    async def looked(self, queue: str) -> Level:
        await self.watch.look()
        return self.watch.levels[queue]

    def published(self, count: int) -> None:
        """So many messages more in the status queue, now."""
        self.recent.add([], [Sample("heliograph_queue_published_total", {"queue": "status.queue"}, count)])


@pytest.fixture
def world() -> World:
    return World()


async def test_a_delivery_queue_is_the_brokers_depth_and_the_databases_lag(world: World) -> None:
    world.depths["email.queue"], world.waiting = QueueDepth(4, 2), Waiting(700, 12.3456)
    assert await world.looked("email.queue") == Level(
        name="email.queue", depth=4, consumers=2, waiting=700, lag_seconds=12.346
    )
    assert [level.name for level in world.told] == ["email.queue", "status.queue"]


async def test_an_empty_queue_has_no_lag(world: World) -> None:
    world.time += 60
    assert (await world.looked("status.queue")).lag_seconds == 0.0


async def test_what_waits_is_no_older_than_the_queue_has_not_been_empty(world: World) -> None:
    await world.watch.look()
    world.depths["status.queue"] = QueueDepth(5, 1)
    world.time += 7
    assert (await world.looked("status.queue")).lag_seconds == 7.0


async def test_nor_than_it_took_as_many_as_wait_to_arrive(world: World) -> None:
    await world.watch.look()
    world.depths["status.queue"] = QueueDepth(5, 1)
    for _ in range(10):
        world.time += 3
        world.published(4)
    assert (await world.looked("status.queue")).lag_seconds == 3.0


@pytest.mark.parametrize("away", ["broker_away", "database_away"])
async def test_who_is_away_leaves_things_as_they_were(world: World, away: str) -> None:
    world.depths["email.queue"], world.waiting = QueueDepth(4, 2), Waiting(700, 12.0)
    seen = await world.looked("email.queue")
    setattr(world, away, True)
    assert await world.looked("email.queue") == seen
