"""`python -m bench`: accept -> SMTP sink -> SENT recorded, as processes on real servers or embedded.

Prints throughput, CPU per 1,000 notifications by role, and latency at a paced rate. Every id is checked: SENT once,
seen by the sink once, positions of the log dense. Exits with 1 when one is not.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from api.database import Databases
from bench.engines import ENGINES, SINK_SECONDS, all_sent, faults, quantiles, received, started
from bench.load import flat_out, in_batches, paced, send_one
from tests.servers.roles import API_KEY, Cluster, Process

BATCH_SIZE = 500


async def measure(cluster: Cluster, urls: Mapping[str, str], out: Path, options: argparse.Namespace) -> list[str]:
    """Run the load and print the figures; what was not as promised."""
    databases = await Databases.open({"gateway": urls["gateway"]})
    try:
        port = cluster.processes["gateway"].port
        warm = await flat_out(port, API_KEY, 4, 200, send_one)
        await all_sent(databases, len(warm))
        slow = await measure_paced(databases, port, out, len(warm), options)
        done = len(warm) + len(slow)
        sent = await measure_flat_out(databases, cluster, done, options)
        await measure_batches(databases, port, done + len(sent), options)
        await asyncio.sleep(SINK_SECONDS)
        return await faults(databases, {*warm, *slow, *sent}, received(out))
    finally:
        await databases.close()


async def measure_paced(
    databases: Databases, port: int, out: Path, done: int, options: argparse.Namespace
) -> dict[str, float]:
    """Latency at a steady rate: until the mutation is answered, and until the mail server has it."""
    sent, answers = await paced(port, API_KEY, options.rate, options.seconds)
    await all_sent(databases, done + len(sent))
    await asyncio.sleep(SINK_SECONDS)
    mails = received(out)
    print(f"  at {options.rate:g}/s: answer      {quantiles(answers)}")
    print(f"  at {options.rate:g}/s: in the sink {quantiles([mails[id][0] - at for id, at in sent.items()])}")
    return sent


async def measure_flat_out(
    databases: Databases, cluster: Cluster, done: int, options: argparse.Namespace
) -> dict[str, float]:
    """Throughput of single mutations, and what each role costs."""
    before, begun = cpu(cluster.processes), time.time()
    sent = await flat_out(cluster.processes["gateway"].port, API_KEY, options.connections, options.total, send_one)
    accepted = time.time()
    ended = await all_sent(databases, done + len(sent))
    print(f"  accepted          {len(sent) / (accepted - begun):8.0f} /s")
    print(f"  accepted -> SENT  {len(sent) / (ended - begun):8.0f} /s   ({len(sent)} in {ended - begun:.1f} s)")
    for name, seconds in cpu(cluster.processes).items():
        print(f"  CPU per 1,000     {1000 * (seconds - before[name]) / len(sent):8.3f} s   {name}")
    return sent


async def measure_batches(databases: Databases, port: int, done: int, options: argparse.Namespace) -> None:
    """Throughput of `send_batch`."""
    begun = time.time()
    count = await in_batches(port, API_KEY, options.total, BATCH_SIZE)
    ended = await all_sent(databases, done + count)
    print(f"  in batches of {BATCH_SIZE} {count / (ended - begun):8.0f} /s   (accepted -> SENT)")


def cpu(processes: Mapping[str, Process]) -> dict[str, float]:
    """CPU seconds by process."""
    return {name: process.cpu_seconds for name, process in processes.items()}


def run(name: str, options: argparse.Namespace) -> list[str]:
    """One engine, from start to stop."""
    with started(name) as (cluster, urls, sinks):
        return asyncio.run(measure(cluster, urls, sinks.mails, options))


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--engine", choices=[*ENGINES, "both"], default="both")
    parser.add_argument("--total", type=int, default=10_000, help="notifications sent flat out")
    parser.add_argument("--connections", type=int, default=64, help="connections to the gateway")
    parser.add_argument("--rate", type=float, default=50.0, help="notifications per second when paced")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long the paced part takes")
    options = parser.parse_args()
    chosen = list(ENGINES) if options.engine == "both" else [options.engine]
    found = [f"{name}: {fault}" for name in chosen for fault in run(name, options)]
    print("\nevery id: SENT once, seen by the sink once, positions dense" if not found else "\n".join(found[:20]))
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
