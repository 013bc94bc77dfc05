"""Records what every role of a running system tells Prometheus: `python -m tests.deploy.record` writes `scrapes/`.

The tests play alerts on top of these recordings. Record again when a metric's name or labels change.
"""

import asyncio
import re
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from tests.deploy.files import ROLES
from tests.deploy.metrics import SCRAPES
from tests.e2e.api import Api
from tests.e2e.conftest import Running, start_compose
from tests.servers.postgres import PostgresServer
from tests.servers.rabbitmq import RabbitMQServer
from tests.servers.redis import RedisServer
from tests.servers.roles import API_KEY

SETTLE_SECONDS = 6.0
"""Gateways look at the queues every two seconds, and all roles at what they need."""
_OURS = re.compile(r"(# (HELP|TYPE) )?(heliograph_|process_(resident|cpu))(?!\w*_created)")
_NAMES = re.compile(r'(instance|version)="[^"]*"')


async def traffic(port: int) -> None:
    """A little of everything: mail and push that are sent, and one mail that is refused for good."""
    async with Api(port, API_KEY) as api:
        sent = [await api.send_one() for _ in range(3)]
        push = {"channels": ["PUSH"], "recipient": {"device_token": "sandbox-recorded"}}
        sent.append(await api.send_one(**push))
        sent.append(await api.send_one(recipient={"email": "bounce@sandbox.heliograph.test"}))
        for id in sent:
            await api.until(id, "SENT", "FAILED", "BOUNCED", "DELIVERED")


async def record(running: Running) -> None:
    """Write the recording of each role."""
    await traffic(running.port)
    await asyncio.sleep(SETTLE_SECONDS)
    SCRAPES.mkdir(exist_ok=True)
    async with httpx.AsyncClient(timeout=10.0) as http:
        for role in ROLES:
            if role in running.cluster.processes:
                answer = await http.get(f"http://127.0.0.1:{running.cluster.processes[role].port}/metrics")
                lines = [line for line in answer.text.splitlines() if _OURS.match(line)]
                text = "\n".join(lines) + "\n"
                # Nothing of the machine that it was recorded on.
                (SCRAPES / f"{role}.prom").write_text(_NAMES.sub(r'\1="recorded"', text))


def main() -> None:
    """Start a system on private servers, use it, and record it."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="heliograph-record-")))
        postgres = stack.enter_context(PostgresServer())
        rabbitmq = stack.enter_context(RabbitMQServer())
        redis = stack.enter_context(RedisServer())
        place = folder / "record"
        place.mkdir()
        asyncio.run(record(start_compose(stack, postgres, rabbitmq, redis, place)))


if __name__ == "__main__":
    main()
