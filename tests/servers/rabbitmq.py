"""RabbitMQ for tests: a private one, or the one named in the environment."""

import os
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping
from urllib.parse import quote, urlsplit, urlunsplit

import httpx

from tests.servers.install import RABBITMQ, programs
from tests.servers.ports import free_ports, talk
from tests.servers.process import ServerProcess

API_VARIABLE = "HELIOGRAPH_TEST_RABBITMQ_API_URL"

_CONFIGURATION = """\
listeners.tcp.1 = 127.0.0.1:{port}
management.tcp.ip = 127.0.0.1
management.tcp.port = {api_port}
log.file = false
log.console = true
log.console.level = warning
"""

# The port mapper belongs to this broker alone, and as its child it is found and killed with it. It must answer before
# Erlang starts, which would otherwise start one of its own that outlives everything.
_RUN = """\
"$1" -port "$2" -address 127.0.0.1 &
until "$1" -port "$2" -names >/dev/null 2>&1; do sleep 0.01; done
exec "$3" -noinput
"""


class RabbitMQ(ABC):
    """A RabbitMQ to make virtual hosts in, wherever it runs. It needs the management plugin."""

    @property
    @abstractmethod
    def url(self) -> str:
        """The default virtual host."""

    @property
    @abstractmethod
    def api_url(self) -> str:
        """The management API."""

    def create_vhost(self, name: str) -> str:
        """Make an empty virtual host and return its URL."""
        self.call("PUT", f"vhosts/{quote(name, safe='')}")
        return urlunsplit(urlsplit(self.url)._replace(path=f"/{quote(name, safe='')}"))

    def delete_vhost(self, name: str) -> None:
        """Remove a virtual host with all that is in it, whoever is still connected."""
        self.call("DELETE", f"vhosts/{quote(name, safe='')}")

    def call(self, method: str, path: str) -> httpx.Response:
        """One call of the management API, below `/api/`."""
        parts = urlsplit(self.url)
        credentials = (parts.username or "guest", parts.password or "guest")
        # trust_env: a proxy named in the environment is not for loopback.
        with httpx.Client(base_url=f"{self.api_url}/api/", auth=credentials, trust_env=False, timeout=30.0) as client:
            return client.request(method, path).raise_for_status()


class NamedRabbitMQ(RabbitMQ):
    """The server at `url`; its user must be an administrator."""

    def __init__(self, url: str, api_url: str | None = None) -> None:
        self._url = url
        self._api_url = api_url or f"http://{urlsplit(url).hostname}:15672"

    @property
    def url(self) -> str:
        return self._url

    @property
    def api_url(self) -> str:
        return self._api_url


class RabbitMQServer(ServerProcess, RabbitMQ):
    """A private broker: a node of its own, with its own port mapper (epmd), cookie and plugins.

    Call `sync` between declaring quorum queues and `kill`.
    """

    name = "rabbitmq"

    def __init__(self) -> None:
        super().__init__()
        self.port, self.api_port, self.distribution_port, self.epmd_port = free_ports(4)

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    @property
    def api_url(self) -> str:
        return f"http://127.0.0.1:{self.api_port}"

    def prepare(self) -> None:
        write = {
            "rabbitmq.conf": _CONFIGURATION.format(port=self.port, api_port=self.api_port),
            "plugins": "[rabbitmq_management].\n",
            # Empty ones, so that the machine's own configuration is not read.
            "advanced.config": "[].\n",
            "environment.conf": "",
        }
        for name, text in write.items():
            (self.directory / name).write_text(text)

    def command(self) -> list[str]:
        found = programs(RABBITMQ)
        return ["sh", "-c", _RUN, self.name, str(found["epmd"]), str(self.epmd_port), str(found["rabbitmq-server"])]

    def environment(self) -> Mapping[str, str]:
        here = self.directory
        return {
            "HOME": str(here),  # where Erlang keeps its cookie
            "RABBITMQ_NODENAME": f"heliograph-{self.port}@localhost",
            "RABBITMQ_MNESIA_BASE": str(here / "mnesia"),
            "RABBITMQ_LOG_BASE": str(here / "log"),
            "RABBITMQ_CONFIG_FILE": str(here / "rabbitmq.conf"),
            "RABBITMQ_CONFIG_FILES": str(here / "conf.d" / "*.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(here / "advanced.config"),
            "RABBITMQ_CONF_ENV_FILE": str(here / "environment.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(here / "plugins"),
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self.distribution_port),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            # The script becomes the broker instead of watching over it: signals reach the broker itself.
            "RABBITMQ_ALLOW_INPUT": "1",
            "ERL_EPMD_PORT": str(self.epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
        }

    def sync(self) -> None:
        """Return when every queue declared so far is on disk.

        RabbitMQ writes its registry of quorum queues up to three seconds late. One that it has not written before a
        kill is still declared afterwards, but has no leader ever again: publishing to it and reading from it hang.
        """
        self._evaluate("[ok = dets:sync(Table) || Table <- dets:all()].")

    def _evaluate(self, expression: str) -> None:
        subprocess.run(
            [str(programs(RABBITMQ)["rabbitmqctl"]), "eval", expression],
            env={**os.environ, **self.environment()},
            cwd=self.directory,
            stdout=subprocess.DEVNULL,
            check=True,
        )

    def is_ready(self) -> bool:
        # A broker answers the protocol header with a method frame (type 1).
        if not talk(self.port, b"AMQP\x00\x00\x09\x01").startswith(b"\x01"):
            return False
        try:
            self.call("GET", "overview")
        except httpx.HTTPError:
            return False
        return True


def rabbitmq_from(environment: dict[str, str]) -> NamedRabbitMQ | RabbitMQServer:
    """The server that `environment` names, else a private one, not yet started."""
    url = environment.get(RABBITMQ.variable)
    return NamedRabbitMQ(url, environment.get(API_VARIABLE)) if url else RabbitMQServer()
