"""`python -m bench.feed`: what live status costs a gateway.

*Fan-out*: one feed, many sockets with the same selection; events per second over all sockets, and the gateway's CPU for
each. Side by side with Strawberry by the book, three rounds each, taking turns. *Idle*: ten thousand open
subscriptions; the gateway's memory, and how long a request over HTTP took at worst while they arrived in one burst.
"""

import argparse
import asyncio
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from bench.audience import heard, join
from tests.servers.roles import Process, free_port

IDLE = 'subscription { status_feed(filter: {user_id: "nobody"}) { cursor status } }'
DESCRIPTORS = 20_000


@contextmanager
def gateway(kind: str) -> Iterator[Process]:
    """A gateway process of this kind."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="heliograph-bench-") as folder:
        command = [sys.executable, "-m", "bench.feed_server", kind, str(port)]
        process = Process(kind, command, {}, Path(folder) / "gateway.log", port)
        try:
            yield process
        finally:
            process.stop()


async def listening(port: int) -> None:
    """Wait until somebody listens."""
    async with asyncio.timeout(30):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return


async def fan_out(kind: str, sockets: int, rows: int) -> tuple[float, float]:
    """Events per second over all sockets, and CPU microseconds for each."""
    with gateway(kind) as process:
        await listening(process.port)
        subscribers = await join(process.port, sockets)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{process.port}", timeout=300) as http:
            await asyncio.sleep(1.0)
            await http.post("/rows/1")
            await heard(subscribers, 1)
            cpu, begun = process.cpu_seconds, time.monotonic()
            await http.post(f"/rows/{rows}")
            await heard(subscribers, 1 + rows)
        seconds, cpu = time.monotonic() - begun, process.cpu_seconds - cpu
        events = sockets * rows
        return events / seconds, 1e6 * cpu / events


async def idle(sockets: int) -> None:
    """Memory of idle subscriptions, and HTTP while they arrive."""
    with gateway("ours") as process:
        await listening(process.port)
        before = memory(process)
        knocking = await asyncio.create_subprocess_exec(sys.executable, "-m", "bench.knock", str(process.port))
        begun = time.monotonic()
        subscribers = await join(process.port, sockets, IDLE, at_once=sockets)
        took = time.monotonic() - begun
        print(f"  {len(subscribers)} subscriptions in {took:.1f} s, {memory(process):.0f} MB; without {before:.0f} MB")
        knocking.terminate()
        await knocking.wait()


def memory(process: Process) -> float:
    """Resident megabytes."""
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("every process on Linux has one")


async def compare(options: argparse.Namespace) -> None:
    """The rounds of both, taking turns."""
    figures: dict[str, list[tuple[float, float]]] = {"naive": [], "ours": []}
    for _ in range(options.rounds):
        for kind, rounds in figures.items():
            rows = options.rows if kind == "ours" else options.rows // 5
            rounds.append(await fan_out(kind, options.sockets, rows))
    print(f"\nfan-out to {options.sockets} sockets")
    costs = {}
    for kind, rounds in figures.items():
        rate, costs[kind] = (statistics.median(each) for each in zip(*rounds, strict=True))
        print(f"  {kind:6} {rate:9.0f} events/s   {costs[kind]:7.1f} us of CPU an event and socket")
    print(f"  factor {costs['naive'] / costs['ours']:.1f}")


def main() -> None:
    """Run both parts."""
    parser = argparse.ArgumentParser(prog="python -m bench.feed", description=__doc__)
    parser.add_argument("--sockets", type=int, default=1_000)
    parser.add_argument("--rows", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--idle", type=int, default=10_000)
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, max(DESCRIPTORS, resource.RLIM_INFINITY)))
    asyncio.run(compare(options))
    print("\nidle")
    asyncio.run(idle(options.idle))


if __name__ == "__main__":
    main()
