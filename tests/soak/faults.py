"""What is done to the system under soak: each fault breaks one thing, waits a moment, and mends it."""

import asyncio
import os
import random
import signal
from collections.abc import Awaitable, Callable, Iterator
from functools import partial

import msgspec

from tests.servers.process import ServerProcess
from tests.soak.system import ROLES, Soaked

AWAY = 1.5
"""Seconds for which what was killed stays away."""
HUNG = 4.0
"""Seconds for which what was stopped (SIGSTOP) stays stopped: shorter than a lease."""


class Fault(msgspec.Struct, frozen=True):
    """One thing that can go wrong; `kills` says whether a process that delivers may die with calls in flight."""

    name: str
    act: Callable[[Soaked], Awaitable[None]]
    kills: bool = False


def all_faults() -> list[Fault]:
    """Every role killed and hung, every server killed, hung or emptied."""
    killed = [Fault(f"kill -9 {name}", partial(kill_role, name=name), kills=name.startswith("email")) for name in ROLES]
    hung = [Fault(f"stop {name} {HUNG:g} s", partial(hang_role, name=name)) for name in ("email-1", "relay-1")]
    servers = [
        Fault("kill -9 RabbitMQ", lambda system: kill_server(system.rabbitmq)),
        Fault("hang RabbitMQ", lambda system: hang_server(system.rabbitmq)),
        Fault("kill -9 Redis", lambda system: kill_server(system.redis)),
        Fault("hang Redis", lambda system: hang_server(system.redis)),
        Fault("kill -9 PostgreSQL", lambda system: kill_server(system.postgres)),
        Fault("purge the queues", purge),
    ]
    return [*killed, *hung, *servers]


def schedule(seed: int) -> Iterator[Fault]:
    """All faults in turn, in an order that the seed decides, again and again."""
    order = random.Random(seed)
    faults = all_faults()
    while True:
        order.shuffle(faults)
        yield from list(faults)


async def kill_role(system: Soaked, *, name: str) -> None:
    """Kill a role, and start another instance in its place."""
    system.kill_role(name)
    await asyncio.sleep(AWAY)
    await system.start_role(name)


async def hang_role(system: Soaked, *, name: str) -> None:
    """Stop a role for less than a lease, as a machine that swaps would."""
    pid = system.role(name).pid
    os.kill(pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(HUNG)
    finally:
        os.kill(pid, signal.SIGCONT)


async def kill_server(server: ServerProcess) -> None:
    """Kill a server, and start it again with its data."""
    server.kill()
    await asyncio.sleep(AWAY)
    await asyncio.to_thread(server.start)


async def hang_server(server: ServerProcess) -> None:
    """Stop a server: connections stay open and nobody answers."""
    server.pause()
    try:
        await asyncio.sleep(HUNG)
    finally:
        server.resume()


async def purge(system: Soaked) -> None:
    """The broker loses what it holds."""
    for queue in ("email.queue", "status.queue"):
        await asyncio.to_thread(system.rabbitmq.call, "DELETE", f"queues/%2F/{queue}/contents")
