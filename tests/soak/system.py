"""The system under soak: every role twice where it may be, on private servers, with a mail sink that counts."""

import asyncio
import subprocess
import sys
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from secrets import token_hex
from typing import Self

from tests.servers.postgres import PostgresServer
from tests.servers.rabbitmq import RabbitMQServer
from tests.servers.redis import RedisServer
from tests.servers.roles import API_KEY, Cluster, Process, free_port

LEASE, DEADLINE, REDRIVE = 8.0, 2.0, 4.0
"""Seconds: short, so that what a kill leaves behind is taken up within the soak."""
SINK_DELAY = 0.2
"""Seconds between the sink's taking a mail and its answer: a kill in between leaves an outcome that nobody knows."""
ROLES = {
    "gateway-1": ("serve", "gateway"),
    "gateway-2": ("serve", "gateway"),
    "users": ("serve", "users"),
    "templates": ("serve", "templates"),
    "relay-1": ("work", "relay"),
    "relay-2": ("work", "relay"),
    "email-1": ("work", "email"),
    "email-2": ("work", "email"),
    "dispatch": ("work", "dispatch"),
}


class Soaked:
    """Everything, started together. Roles and servers can be killed and come back where they were."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ExitStack()
        self._ports = {name: free_port() for name in ROLES}
        self._out = folder / "mails"

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def gateways(self) -> list[int]:
        """The ports of the gateways."""
        return [self._ports["gateway-1"], self._ports["gateway-2"]]

    def role(self, name: str) -> Process:
        """The process that plays a role now."""
        return self._cluster.processes[name]

    def kill_role(self, name: str) -> None:
        """SIGKILL."""
        self.role(name).kill()

    async def start_role(self, name: str) -> None:
        """Bring a role back on its port, and wait until it is ready."""
        self._add(name)
        await asyncio.to_thread(self.role(name).wait_ready)

    def mails(self) -> Counter[str]:
        """How often the sink took each notification's mail."""
        lines = self._out.read_text().splitlines() if self._out.exists() else []
        return Counter(line.split(" ", 1)[1].strip("<>").split("@")[0] for line in lines)

    def _start(self) -> None:
        self.postgres = self._stack.enter_context(PostgresServer())
        self.rabbitmq = self._stack.enter_context(RabbitMQServer())
        self.redis = self._stack.enter_context(RedisServer())
        self.databases = {name: self.postgres.create_database(name) for name in ("gateway", "users", "templates")}
        self._start_sink()
        self._cluster = Cluster(self._folder, self._environment())
        self._stack.callback(self._cluster.stop)
        for name in ROLES:
            self._add(name)
        for process in self._cluster.processes.values():
            process.wait_ready()
        self.rabbitmq.sync()

    def _start_sink(self) -> None:
        self._sink_port = free_port()
        delay = ["--delay", str(SINK_DELAY)]
        command = [sys.executable, "-m", "bench.sink", str(self._sink_port), str(self._out), *delay]
        sink = subprocess.Popen(command)
        self._stack.callback(sink.wait)
        self._stack.callback(sink.terminate)

    def _add(self, name: str) -> None:
        self._cluster.add_role(name, *ROLES[name], port=self._ports[name])

    def _environment(self) -> dict[str, str]:
        return {
            "HELIOGRAPH_BROKER_URL": self.rabbitmq.url,
            "HELIOGRAPH_FEED_URL": self.redis.url,
            "HELIOGRAPH_CACHE_URL": self.redis.url,
            "HELIOGRAPH_USERS_URL": f"http://127.0.0.1:{self._ports['users']}",
            "HELIOGRAPH_TEMPLATES_URL": f"http://127.0.0.1:{self._ports['templates']}",
            "HELIOGRAPH_SERVICE_TOKEN": token_hex(16),
            "HELIOGRAPH_SECRET": token_hex(16),
            "HELIOGRAPH_API_KEY": API_KEY,
            "HELIOGRAPH_SMTP_URL": f"smtp://127.0.0.1:{self._sink_port}?starttls=never",
            "HELIOGRAPH_LEASE_SECONDS": str(LEASE),
            "HELIOGRAPH_DELIVERY_DEADLINE_SECONDS": str(DEADLINE),
            "HELIOGRAPH_REDRIVE_SECONDS": str(REDRIVE),
            "HELIOGRAPH_RETRY_SCHEDULE": "0.5,1,2,4,8,8,8,8",
            "HELIOGRAPH_LOG_LEVEL": "WARNING",
            **{f"HELIOGRAPH_{name.upper()}_DATABASE_URL": url for name, url in self.databases.items()},
        }
