"""Whole systems through an outage: what was accepted is delivered, and sent once."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.e2e.api import WATCH, Api
from tests.e2e.conftest import FAST, Running, start_compose
from tests.servers.postgres import Postgres
from tests.servers.rabbitmq import RabbitMQServer
from tests.servers.redis import RedisServer
from tests.servers.roles import API_KEY, Cluster

SLOW = "slow@sandbox.heliograph.test"


async def mails_by_id(port: int) -> list[str]:
    """The Message-IDs that the sandbox took, newest first."""
    async with httpx.AsyncClient() as client:
        found = (await client.get(f"http://127.0.0.1:{port}/sandbox/messages?limit=500")).json()
    return [mail["message_id"] for mail in found["emails"]]


class TestEmbedded:
    async def test_killed_and_started_again_it_loses_nothing(self, tmp_path: Path) -> None:
        env = {"HELIOGRAPH_VAR_DIR": str(tmp_path / "var"), "HELIOGRAPH_API_KEY": API_KEY, **FAST}
        cluster = Cluster(tmp_path, env)
        try:
            first = cluster.add_role("first", "up")
            first.wait_ready()
            async with Api(first.port, API_KEY) as api:
                ids = [await api.send_one(recipient={"email": SLOW}) for _ in range(20)]
                first.kill()
            second = cluster.add_role("second", "up")
            second.wait_ready()
            async with Api(second.port, API_KEY) as api:
                for id in ids:
                    events = await api.watch(WATCH, id=id)
                    assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))
                    assert events[-1]["status"] == "SENT"
        finally:
            cluster.stop()

    def test_a_second_process_on_the_same_folder_does_not_start(self, tmp_path: Path) -> None:
        cluster = Cluster(tmp_path, {"HELIOGRAPH_VAR_DIR": str(tmp_path / "var"), "HELIOGRAPH_API_KEY": API_KEY})
        try:
            cluster.add_role("first", "up").wait_ready()
            command = [sys.executable, "-c", "from api.cli import main; main()", "up"]
            second = subprocess.run(
                command, env={"HELIOGRAPH_VAR_DIR": str(tmp_path / "var"), "PORT": "0"}, capture_output=True, timeout=60
            )
        finally:
            cluster.stop()
        assert second.returncode == 2
        assert b"Another Heliograph runs" in second.stderr
        assert b"Traceback" not in second.stderr


@pytest.fixture
def servers() -> Iterator[tuple[RabbitMQServer, RedisServer]]:
    """A broker and a Redis of our own, to be stopped."""
    with RabbitMQServer() as rabbitmq, RedisServer() as redis:
        yield rabbitmq, redis


class TestScaledOut:
    async def test_without_broker_and_redis_it_accepts_and_delivers_later(
        self, postgres: Postgres, servers: tuple[RabbitMQServer, RedisServer], tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        rabbitmq, redis = servers
        with ExitStack() as stack:
            running: Running = start_compose(stack, postgres, rabbitmq, redis, tmp_path_factory.mktemp("outage"))
            async with Api(running.port, API_KEY) as api:
                before = await api.send_one()
                await api.until(before, "SENT")
                rabbitmq.sync()
                rabbitmq.stop()
                redis.stop()
                ids = [await api.send_one() for _ in range(10)]
                assert [(await api.notification(id))["status"] for id in ids] == ["ACCEPTED"] * 10
                watching = asyncio.gather(*(api.watch(WATCH, id=id) for id in ids))
                redis.start()
                rabbitmq.start()
                for events in await watching:
                    assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))
                    assert events[-1]["status"] == "SENT"
                sent = await mails_by_id(running.sandbox_port)
                assert all(sum(id in message_id for message_id in sent) == 1 for id in [before, *ids])
