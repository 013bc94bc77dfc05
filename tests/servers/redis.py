"""Redis for tests: a private one, or the one named in the environment."""

import os
from abc import ABC, abstractmethod
from itertools import count
from urllib.parse import urlsplit, urlunsplit

import redis

from tests.servers.install import REDIS, programs
from tests.servers.ports import free_ports, talk
from tests.servers.process import ServerProcess

_DATABASES = 16  # as many as every Redis has by default
_WORKER, _WORKERS = "PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT"


class Redis(ABC):
    """A Redis to use, wherever it runs."""

    def __init__(self) -> None:
        super().__init__()
        self._taken = count()

    @property
    @abstractmethod
    def url(self) -> str:
        """Database 0."""

    def fresh_database(self) -> str:
        """The URL of an empty database. After a while the first comes round again; pub/sub is one for all.

        Test processes that share a server share its databases out among them.
        """
        share = _DATABASES // int(os.environ.get(_WORKERS, "1"))
        first = share * int(os.environ.get(_WORKER, "gw0").removeprefix("gw"))
        number = first + next(self._taken) % share
        url = urlunsplit(urlsplit(self.url)._replace(path=f"/{number}"))
        with redis.Redis.from_url(url) as client:
            client.flushdb()
        return url


class NamedRedis(Redis):
    """The server at `url`. All its databases are flushed in turn: never name one that holds anything of worth."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url

    @property
    def url(self) -> str:
        return self._url


class RedisServer(Redis, ServerProcess):
    """A private server. It forgets everything when it ends, unless it is `durable` (every write is logged at once)."""

    name = "redis"

    def __init__(self, *, durable: bool = False) -> None:
        super().__init__()
        [self.port] = free_ports(1)
        self._durable = durable

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def prepare(self) -> None:
        """Nothing: everything is on the command line."""

    def command(self) -> list[str]:
        options = {
            "--bind": "127.0.0.1",
            "--port": str(self.port),
            "--dir": str(self.directory),
            "--databases": str(_DATABASES),
            "--save": "",
            "--appendonly": "yes" if self._durable else "no",
            "--appendfsync": "always",
        }
        return [str(programs(REDIS)["redis-server"]), *(word for pair in options.items() for word in pair)]

    def is_ready(self) -> bool:
        # That it is this process that answers, not another one that has taken the port.
        return f"process_id:{self.pid}\r\n".encode() in talk(self.port, b"INFO server\r\n")


def redis_from(environment: dict[str, str]) -> NamedRedis | RedisServer:
    """The server that `environment` names, else a private one, not yet started."""
    url = environment.get(REDIS.variable)
    return NamedRedis(url) if url else RedisServer()
