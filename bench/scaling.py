"""`python -m bench.scaling`: more of every role, started while load runs, with no other setting.

Sends flat out for a while with one of each role, starts the others, and sends flat out again, some rounds over; prints
the throughput and the CPU of each. Where the mail server is what takes the time (`--delay 0.1`), more workers send
more. With few callers on cores that are busy with one of each (`--connections 64`), more roles send less: their lists
are shorter, and each list costs the same. Every id is checked; exits with 1 when one is not as promised.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence

from api.database import Databases
from bench.__main__ import cpu
from bench.engines import SINK_SECONDS, all_sent, faults, received, started
from bench.load import flat_out, send_one
from tests.servers.roles import API_KEY, Cluster

MORE = {
    "gateway-2": ("serve", "gateway"),
    "email-2": ("work", "email"),
    "email-3": ("work", "email"),
    "dispatch": ("work", "dispatch"),
    "dispatch-2": ("work", "dispatch"),
    "relay-2": ("work", "relay"),
}


async def measure(cluster: Cluster, url: str, sent: dict[str, float], options: argparse.Namespace) -> None:
    """Rounds of both; the ids go to `sent`."""
    databases = await Databases.open({"gateway": url})
    try:
        first = cluster.processes["gateway"].port
        await _round("(warm)", [first], cluster, databases, sent, options)
        for number in range(1, options.rounds + 1):
            await _round(f"{number}: one of each", [first], cluster, databases, sent, options)
            for name, verb in MORE.items():
                await asyncio.to_thread(cluster.add_role(name, *verb).wait_ready)
            ports = [first, cluster.processes["gateway-2"].port]
            await _round(
                f"{number}: 2 gateways, 3 email, 2 dispatchers, 2 relays", ports, cluster, databases, sent, options
            )
            for name in MORE:
                await asyncio.to_thread(cluster.processes.pop(name).stop)
    finally:
        await databases.close()


async def _round(
    title: str,
    ports: Sequence[int],
    cluster: Cluster,
    databases: Databases,
    sent: dict[str, float],
    options: argparse.Namespace,
) -> None:
    """Flat out through all of these gateways, until all is SENT."""
    before = cpu(cluster.processes)
    begun, each = time.time(), options.total // len(ports)
    loads = (flat_out(port, API_KEY, options.connections // len(ports), each, send_one) for port in ports)
    found = await asyncio.gather(*loads)
    for ids in found:
        sent.update(ids)
    count = sum(map(len, found))
    ended = await all_sent(databases, len(sent))
    print(f"  {title:52} {count / (ended - begun):8.0f} /s   (accepted -> SENT)")
    spent = {name: 1000 * (seconds - before[name]) / count for name, seconds in cpu(cluster.processes).items()}
    print(
        "    CPU per 1,000: "
        + ", ".join(f"{name} {seconds:.2f} s" for name, seconds in spent.items() if seconds > 0.005)
    )


async def check(url: str, sent: dict[str, float], mails: dict[str, list[float]]) -> list[str]:
    """What was not as promised."""
    databases = await Databases.open({"gateway": url})
    try:
        return await faults(databases, set(sent), mails)
    finally:
        await databases.close()


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m bench.scaling", description=__doc__)
    parser.add_argument("--total", type=int, default=5_000, help="notifications in a round")
    parser.add_argument("--connections", type=int, default=400, help="connections to all gateways")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--delay", type=float, default=0.0, help="seconds that the mail server takes for a mail")
    options = parser.parse_args()
    sent: dict[str, float] = {}
    with started("scaled-out", options.delay) as (cluster, urls, sinks):
        asyncio.run(measure(cluster, urls["gateway"], sent, options))
        time.sleep(SINK_SECONDS)
        found = asyncio.run(check(urls["gateway"], sent, received(sinks.mails)))
    print("\nevery id: SENT once, seen by the sink once, positions dense" if not found else "\n".join(found[:20]))
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
