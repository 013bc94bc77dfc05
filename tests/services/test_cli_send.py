"""`heliograph send` against a real gateway: what it says, to people and to programs, and how it ends."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from domain.notification import Status
from tests.services.command_line import Served, heliograph, on_a_terminal, served, started
from tests.services.gateway_fakes import KEY, READER
from tests.services.socket_client import until

ADA = ("--to", "ada@example.com")
WORDS = ("--subject", "Hi", "--text", "Hello")
CLEAR_SCREEN = "\x1b[2J"


@pytest.fixture
async def here() -> AsyncIterator[Served]:
    """A gateway with nothing in it."""
    async with served() as running:
        yield running


async def finish(here: Served, *statuses: Status, reason: str | None = None) -> None:
    """Wait until it was accepted, and let this become of all of it; the reason is for the last one."""
    await until(lambda: bool(here.gateway.store.views))
    for id in here.gateway.store.views:
        for status in statuses:
            here.gateway.store.change(id, status, reason if status is statuses[-1] else None)


class TestSending:
    async def test_what_was_accepted_is_a_line_each(self, here: Served) -> None:
        done = await heliograph("send", *ADA, "--to", "bo@example.com", *WORDS, "--request-id", "r-1", url=here.url)
        assert done.status == 0, done.err
        first, second = done.out.splitlines()
        assert first.split() == [next(iter(here.gateway.store.views)), "EMAIL", "ada@example.com", "ACCEPTED"]
        assert second.split()[2] == "bo@example.com"
        assert done.err == "heliograph: 2 accepted as request r-1.\n"

    async def test_the_same_again_is_said_to_be_that(self, here: Served) -> None:
        words = ("send", *ADA, *WORDS, "--request-id", "r-1")
        await heliograph(*words, url=here.url)
        done = await heliograph(*words, url=here.url)
        assert (done.status, done.err) == (0, "heliograph: 1 accepted before as request r-1.\n")
        assert len(here.gateway.store.views) == 1

    async def test_programs_get_json(self, here: Served) -> None:
        done = await heliograph("send", *ADA, *WORDS, "--json", url=here.url)
        receipt = json.loads(done.out)
        assert (done.status, done.err) == (0, "")
        assert receipt["notifications"][0]["id"] in here.gateway.store.views

    async def test_variables_come_from_a_file_and_from_the_command_line(self, here: Served, tmp_path: Path) -> None:
        file = tmp_path / "variables.json"
        file.write_text('{"name": "Ada", "count": 1}')
        words = ("--subject", "{{ name }} {{ count }} {{ more.deep }}", "--text", "x", "--vars", str(file))
        named = ("--var", "count:=7", "--var", 'more:={"deep": "=:"}')
        done = await heliograph("send", *ADA, *words, *named, url=here.url)
        assert done.status == 0, done.err
        ((order, _),) = here.gateway.store.orders.values()
        assert order.variables == {"name": "Ada", "count": 7, "more": {"deep": "=:"}}


class TestWatching:
    async def test_each_status_is_a_line_and_sent_is_well(self, here: Served) -> None:
        async with started("send", *ADA, *WORDS, "--watch", url=here.url) as command:
            await finish(here, Status.QUEUED, Status.SENDING, Status.SENT)
            done = await command.done()
        assert done.status == 0, done.err
        assert [line.split()[-1] for line in done.out.splitlines()] == ["ACCEPTED", "QUEUED", "SENDING", "SENT"]

    @pytest.mark.parametrize("status", [Status.FAILED, Status.SKIPPED, Status.EXPIRED, Status.CANCELLED])
    async def test_what_was_not_sent_is_the_exit_status_1(self, here: Served, status: Status) -> None:
        async with started("send", *ADA, *WORDS, "--watch", url=here.url) as command:
            await finish(here, status, reason="Because.")
            done = await command.done()
        assert (done.status, done.out.splitlines()[-1].split()[-2:]) == (1, [status, "Because."])

    async def test_one_of_many_that_failed_is_the_exit_status_1(self, here: Served) -> None:
        async with started("send", *ADA, "--to", "bo@example.com", *WORDS, "--watch", url=here.url) as command:
            await until(lambda: len(here.gateway.store.views) == 2)
            first, second = here.gateway.store.views
            here.gateway.store.change(first, Status.FAILED)
            here.gateway.store.change(second, Status.SENT)
            done = await command.done()
        assert done.status == 1
        assert len(done.out.splitlines()) == 4

    async def test_programs_get_the_receipt_and_then_an_event_a_line(self, here: Served) -> None:
        async with started("send", *ADA, *WORDS, "--watch", "--json", url=here.url) as command:
            await finish(here, Status.QUEUED, Status.SENT)
            done = await command.done()
        receipt, *events = map(json.loads, done.out.splitlines())
        assert receipt["accepted"] == 1
        assert [event["status"] for event in events] == ["ACCEPTED", "QUEUED", "SENT"]
        assert all(event["cursor"] for event in events)

    @pytest.mark.parametrize("more", [(), ("--json",)])
    async def test_no_reason_reaches_the_terminal_as_a_command_to_it(self, here: Served, more: tuple[str, ...]) -> None:
        reason = f"{CLEAR_SCREEN}[red]no\x9b2J\nmailbox\u202e"
        async with started("send", *ADA, *WORDS, "--watch", *more, url=here.url) as command:
            await finish(here, Status.FAILED, reason=reason)
            done = await command.done()
        assert not set(done.out) & {"\x1b", "\x9b", "\u202e"}
        if more:
            assert json.loads(done.out.splitlines()[-1])["reason"] == reason
        else:
            assert done.out.splitlines()[-1].endswith("FAILED     ?[2J[red]no?2J?mailbox?")

    async def test_a_terminal_gets_a_line_a_notification(self, here: Served) -> None:
        words = ("send", *ADA, "--to", "bo@example.com", *WORDS, "--watch")
        seen = asyncio.create_task(
            on_a_terminal(*words, url=here.url, shown=lambda text: "no mailbox" in text and "DELIVERED" in text)
        )
        await until(lambda: len(here.gateway.store.views) == 2)
        first, second = here.gateway.store.views
        here.gateway.store.change(first, Status.FAILED, f"{CLEAR_SCREEN}no mailbox")
        here.gateway.store.change(second, Status.DELIVERED)
        text = await seen
        assert "attempt" in text
        assert CLEAR_SCREEN not in text

    async def test_for_many_a_terminal_gets_a_bar_and_counts(self, here: Served) -> None:
        many = [word for n in range(13) for word in ("--to", f"p{n}@example.com")]
        words = ("send", *many, *WORDS, "--watch")
        seen = asyncio.create_task(on_a_terminal(*words, url=here.url, shown=lambda text: "13/13" in text))
        await finish(here, Status.SENT)
        assert "100%" in await seen


class TestRefusals:
    @pytest.mark.parametrize(
        ("words", "line"),
        [
            ((*ADA,), "give --template, or a text of your own"),
            ((*ADA, *WORDS, "--template", "welcome"), "give --template, or a text of your own"),
            ((*ADA, "--template", "welcome@new"), "--template takes KEY or KEY@version"),
            ((*ADA, *WORDS, "--var", "name"), "--var takes name=text or name:=json"),
            ((*ADA, *WORDS, "--var", "count:=NaN"), "--var count: that is no JSON"),
            ((*ADA, *WORDS, "--vars", "nowhere.json"), "--vars: nowhere.json cannot be read"),
            ((*ADA, *WORDS, "--vars", "-"), "--vars: - holds no JSON object"),
            ((*ADA, *WORDS, "--send-at", "soon"), "--send-at takes a time"),
        ],
    )
    async def test_wrong_usage_is_one_line_and_the_exit_status_2(
        self, here: Served, words: tuple[str, ...], line: str
    ) -> None:
        done = await heliograph("send", *words, url=here.url, stdin=b"[]")
        assert (done.status, done.out, done.err.count("\n")) == (2, "", 1)
        assert done.err.startswith(f"heliograph: {line}")
        assert not here.gateway.store.views

    @pytest.mark.parametrize(
        ("words", "key", "line"),
        [
            ((*ADA, *WORDS), "hg_wrong", "This API key is unknown or revoked."),
            ((*ADA, *WORDS), READER, "notifications:send"),
            (("--to", "usr_nobody", *WORDS), KEY, "recipient.user_id: "),
            (("--to", "nobody@", *WORDS), KEY, "recipient.email: "),
            ((*ADA, "--template", "nothing"), KEY, "template.key: "),
            ((*ADA, *WORDS, "--subject", "\udcff"), KEY, ""),
        ],
    )
    async def test_what_the_gateway_refuses_is_one_line_and_the_exit_status_1(
        self, here: Served, words: tuple[str, ...], key: str, line: str
    ) -> None:
        done = await heliograph("send", *words, url=here.url, key=key)
        assert (done.status, done.out, done.err.count("\n")) == (1, "", 1)
        assert done.err.startswith("heliograph: ")
        assert line in done.err

    async def test_a_gateway_that_is_not_there_is_one_line(self) -> None:
        done = await heliograph("send", *ADA, *WORDS, url="http://127.0.0.1:1")
        assert (done.status, done.out, done.err.count("\n")) == (1, "", 1)
        assert done.err.startswith("heliograph: nobody answers at http://127.0.0.1:1: ")
