"""Why, on whole systems: what each role decided is read in one query, and told by the command line."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.api import DEADLINE, Api
from tests.e2e.conftest import Running, start_embedded
from tests.servers.ports import free_ports
from tests.servers.roles import API_KEY

WHY = """query ($id: ID!) { notification(id: $id) { success message data {
  decisions { kind sentence detail attempt } waits { status from until seconds what_for }
  timeline { status occurred_at } } } }"""
ONCE = {"HELIOGRAPH_BREAKER_FAILURES": "1", "HELIOGRAPH_BREAKER_RESET_SECONDS": "3600"}


@pytest.fixture(scope="module")
def standing_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """`heliograph up` whose first email provider is not there: one failure opens its breaker, for the whole test."""
    (nobody,) = free_ports(1)
    providers = {
        "HELIOGRAPH_EMAIL_PROVIDERS": "sendgrid,smtp",
        "HELIOGRAPH_SENDGRID_API_KEY": "SG.of-nobody",
        "HELIOGRAPH_SENDGRID_URL": f"http://127.0.0.1:{nobody}",
    }
    with start_embedded(tmp_path_factory.mktemp("standing_in"), **providers, **ONCE) as running:
        yield running


async def sent(api: Api, **given: Any) -> tuple[str, dict[str, Any]]:
    """One mail that was sent: its id, and what explains it."""
    id = await api.send_one(**given)
    await api.until(id, "SENT")
    data: dict[str, Any] = (await api.payload(WHY, id=id))["data"]
    return id, data


def sentences(data: dict[str, Any], kind: str) -> list[str]:
    return [each["sentence"] for each in data["decisions"] if each["kind"] == kind]


async def test_each_role_says_what_it_decided(api: Api) -> None:
    _, data = await sent(api)
    assert sentences(data, "CHANNEL") == ["The caller asked for EMAIL."]
    assert sentences(data, "PROVIDER") == ["smtp was called, the first in order."]
    assert [each["attempt"] for each in data["decisions"] if each["kind"] == "PREFERENCE"] == [None, 1]
    waits = [(wait["status"], wait["from"]) for wait in data["waits"]]
    assert waits == [(event["status"], event["occurred_at"]) for event in data["timeline"]][:-1]


async def test_a_provider_that_was_passed_over_is_named_and_why(standing_in: Running) -> None:
    async with Api(standing_in.port, API_KEY) as api:
        _, first = await sent(api)
        id, second = await sent(api)
    (failed_over,) = sentences(first, "PROVIDER")
    assert failed_over.startswith("sendgrid was called, the first in order; smtp was called, because sendgrid refused")
    (passed_over,) = sentences(second, "PROVIDER")
    assert passed_over.startswith("sendgrid was passed over, because its breaker was open until ")
    told = await asyncio.to_thread(explain, standing_in, id)
    assert told.returncode == 0, told.stderr
    assert passed_over in told.stdout
    assert "ada@example.com" not in told.stdout


def explain(running: Running, id: str) -> subprocess.CompletedProcess[str]:
    """The command line, as an operator uses it."""
    where = ["--url", f"http://127.0.0.1:{running.port}", "--key", API_KEY]
    command = [sys.executable, "-c", "from api.cli import main; main()", "explain", id, *where]
    return subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False)
