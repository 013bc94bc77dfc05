"""What is measured: the system as processes, a provider that keeps what it took, and the check of every id."""

import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from secrets import token_hex

from api.database import Databases
from tests.servers.postgres import PostgresServer
from tests.servers.rabbitmq import RabbitMQServer
from tests.servers.redis import RedisServer
from tests.servers.roles import API_KEY, Cluster, Process, free_port

SETTLE_SECONDS = 120.0
SINK_SECONDS = 0.5
"""A sink writes its file a few times in that time."""


class Sinks:
    """A mail server and an FCM, each a process of its own; `mails` and `pushes` are the files that they write.

    The mail server answers a mail `delay` seconds after it was taken.
    """

    def __init__(self, folder: Path, delay: float = 0.0) -> None:
        self.mails, self.pushes = folder / "mails", folder / "pushes"
        self.smtp_port, self.fcm_port = free_port(), free_port()
        self.smtp = _sink("smtp", self.smtp_port, self.mails, "--delay", str(delay))
        self.fcm = _sink("fcm", self.fcm_port, self.pushes)

    def stop(self) -> None:
        """Stop both."""
        self.smtp.stop()
        self.fcm.stop()


def _sink(protocol: str, port: int, out: Path, *more: str) -> Process:
    command = [sys.executable, "-m", "bench.sink", str(port), str(out), "--protocol", protocol, *more]
    return Process(protocol, command, {}, out.with_suffix(".log"), 0)


@contextmanager
def scaled_out(folder: Path, sinks: Sinks) -> Iterator[tuple[Cluster, dict[str, str]]]:
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
            **_common(sinks),
        }
        cluster = Cluster(folder, env)
        stack.callback(cluster.stop)
        cluster.add_role("users", "serve", "users", port=users_port)
        cluster.add_role("templates", "serve", "templates", port=templates_port)
        cluster.add_role("gateway", "serve", "gateway")
        cluster.add_role("relay", "work", "relay")
        cluster.add_role("email", "work", "email")
        cluster.add_role("push", "work", "push")
        yield cluster, urls


@contextmanager
def embedded(folder: Path, sinks: Sinks) -> Iterator[tuple[Cluster, dict[str, str]]]:
    """Everything in one process, on SQLite."""
    cluster = Cluster(folder, {"HELIOGRAPH_VAR_DIR": str(folder / "var"), **_common(sinks)})
    try:
        cluster.add_role("gateway", "up")
        yield cluster, {"gateway": f"sqlite://{folder}/var/gateway.db"}
    finally:
        cluster.stop()


def _common(sinks: Sinks) -> dict[str, str]:
    return {
        "HELIOGRAPH_API_KEY": API_KEY,
        "HELIOGRAPH_SMTP_URL": f"smtp://127.0.0.1:{sinks.smtp_port}?starttls=never",
        "HELIOGRAPH_FCM_URL": f"http://127.0.0.1:{sinks.fcm_port}",
        "HELIOGRAPH_LOG_LEVEL": os.environ.get("HELIOGRAPH_LOG_LEVEL", "WARNING"),
    }


ENGINES = {"embedded": embedded, "scaled-out": scaled_out}


@contextmanager
def started(name: str, delay: float = 0.0) -> Iterator[tuple[Cluster, dict[str, str], Sinks]]:
    """An engine with its sinks, ready; its processes, its databases' URLs, and what the sinks took."""
    with tempfile.TemporaryDirectory(prefix="heliograph-bench-") as temporary, ExitStack() as stack:
        folder = Path(temporary)
        sinks = Sinks(folder, delay)
        stack.callback(sinks.stop)
        cluster, urls = stack.enter_context(ENGINES[name](folder, sinks))
        for process in cluster.processes.values():
            process.wait_ready()
        print(f"\n{name}")
        yield cluster, urls, sinks


def quantiles(seconds: Sequence[float]) -> str:
    """Median and the tail, to be read."""
    cuts = statistics.quantiles(seconds, n=100)
    return f"p50 {cuts[49] * 1000:6.1f} ms   p95 {cuts[94] * 1000:6.1f} ms   p99 {cuts[98] * 1000:6.1f} ms"


def received(out: Path) -> dict[str, list[float]]:
    """When a sink took what of which notification."""
    taken: dict[str, list[float]] = {}
    for line in out.read_text().splitlines():
        moment, message_id = line.split(" ", 1)
        taken.setdefault(message_id.strip("<>").split("@")[0], []).append(float(moment))
    return taken


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
