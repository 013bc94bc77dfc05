"""The database killed, stopped, without a free connection, and full: what was accepted is kept, the rest is refused."""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import msgspec
import pytest

from tests.e2e.api import CONTENT, SEND
from tests.faults.sink import Stage
from tests.faults.system import PATIENT, Servers, System, embedded, scaled_out, until
from tests.servers.postgres import PostgresServer

ROLES = ("gateway", "relay", "email")
SOME = 10
TRIES = 500
"""So many sends fill what little room there is."""


class SmallPostgres(PostgresServer):
    """A server of few connections."""

    def command(self) -> list[str]:
        return [*super().command(), "-c", "max_connections=40"]


class TinyPostgres(PostgresServer):
    """A server on a file system of 128 MB. Raises `OSError` where we may not make one."""

    def __init__(self) -> None:
        super().__init__()
        options = ["-t", "tmpfs", "-o", "size=128m", "tmpfs", str(self.directory)]
        mounted = subprocess.run(["mount", *options], capture_output=True, text=True, check=False)
        if mounted.returncode != 0:
            super().close()
            raise OSError(mounted.stderr.strip())

    def close(self) -> None:
        self.kill()
        subprocess.run(["umount", "--lazy", str(self.directory)], check=False)
        super().close()


@pytest.fixture(scope="module")
def postgres(private_servers: Servers) -> Iterator[PostgresServer]:
    """A server of this module's own."""
    with SmallPostgres() as server:
        yield server


@pytest.fixture(scope="module")
async def system(
    private_servers: Servers, postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[System]:
    """A gateway (with its dispatcher), a relay and a worker, on a database that may be broken."""
    servers = msgspec.structs.replace(private_servers, postgres=postgres)
    folder = tmp_path_factory.mktemp("postgres")
    async with scaled_out(servers, folder, *ROLES, **PATIENT, HELIOGRAPH_DATABASE_POOL="5") as running:
        yield running


def a_mail() -> dict[str, Any]:
    recipient = {"email": f"{uuid4().hex}@example.com"}
    return {"request_id": uuid4().hex, "recipient": recipient, "channels": ["EMAIL"], "content": CONTENT}


async def refused(system: System, given: dict[str, Any]) -> bool:
    """Ask once. A refusal is in plain words; what is accepted is remembered."""
    answer = await system.api().call(SEND, input=given)
    if "errors" in answer:  # the key is not remembered any more, and nobody could say whose it is
        assert answer["errors"][0]["extensions"]["code"] == "UPSTREAM_UNAVAILABLE"
        return True
    payload = answer["data"]["send_notification"]
    if payload["success"]:
        system.accepted.extend(each["id"] for each in payload["data"]["notifications"])
        return False
    assert (payload["error"]["code"], payload["data"]) == ("UPSTREAM_UNAVAILABLE", None)
    return True


def stop_at_once(server: PostgresServer) -> None:
    """PostgreSQL's "immediate" shutdown: no checkpoint, so that it recovers at its next start."""
    assert server.pid is not None
    os.kill(server.pid, signal.SIGQUIT)
    while server.pid is not None:
        time.sleep(0.02)


@pytest.mark.parametrize("end", [PostgresServer.kill, stop_at_once], ids=["killed", "stopped at once"])
async def test_away(system: System, postgres: PostgresServer, end: Callable[[PostgresServer], None]) -> None:
    one = await system.hold_one(Stage.ANSWER)
    under_way = await system.send_many(SOME)
    given = a_mail()
    await asyncio.to_thread(end, postgres)
    try:
        one.hold.release()
        assert await refused(system, given)
        for role in ROLES:
            await system.until_it_says(role, "gateway_database", "down")
    finally:
        await asyncio.to_thread(postgres.start)

    await until(lambda: _accepted(system, given))
    await system.check_sent_once([one.id, *under_way])


async def _accepted(system: System, given: dict[str, Any]) -> bool:
    return not await refused(system, given)


async def test_without_a_free_connection(system: System) -> None:
    one = await system.hold_one(Stage.ANSWER)
    under_way = await system.send_many(SOME)
    given = a_mail()
    async with all_connections(system.database_url):
        one.hold.release()
        assert await refused(system, given)
        await system.until_it_says("gateway", "gateway_database", "down")

    await until(lambda: _accepted(system, given))
    await system.check_sent_once([one.id, *under_way])


@asynccontextmanager
async def all_connections(url: str) -> AsyncIterator[None]:
    """Take every connection that the server has, those of others too."""
    taken: list[asyncpg.Connection] = []
    others = "FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> ALL ($1)"

    async def got_all() -> bool:
        try:
            while True:
                taken.append(await asyncpg.connect(url))
        except asyncpg.TooManyConnectionsError:
            own = [connection.get_server_pid() for connection in taken]
            return not await taken[0].fetch(f"SELECT pg_terminate_backend(pid) {others}", own)

    try:
        await until(got_all)
        yield
    finally:
        for connection in taken:
            await connection.close()


@contextmanager
def full(folder: Path) -> Iterator[None]:
    """Fill a file system to the last byte."""
    ballast = folder / "ballast"
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(65536))
    try:
        yield
    finally:
        ballast.unlink()


async def test_on_a_full_disk(private_servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> None:
    with ExitStack() as stack:
        try:
            postgres = stack.enter_context(TinyPostgres())
        except OSError as error:
            pytest.skip(f"A small file system cannot be mounted here: {error}")
        servers = msgspec.structs.replace(private_servers, postgres=postgres)
        async with scaled_out(servers, tmp_path_factory.mktemp("full"), *ROLES) as system:
            with full(postgres.directory):
                assert await _first_refusal(system)
            await asyncio.to_thread(postgres.start)  # it may have given up

            await system.check()
            assert system.sink.mails().keys() == set(system.accepted)


async def _first_refusal(system: System) -> bool:
    """Send until it is refused; whether it was."""
    for _ in range(TRIES):
        if await refused(system, a_mail()):
            return True
    return False


async def test_on_a_full_disk_the_embedded_system_refuses_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    async with embedded(tmp_path) as system:
        await system.start("up")
        await system.send("before@example.com")
        await system.ended()
        system.kill("up")
        pages = (await system.query("PRAGMA page_count"))[0]["page_count"]
        await system.start("up", HELIOGRAPH_GATEWAY_DATABASE_URL=f"{system.database_url}?max_page_count={pages + 8}")
        assert await _first_refusal(system)
        system.kill("up")
        await system.start("up")

        await system.check()
        assert system.sink.mails().keys() == set(system.accepted)
