"""`heliograph dead-letters …` against the real schema, with a gateway in memory behind it."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from api.cli import dead_letters as cli_dead_letters
from api.gateway.dead_letters import DeadLetterFilter
from domain.ids import DEAD_LETTER, new_id
from domain.notification import Channel
from tests.services.gateway_fakes import Gateway
from tests.services.service_fakes import NOON
from tests.unit.cli_client import ask_instead

Run = Callable[..., Result]


@pytest.fixture
def gateway() -> Gateway:
    """A gateway without dead letters."""
    return Gateway()


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """For how long the command would have slept."""
    pauses: list[float] = []
    monkeypatch.setattr(cli_dead_letters, "sleep", pauses.append)
    return pauses


@pytest.fixture
def run(gateway: Gateway, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs a command, as somebody whose surroundings name the key."""
    ask_instead(gateway, monkeypatch, tmp_path)
    return lambda *words: CliRunner().invoke(cli_dead_letters.app, words)


def asked(gateway: Gateway) -> tuple[Any, ...]:
    """What the gateway was asked first."""
    return gateway.letters.asked[0]


class TestList:
    def test_those_that_wait_are_listed_whole_whatever_is_in_them(self, run: Run, gateway: Gateway) -> None:
        letter = gateway.letters.add(reason="[red]no\x1b[2J mailbox")
        replayed = gateway.letters.add(replayed_at=NOON)
        done = run("list")
        assert done.exit_code == 0, done.stderr
        assert letter.id in done.stdout
        assert "[red]no?[2J mailbox" in done.stdout
        assert replayed.id not in done.stdout
        assert "Page 1 of 1; 1 dead letters." in done.stderr

    def test_all_are_listed_when_all_are_asked_for(self, run: Run, gateway: Gateway) -> None:
        letters = [
            gateway.letters.add(),
            gateway.letters.add(replayed_at=NOON),
            gateway.letters.add(notification_id=None, channel=None, queue="push.queue"),
        ]
        done = run("list", "--all")
        assert all(letter.id in done.stdout for letter in letters)
        assert "push.queue" in done.stdout

    def test_a_channel_narrows_the_list_in_any_casing(self, run: Run, gateway: Gateway) -> None:
        email, push = gateway.letters.add(), gateway.letters.add(channel=Channel.PUSH)
        done = run("list", "--channel", "push")
        assert push.id in done.stdout
        assert email.id not in done.stdout

    def test_a_time_is_told_as_how_long_ago(self, run: Run, gateway: Gateway) -> None:
        before = datetime.now(UTC)
        assert run("list", "--since", "2h", "--page", "3", "--limit", "7").exit_code == 0
        where, page, limit = asked(gateway)
        assert before <= where.dead_lettered_after + timedelta(hours=2) <= datetime.now(UTC)
        assert (where.replayed, page, limit) == (False, 3, 7)


class TestReplay:
    def test_by_id(self, run: Run, gateway: Gateway) -> None:
        letters = [gateway.letters.add() for _ in range(2)]
        done = run("replay", *(letter.id for letter in letters))
        assert (done.exit_code, done.stdout, done.stderr) == (0, "Replayed 2.\n", "")
        assert asked(gateway) == ([letter.id for letter in letters], "all")

    def test_more_ids_than_a_call_takes_are_several_calls(self, run: Run, gateway: Gateway) -> None:
        letters = [gateway.letters.add() for _ in range(201)]
        assert run("replay", *(letter.id for letter in letters)).stdout == "Replayed 201.\n"
        assert [len(ids) for ids, _ in gateway.letters.asked] == [100, 100, 1]

    def test_again_is_no_failure(self, run: Run, gateway: Gateway) -> None:
        id = gateway.letters.add().id
        run("replay", id)
        done = run("replay", id)
        assert (done.exit_code, done.stdout) == (0, "Replayed 0.\n")
        assert done.stderr == f"{id}: It was replayed already.\n"

    def test_what_is_refused_is_told_and_the_rest_is_replayed(self, run: Run, gateway: Gateway) -> None:
        fine, message, unknown = gateway.letters.add(), gateway.letters.add(notification_id=None), new_id(DEAD_LETTER)
        done = run("replay", fine.id, message.id, unknown)
        assert (done.exit_code, done.stdout) == (1, "Replayed 1.\n")
        assert f"{message.id}: It is a message that nobody could read" in done.stderr
        assert f"{unknown}: There is no such dead letter.\n" in done.stderr

    def test_all_of_a_channel_since_then_at_a_rate(self, run: Run, gateway: Gateway) -> None:
        gateway.letters.add(channel=Channel.PUSH)
        gateway.letters.add()
        before = datetime.now(UTC)
        done = run("replay", "--all", "--channel", "push", "--since", "1h", "--rate", "20")
        assert (done.exit_code, done.stdout) == (0, "Replayed 1.\n")
        where, _, rate, _ = asked(gateway)
        assert (where.channel, rate) == (Channel.PUSH, 20)
        assert before <= where.dead_lettered_after + timedelta(hours=1) <= datetime.now(UTC)

    def test_it_goes_on_at_the_pace_until_none_is_left(
        self, run: Run, gateway: Gateway, slept: list[float], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(cli_dead_letters, "AT_ONCE", 4)
        for _ in range(10):
            gateway.letters.add()
        done = run("replay", "--all", "--rate", "2")
        assert (done.exit_code, done.stdout) == (0, "Replayed 10.\n")
        assert slept == [2.0, 2.0]
        assert "Replayed 4; more follow in 2 s." in done.stderr
        assert asked(gateway)[0] == DeadLetterFilter()

    @pytest.mark.parametrize(
        ("words", "line"),
        [
            (["replay"], "heliograph: name the dead letters, or give --all.\n"),
            (["replay", "dlt_1", "--all"], "heliograph: name the dead letters, or give --all.\n"),
            (["replay", "dlt_1", "--rate", "5"], "heliograph: --channel, --since and --rate go with --all.\n"),
            (["replay", "--all", "--since", "yesterday"], "heliograph: --since takes a number and s, m, h or d"),
            (["replay", "--all", "--rate", "0"], "heliograph: rate: takes 1 to 1,000\n"),
            (["list", "--limit", "500"], "heliograph: limit: takes 1 to 100\n"),
            (["list", "--key", "hg_wrong"], "heliograph: This API key is unknown or revoked.\n"),
        ],
    )
    def test_what_cannot_be_is_one_line(self, run: Run, gateway: Gateway, words: list[str], line: str) -> None:
        done = run(*words)
        assert (done.exit_code, done.stdout) == (1, "")
        assert done.stderr.startswith(line)
        assert done.stderr.count("\n") == 1
        assert gateway.letters.asked == []
