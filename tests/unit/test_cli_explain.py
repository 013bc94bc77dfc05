"""`heliograph explain …` against the real schema, with a gateway in memory behind it."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from api import cli
from api.cli import explain as cli_explain
from domain.notification import Outcome, Status
from tests.services.gateway_fakes import READER, Gateway
from tests.services.service_fakes import NOON
from tests.unit.cli_client import ask_instead
from tests.unit.explained import call

Run = Callable[..., Result]


@pytest.fixture
def gateway() -> Gateway:
    """A gateway without notifications."""
    return Gateway()


@pytest.fixture
def run(gateway: Gateway, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs the command, as somebody whose surroundings name the key."""
    ask_instead(gateway, monkeypatch, tmp_path)
    return lambda *words: CliRunner().invoke(cli.app, ["explain", *words])


def sent(gateway: Gateway, request_id: str = "r", count: int = 1) -> list[str]:
    """Mails that were accepted; their ids."""
    to = [{"recipient": {"email": f"ada{number}@example.com"}} for number in range(count)]
    given = {"request_id": request_id, "recipients": to, "content": {"subject": "Hi", "text": "Hello"}}
    query = "mutation ($i: SendBatchInput!) { send_batch(input: $i) { data { notifications { id } } } }"
    answer = asyncio.run(gateway.post(query, {"i": given})).json()
    return [each["id"] for each in answer["data"]["send_batch"]["data"]["notifications"]]


def failed(gateway: Gateway, id: str) -> None:
    gateway.store.tries[id] = [
        call(1, Outcome.PERMANENT, code="5.1.1", detail="\x1b[31mno such mailbox", started_at=NOON)
    ]
    gateway.store.change(id, Status.QUEUED)
    gateway.store.change(id, Status.SENDING, attempt=1)
    detail: dict[str, Any] = {"given_up": "permanent"}
    gateway.store.change(id, Status.FAILED, "No such mailbox.", attempt=1, detail=detail)


def test_a_notification_is_told_with_masked_contact_points_and_what_one_can_do(run: Run, gateway: Gateway) -> None:
    (id,) = sent(gateway)
    failed(gateway, id)
    letter = gateway.letters.add(notification_id=id)
    done = run(id)
    assert done.exit_code == 0, done.stderr
    first, *_, last = done.stdout.strip().splitlines()
    assert first == f"{id}  EMAIL to a***@example.com  FAILED: No such mailbox."
    assert last == f"You can start it again: heliograph dead-letters replay {letter.id}"
    assert "attempt 1: smtp PERMANENT (5.1.1) after 5 ms: ?[31mno such mailbox" in done.stdout
    assert "ada0" not in done.stdout


def test_who_may_not_see_dead_letters_is_told_the_story_all_the_same(
    run: Run, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    (id,) = sent(gateway)
    failed(gateway, id)
    monkeypatch.setenv("HELIOGRAPH_API_KEY", READER)
    done = run(id)
    assert done.exit_code == 0
    assert "RETRY: It is not tried again: refused for good." in done.stdout
    assert "heliograph dead-letters replay dlt_…" in done.stdout


def test_a_request_is_one_line_for_each_of_its_notifications_over_all_pages(
    run: Run, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli_explain, "PAGE", 2)
    ids = sent(gateway, count=5)
    done = run("r")
    assert done.exit_code == 0, done.stderr
    told = done.stdout.strip().splitlines()
    assert [line.split()[0] for line in told] == ids
    assert all(line.endswith("ACCEPTED") for line in told)


def test_with_all_each_one_has_its_story(run: Run, gateway: Gateway) -> None:
    ids = sent(gateway, count=2)
    done = run("r", "--all")
    assert [done.stdout.index(id) for id in ids] == sorted(done.stdout.index(id) for id in ids)
    assert done.stdout.count("CHANNEL: ") == done.stdout.count("Next: ") == 2


def test_as_json_it_is_the_data_and_masked_too(run: Run, gateway: Gateway) -> None:
    (id,) = sent(gateway)
    (data,) = json.loads(run(id, "--json").stdout)
    assert (data["id"], data["recipient"]["email"]) == (id, "a***@example.com")
    assert data["decisions"][0]["kind"] == "CHANNEL"
    assert data["waits"][0]["status"] == "ACCEPTED"
    assert "ada0@example.com" not in run("r", "--json").stdout


@pytest.mark.parametrize("id", ["ntf_nothing", "no-such-request"])
def test_what_is_not_there_is_one_line_and_the_exit_status_1(run: Run, gateway: Gateway, id: str) -> None:
    done = run(id)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith("heliograph: There is no ")
