"""`python -m tests.servers`: run all three servers until Ctrl-C.

Prints what to put into the environment, so that tests and benchmarks use these instead of starting their own.
"""

import argparse
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from types import FrameType

from tests.servers.install import POSTGRESQL, RABBITMQ, REDIS
from tests.servers.postgres import PostgresServer
from tests.servers.process import ServerProcess
from tests.servers.rabbitmq import API_VARIABLE, RabbitMQServer
from tests.servers.redis import RedisServer


def main() -> None:
    """Start, tell, wait, stop."""
    parser = argparse.ArgumentParser(prog="python -m tests.servers", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--fsync", action="store_true", help="PostgreSQL commits to the disk, as in production")
    arguments = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell starts background jobs with SIGINT ignored
        signal.signal(number, _interrupt)
    postgres, redis, rabbitmq = PostgresServer(fsync=arguments.fsync), RedisServer(), RabbitMQServer()
    servers: list[ServerProcess] = [postgres, redis, rabbitmq]
    with ExitStack() as stack:
        for server in servers:
            stack.callback(server.close)
        try:
            _start(servers)
            print(f"export {POSTGRESQL.variable}={postgres.url}")
            print(f"export {REDIS.variable}={redis.url}")
            print(f"export {RABBITMQ.variable}={rabbitmq.url}")
            print(f"export {API_VARIABLE}={rabbitmq.api_url}", flush=True)
            signal.pause()
        except KeyboardInterrupt:
            pass


def _start(servers: list[ServerProcess]) -> None:
    with ThreadPoolExecutor() as threads:
        for started in [threads.submit(server.start) for server in servers]:
            started.result()


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
