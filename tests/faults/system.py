"""A system to break: its roles as processes of their own, each with a wire to the broker that can be held or cut, and a
mail server that stops where it is told to. Leases and re-drives are short, so that a crash is over in seconds.
"""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import asyncpg
import httpx
import msgspec

from api.database import Databases
from domain.errors import Unavailable
from tests.e2e.api import Api
from tests.faults.invariants import Checked, check
from tests.faults.sink import Hold, Sink, Stage
from tests.faults.wire import Wire
from tests.servers.postgres import PostgresServer
from tests.servers.rabbitmq import RabbitMQServer
from tests.servers.redis import RedisServer
from tests.servers.roles import API_KEY, Cluster, Process, free_port

T = TypeVar("T")

LEASE, DEADLINE, REDRIVE = 7.5, 2.0, 1.0
"""Seconds. A call begins only while the lease left is its deadline and 5 s."""
PATIENT = {"HELIOGRAPH_LEASE_SECONDS": "12", "HELIOGRAPH_DELIVERY_DEADLINE_SECONDS": "6"}
"""For tests that hold a mail while a server is broken: the call must not be over before that."""
PATIENCE = 60.0
NOBODY = 9
"""A port that nobody listens on: the services that these notifications need nothing of."""
VERBS = {
    "gateway": ("serve", "gateway"),
    "relay": ("work", "relay"),
    "email": ("work", "email"),
    "dispatch": ("work", "dispatch"),
    "up": ("up",),
}
FAST = {
    "HELIOGRAPH_LEASE_SECONDS": str(LEASE),
    "HELIOGRAPH_DELIVERY_DEADLINE_SECONDS": str(DEADLINE),
    "HELIOGRAPH_REDRIVE_SECONDS": str(REDRIVE),
    "HELIOGRAPH_RETRY_SCHEDULE": "0.3,0.6,1,2,4,8,8",
    "HELIOGRAPH_BREAKER_FAILURES": "1000",
    "HELIOGRAPH_API_KEY": API_KEY,
    "HELIOGRAPH_SERVICE_TOKEN": "5d1e8a94c07b3f62d8e90b17a46c25f3",
    "HELIOGRAPH_SECRET": "c3f7a10e94d2b8561f0e7a3c9d84b26e",
    "HELIOGRAPH_LOG_LEVEL": "INFO",
}


class Servers(msgspec.Struct, frozen=True):
    """Private servers, to be broken."""

    postgres: PostgresServer
    rabbitmq: RabbitMQServer
    redis: RedisServer


class Held(msgspec.Struct, frozen=True):
    """A notification, and the place where the sink holds its mail."""

    id: str
    hold: Hold


async def until(condition: Callable[[], Awaitable[T]], seconds: float = PATIENCE) -> T:
    """Wait until the condition answers something true; the answer. What is away meanwhile is waited for."""
    async with asyncio.timeout(seconds):
        while True:
            with suppress(Unavailable):
                if answer := await condition():
                    return answer
            await asyncio.sleep(0.02)


class System:
    """Roles are named after their kind, with a number behind a dash where there are several: `email`, `email-2`."""

    def __init__(self, folder: Path, database_url: str, databases: Databases, env: Mapping[str, str]) -> None:
        self.sink = Sink()
        self.wires: dict[str, Wire] = {}
        self.accepted: list[str] = []
        self.database_url = database_url
        self.vhost: str | None = None
        self.broker_port = 0
        self.env = dict(env)
        self._databases = databases
        self._cluster = Cluster(folder, {})
        self._ports: dict[str, int] = {}
        self._apis: dict[str, Api] = {}

    # ---------------------------------------------------------------------------------------------- its processes

    async def start(self, *names: str, program: str = "", **env: str) -> None:
        """Start roles, or start them again where they were, and wait until they are ready.

        `program` is Python that each process runs before it becomes its role.
        """
        for name in names:
            await self._launch(name, program, env)
        await asyncio.gather(*(asyncio.to_thread(self.process(name).wait_ready) for name in names))

    async def _launch(self, name: str, program: str, env: Mapping[str, str]) -> None:
        port = self._ports.setdefault(name, free_port())
        own = {**self.env, "HELIOGRAPH_SMTP_URL": self.sink.url}
        if self.vhost is not None:
            if name not in self.wires:
                self.wires[name] = Wire(self.broker_port)
                await self.wires[name].start()
            url = f"amqp://guest:guest@127.0.0.1:{self.wires[name].port}/{self.vhost}?heartbeat=1"
            own["HELIOGRAPH_BROKER_URL"] = url
        command = [sys.executable, "-c", f"{program}\nfrom api.cli import main; main()", *VERBS[name.split("-")[0]]]
        self._cluster.add(name, command, port, **{**own, **env})

    @property
    def broker_url(self) -> str:
        """The broker itself, past all wires."""
        return f"amqp://guest:guest@127.0.0.1:{self.broker_port}/{self.vhost}"

    def process(self, name: str) -> Process:
        """The process that plays a role now."""
        return self._cluster.processes[name]

    def kill(self, name: str) -> None:
        """SIGKILL; what it said and its wire held is lost."""
        self.process(name).kill()
        if name in self.wires:
            self.wires[name].cut()

    def freeze(self, name: str) -> None:
        """SIGSTOP: it does nothing, and nobody is told."""
        os.kill(self.process(name).pid, signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        """SIGCONT."""
        os.kill(self.process(name).pid, signal.SIGCONT)

    async def until_it_says(self, name: str, dependency: str, status: str) -> None:
        """Wait until a role's health says that about what it depends on."""
        url = f"http://127.0.0.1:{self._ports[name]}/health"

        async def says_so() -> bool:
            async with httpx.AsyncClient(timeout=10.0) as client:
                found = (await client.get(url)).json()["data"]["dependencies"]
            return bool(found[dependency]["status"] == status)

        await until(says_so)

    async def stop(self) -> None:
        """End everything at once."""
        for api in self._apis.values():
            await api.http.aclose()
        for process in self._cluster.processes.values():
            process.kill()
        self._cluster.stop()
        for wire in self.wires.values():
            await wire.stop()
        await self.sink.stop()

    # --------------------------------------------------------------------------------------------- its callers' side

    def api(self, gateway: str | None = None) -> Api:
        """A client of a gateway; of the only one, where it is not named."""
        name = gateway or ("up" if "up" in self._ports else "gateway")
        if name not in self._apis:
            self._apis[name] = Api(self._ports[name], API_KEY)
        return self._apis[name]

    async def send(self, recipient: str, *, gateway: str | None = None, **given: Any) -> str:
        """Send one mail; the notification's id."""
        id = await self.api(gateway).send_one(recipient={"email": recipient}, **given)
        self.accepted.append(id)
        return id

    async def send_many(self, count: int, *, gateway: str | None = None) -> list[str]:
        """Send so many at once, each to somebody else; their ids."""
        return list(await asyncio.gather(*(self.send(f"p{n}@example.com", gateway=gateway) for n in range(count))))

    async def hold_one(self, stage: Stage) -> Held:
        """Send a mail to somebody new, and return when the sink has it where it is to be held."""
        recipient = f"{uuid4().hex}@example.com"
        hold = self.sink.hold(stage, recipient)
        id = await self.send(recipient)
        async with asyncio.timeout(PATIENCE):
            await hold.reached.wait()
        return Held(id, hold)

    # ------------------------------------------------------------------------------------------------ its inside

    async def query(self, sql: str, *params: Any) -> list[dict[str, Any]]:
        """Ask the gateway database."""
        return await self._databases["gateway"].query(sql, params)

    async def row(self, id: str) -> dict[str, Any]:
        """A notification's row."""
        return (await self.query("SELECT * FROM notifications WHERE id = $1", id))[0]

    async def until_row(self, id: str, **wanted: Any) -> None:
        """Wait until the row has these values."""

        async def has_them() -> bool:
            row = await self.row(id)
            return all(row[name] == value for name, value in wanted.items())

        await until(has_them)

    async def until_settled(self, id: str) -> None:
        """Wait until the worker has stored what came of the call, whether that was reported or not."""

        async def is_settled() -> bool:
            return (await self.row(id))["settled"] is not None

        await until(is_settled)

    async def end_lease(self, id: str) -> None:
        """Let the time pass until its lease has ended, where nobody works under it any more."""
        await self.query("UPDATE notifications SET next_at = now() WHERE token IS NOT NULL AND id = $1", id)

    async def history(self, id: str) -> list[str]:
        """The statuses that the notification had, in order."""
        rows = await self.query("SELECT status FROM status_log WHERE notification_id = $1 ORDER BY sequence", id)
        return [row["status"] for row in rows]

    async def unknown_attempts(self, id: str) -> int:
        """How many of its attempts have an outcome that nobody knows."""
        sql = "SELECT count(*) AS n FROM attempts WHERE notification_id = $1 AND outcome = 'UNKNOWN'"
        return int((await self.query(sql, id))[0]["n"])

    @asynccontextmanager
    async def locked(self, sql: str, *params: Any) -> AsyncIterator[None]:
        """Hold the rows that `sql` selects (PostgreSQL)."""
        connection = await asyncpg.connect(self.database_url)
        try:
            async with connection.transaction():
                await connection.execute(f"{sql} FOR UPDATE", *params)
                yield
        finally:
            await connection.close()

    async def until_waiting(self) -> int:
        """Wait until somebody waits for a lock (PostgreSQL); the number of their server process."""
        sql = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        return int((await until(lambda: self.query(sql)))[0]["pid"])

    async def disconnect(self, pid: int) -> None:
        """End a server process (PostgreSQL), and what it was about to write."""
        await self.query(f"SELECT pg_terminate_backend({int(pid)})")

    # -------------------------------------------------------------------------------------------- what must hold

    async def ended(self) -> None:
        """Wait until everything that was accepted has its end."""

        async def is_over() -> bool:
            return not await self.query("SELECT id FROM notifications WHERE next_at IS NOT NULL LIMIT 1")

        try:
            await until(is_over)
        except TimeoutError:
            columns = "id, status, attempt, drives, token, settled, next_at"
            left = await self.query(f"SELECT {columns} FROM notifications WHERE next_at IS NOT NULL")
            raise AssertionError(f"{len(left)} have no end: {left[:5]}") from None

    async def check(self, allowance: int | None = None) -> Checked:
        """Wait until everything has its end; every invariant holds."""
        await self.ended()
        checked = await check(self.database_url, self.sink.mails(), accepted=self.accepted, allowance=allowance)
        assert checked.breaches == []
        assert checked.lost == 0
        return checked

    async def check_sent_once(self, ids: Sequence[str]) -> None:
        """Wait until everything has its end; these were sent, once each, and every invariant holds."""
        await self.check()
        mails = self.sink.mails()
        assert {id: mails[id] for id in ids} == dict.fromkeys(ids, 1)


@asynccontextmanager
async def scaled_out(servers: Servers, folder: Path, *names: str, **env: str) -> AsyncIterator[System]:
    """A system of these roles on the servers, with a database and a virtual host of its own."""
    name = folder.name.replace("-", "_")
    url = await asyncio.to_thread(servers.postgres.create_database, name)
    await asyncio.to_thread(servers.rabbitmq.create_vhost, name)
    own = {
        "HELIOGRAPH_GATEWAY_DATABASE_URL": url,
        "HELIOGRAPH_FEED_URL": servers.redis.url,
        "HELIOGRAPH_CACHE_URL": servers.redis.url,
        "HELIOGRAPH_USERS_URL": f"http://127.0.0.1:{NOBODY}",
        "HELIOGRAPH_TEMPLATES_URL": f"http://127.0.0.1:{NOBODY}",
    }
    async with _system(folder, url, {**FAST, **own, **env}) as system:
        system.vhost, system.broker_port = name, servers.rabbitmq.port
        await system.start(*names)
        await asyncio.to_thread(servers.rabbitmq.sync)
        yield system


@asynccontextmanager
async def embedded(folder: Path, url: str = "", **env: str) -> AsyncIterator[System]:
    """`heliograph up`, not yet started."""
    url = url or f"sqlite://{folder}/gateway.db"
    own = {"HELIOGRAPH_VAR_DIR": str(folder / "var"), "HELIOGRAPH_GATEWAY_DATABASE_URL": url}
    async with _system(folder, url, {**FAST, **own, **env}) as system:
        yield system


@asynccontextmanager
async def _system(folder: Path, url: str, env: Mapping[str, str]) -> AsyncIterator[System]:
    async with AsyncExitStack() as stack:
        databases = await Databases.open({"gateway": url}, pool_size=5, command_timeout=10.0)
        stack.push_async_callback(databases.close)
        system = System(folder, url, databases, env)
        await system.sink.start()
        stack.push_async_callback(system.stop)
        yield system
