"""`python -m bench`: accept -> SMTP sink -> SENT recorded, as processes on real servers or embedded.

Prints throughput, CPU per 1,000 notifications by role, and latency at a paced rate. Every id is checked: SENT once,
seen by the sink once, positions of the log dense. Exits with 1 when one is not.
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from secrets import token_hex

from api.database import Databases
from bench.load import flat_out, in_batches, paced, send_one
from tests.servers.postgres import PostgresServer
from tests.servers.rabbitmq import RabbitMQServer
from tests.servers.redis import RedisServer
from tests.servers.roles import API_KEY, Cluster, Process, free_port

SETTLE_SECONDS = 120.0
BATCH_SIZE = 500
SINK_SECONDS = 0.5
"""The sink writes its file a few times in that time."""


@contextmanager
def scaled_out(folder: Path, sink_port: int) -> Iterator[tuple[Cluster, dict[str, str]]]:
    """Every role a process, on PostgreSQL, RabbitMQ and Redis."""
    with ExitStack() as stack:
        postgres = stack.enter_context(PostgresServer())
        rabbitmq = stack.enter_context(RabbitMQServer())
        redis = stack.enter_context(RedisServer())
        urls = {name: postgres.create_database(name) for name in ("gateway", "users", "templates")}
        users_port, templates_port = free_port(), free_port()
        env = {
            "HELIOGRAPH_BROKER_URL": rabbitmq.url,
            "HELIOGRAPH_FEED_URL": redis.url,
            "HELIOGRAPH_CACHE_URL": redis.url,
            "HELIOGRAPH_SERVICE_TOKEN": token_hex(16),
            "HELIOGRAPH_SECRET": token_hex(16),
            "HELIOGRAPH_USERS_URL": f"http://127.0.0.1:{users_port}",
            "HELIOGRAPH_TEMPLATES_URL": f"http://127.0.0.1:{templates_port}",
            **{f"HELIOGRAPH_{name.upper()}_DATABASE_URL": url for name, url in urls.items()},
            **_common(sink_port),
        }
        cluster = Cluster(folder, env)
        stack.callback(cluster.stop)
        cluster.add_role("users", "serve", "users", port=users_port)
        cluster.add_role("templates", "serve", "templates", port=templates_port)
        cluster.add_role("gateway", "serve", "gateway")
        cluster.add_role("relay", "work", "relay")
        cluster.add_role("email", "work", "email")
        yield cluster, urls


@contextmanager
def embedded(folder: Path, sink_port: int) -> Iterator[tuple[Cluster, dict[str, str]]]:
    """Everything in one process, on SQLite."""
    cluster = Cluster(folder, {"HELIOGRAPH_VAR_DIR": str(folder / "var"), **_common(sink_port)})
    try:
        cluster.add_role("gateway", "up")
        yield cluster, {"gateway": f"sqlite://{folder}/var/gateway.db"}
    finally:
        cluster.stop()


def _common(sink_port: int) -> dict[str, str]:
    return {
        "HELIOGRAPH_API_KEY": API_KEY,
        "HELIOGRAPH_SMTP_URL": f"smtp://127.0.0.1:{sink_port}?starttls=never",
        "HELIOGRAPH_LOG_LEVEL": "WARNING",
    }


def received(out: Path) -> dict[str, list[float]]:
    """When the sink took each notification's mail."""
    mails: dict[str, list[float]] = {}
    for line in out.read_text().splitlines():
        moment, message_id = line.split(" ", 1)
        mails.setdefault(message_id.strip("<>").split("@")[0], []).append(float(moment))
    return mails


async def all_sent(databases: Databases, count: int) -> float:
    """Wait until `count` notifications are SENT in the database; when that was."""
    ends_at, sent = time.monotonic() + SETTLE_SECONDS, 0
    while time.monotonic() < ends_at:
        rows = await databases["gateway"].query("SELECT count(*) AS n FROM notifications WHERE status = 'SENT'")
        sent = rows[0]["n"]
        if sent >= count:
            return time.time()
        await asyncio.sleep(0.1)
    raise RuntimeError(f"only {sent} of {count} were sent within {SETTLE_SECONDS:g} s")


async def faults(databases: Databases, ids: set[str], mails: Mapping[str, list[float]]) -> list[str]:
    """Everything that is not as promised; empty when all is well."""
    rows = await databases["gateway"].query("SELECT id, status FROM notifications")
    statuses = {row["id"]: row["status"] for row in rows}
    log = await databases["gateway"].query("SELECT position, notification_id, sequence, status FROM status_log")
    sent = Counter(row["notification_id"] for row in log if row["status"] == "SENT")
    found = [f"{id} was accepted and is not there" for id in ids - statuses.keys()]
    found += [f"{id} is {status}" for id, status in statuses.items() if status != "SENT"]
    found += [f"{id} was SENT {sent[id]} times" for id in statuses if sent[id] != 1]
    found += [f"{id}: the sink saw {len(mails.get(id, []))} mails" for id in statuses if len(mails.get(id, [])) != 1]
    positions = sorted(row["position"] for row in log)
    if positions != list(range(1, len(positions) + 1)):
        found.append("the log's positions are not dense")
    return found


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
    print(f"  at {options.rate:g}/s: answer      {_quantiles(answers)}")
    print(f"  at {options.rate:g}/s: in the sink {_quantiles([mails[id][0] - at for id, at in sent.items()])}")
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


def _quantiles(seconds: list[float]) -> str:
    cuts = statistics.quantiles(seconds, n=100)
    return f"p50 {cuts[49] * 1000:6.1f} ms   p95 {cuts[94] * 1000:6.1f} ms   p99 {cuts[98] * 1000:6.1f} ms"


def run(name: str, options: argparse.Namespace) -> list[str]:
    """One engine, from start to stop."""
    engines = {"embedded": embedded, "scaled-out": scaled_out}
    with tempfile.TemporaryDirectory(prefix="heliograph-bench-") as temporary:
        folder, sink_port = Path(temporary), free_port()
        out = folder / "mails"
        sink = Process(
            "sink", [sys.executable, "-m", "bench.sink", str(sink_port), str(out)], {}, folder / "sink.log", 0
        )
        try:
            with engines[name](folder, sink_port) as (cluster, urls):
                for process in cluster.processes.values():
                    process.wait_ready()
                print(f"\n{name}")
                return asyncio.run(measure(cluster, urls, out, options))
        finally:
            sink.stop()


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--engine", choices=["embedded", "scaled-out", "both"], default="both")
    parser.add_argument("--total", type=int, default=10_000, help="notifications sent flat out")
    parser.add_argument("--connections", type=int, default=64, help="connections to the gateway")
    parser.add_argument("--rate", type=float, default=50.0, help="notifications per second when paced")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long the paced part takes")
    options = parser.parse_args()
    chosen = ["embedded", "scaled-out"] if options.engine == "both" else [options.engine]
    found = [f"{name}: {fault}" for name in chosen for fault in run(name, options)]
    print("\nevery id: SENT once, seen by the sink once, positions dense" if not found else "\n".join(found[:20]))
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
