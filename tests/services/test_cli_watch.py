"""`heliograph watch` and `heliograph tail`: every event once, whatever becomes of connections and gateways."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from domain.ids import NOTIFICATION, new_id
from domain.notification import Status
from tests.services.command_line import Command, Served, heliograph, on_a_terminal, served, started
from tests.services.socket_client import until

BUSY = (Status.QUEUED, Status.SENDING, Status.RETRYING, Status.QUEUED, Status.SENDING)


@pytest.fixture
async def here() -> AsyncIterator[Served]:
    """A gateway with nothing in it."""
    async with served() as running:
        yield running


async def sent(here: Served, **changes: Any) -> str:
    """A notification that was just accepted."""
    return str((await here.gateway.send(**changes))["data"]["notifications"][0]["id"])


async def sequences(command: Command, count: int) -> list[int]:
    """Those of the next events in JSON."""
    return [json.loads(await command.line())["sequence"] for _ in range(count)]


async def followed(here: Served) -> None:
    """Wait until a subscription follows the log."""
    await until(lambda: here.gateway.feed.live_subscriptions == 1)


class TestWatch:
    async def test_it_ends_with_the_final_status_and_says_by_its_own_whether_that_is_well(self, here: Served) -> None:
        id = await sent(here)
        for status in (Status.QUEUED, Status.SENDING, Status.SENT):
            here.gateway.store.change(id, status)
        done = await heliograph("watch", id, url=here.url)
        assert (done.status, done.err) == (0, "")
        assert [line.split()[-2:] for line in done.out.splitlines()] == [
            ["1", "ACCEPTED"],
            ["2", "QUEUED"],
            ["3", "SENDING"],
            ["4", "SENT"],
        ]

    async def test_a_request_ends_when_all_of_it_is_final(self, here: Served) -> None:
        first = await sent(here, request_id="spring")
        async with started("watch", "spring", url=here.url) as command:
            assert (await command.line()).endswith("ACCEPTED")
            here.gateway.store.change(first, Status.FAILED, "No.")
            done = await command.done()
        assert (done.status, len(done.out.splitlines())) == (1, 2)

    async def test_after_a_cursor_it_goes_on_right_behind_it(self, here: Served) -> None:
        id = await sent(here)
        here.gateway.store.change(id, Status.QUEUED)
        here.gateway.store.change(id, Status.SENT)
        whole = await heliograph("watch", id, "--json", url=here.url)
        cursor = json.loads(whole.out.splitlines()[0])["cursor"]
        rest = await heliograph("watch", id, "--after", cursor, "--json", url=here.url)
        assert rest.out.splitlines() == whole.out.splitlines()[1:]
        assert rest.status == 0

    async def test_asked_to_follow_it_goes_on_until_ctrl_c_and_says_from_where(self, here: Served) -> None:
        id = await sent(here)
        here.gateway.store.change(id, Status.SENT)
        async with started("watch", id, "--follow", "--json", url=here.url) as command:
            assert await sequences(command, 2) == [1, 2]
            here.gateway.store.change(id, Status.BOUNCED, "No such mailbox.")
            last = json.loads(await command.line())
            command.interrupt()
            done = await command.done()
        assert (done.status, done.err) == (130, f"heliograph: stopped. Go on with --after {last['cursor']}\n")

    async def test_a_gateway_that_goes_and_comes_back_leaves_neither_gap_nor_duplicate(self, here: Served) -> None:
        id = await sent(here)
        async with started("watch", id, "--json", url=here.url) as command:
            assert await sequences(command, 1) == [1]
            for life in range(2):
                port = await here.leave()
                assert "is lost" in await command.note()
                for status in BUSY:
                    here.gateway.store.change(id, status)
                await here.come_back(port)
                assert "connected again" in await command.note()
                assert await sequences(command, 5) == [2 + 5 * life + n for n in range(5)]
            here.gateway.store.change(id, Status.SENT)
            done = await command.done()
        assert done.status == 0, done.err
        assert [json.loads(line)["sequence"] for line in done.out.splitlines()] == list(range(1, 13))

    async def test_a_terminal_is_told_that_it_connects_again(self, here: Served) -> None:
        id = await sent(here)
        words = ("watch", id)
        seen = asyncio.create_task(
            on_a_terminal(*words, url=here.url, shown=lambda text: "connected again" in text and "SENT" in text)
        )
        await followed(here)
        port = await here.leave()
        here.gateway.store.change(id, Status.SENT)
        await here.come_back(port)
        assert "is lost" in await seen

    @pytest.mark.parametrize(
        ("words", "line"),
        [
            (("nothing",), "There is no request 'nothing'."),
            ((new_id(NOTIFICATION),), "There is no notification"),
            (("spring", "--after", "x"), "no cursor"),
            (("spring", "--after", "cDE6OTk5OTk5"), "The status log has no position 999999 yet."),
            (("spring", "--key", "hg_wrong"), "This API key is unknown or revoked."),
        ],
    )
    async def test_what_cannot_be_is_one_line(self, here: Served, words: tuple[str, ...], line: str) -> None:
        await sent(here, request_id="spring")
        done = await heliograph("watch", *words, url=here.url)
        assert (done.status, done.out, done.err.count("\n")) == (1, "", 1)
        assert line in done.err


class TestTail:
    async def test_it_shows_what_passes_the_filter_from_now_on(self, here: Served) -> None:
        old, new = await sent(here), await sent(here)
        here.gateway.store.change(old, Status.FAILED)
        await until(lambda: here.gateway.feed.position == 3)
        async with started("tail", "--status", "failed", "--channel", "email", url=here.url) as command:
            await followed(here)
            here.gateway.store.change(new, Status.QUEUED)
            here.gateway.store.change(new, Status.FAILED, "No such mailbox.")
            line = await command.line()
        assert line.split()[2:] == [new, "3", "FAILED", "No", "such", "mailbox."]

    async def test_after_a_cursor_it_begins_there(self, here: Served) -> None:
        id = await sent(here)
        here.gateway.store.change(id, Status.QUEUED)
        here.gateway.store.change(id, Status.SENT)
        async with started("tail", "--after", "cDE6MQ", "--json", url=here.url) as command:
            assert await sequences(command, 2) == [2, 3]

    async def test_a_gateway_that_goes_and_comes_back_leaves_neither_gap_nor_duplicate(self, here: Served) -> None:
        id = await sent(here)
        await until(lambda: here.gateway.feed.position == 1)
        async with started("tail", "--json", url=here.url) as command:
            await followed(here)
            here.gateway.store.change(id, Status.QUEUED)
            assert await sequences(command, 1) == [2]
            port = await here.leave()
            here.gateway.store.change(id, Status.SENDING)
            await here.come_back(port)
            here.gateway.store.change(id, Status.SENT)
            assert await sequences(command, 2) == [3, 4]

    async def test_a_connection_that_is_lost_before_the_first_event_leaves_no_gap(self, here: Served) -> None:
        id = await sent(here)
        await until(lambda: here.gateway.feed.position == 1)
        async with started("tail", "--json", "--status", "failed", url=here.url) as command:
            await followed(here)
            port = await here.leave()
            here.gateway.store.change(id, Status.FAILED)
            await here.come_back(port)
            assert await sequences(command, 1) == [2]

    async def test_ctrl_c_ends_it_and_says_where_to_go_on(self, here: Served) -> None:
        id = await sent(here)
        await until(lambda: here.gateway.feed.position == 1)
        async with started("tail", "--json", url=here.url) as command:
            await followed(here)
            here.gateway.store.change(id, Status.QUEUED)
            event = json.loads(await command.line())
            command.interrupt()
            done = await command.done()
        assert (done.status, done.err) == (130, f"heliograph: stopped. Go on with --after {event['cursor']}\n")

    async def test_what_cannot_be_is_one_line(self, here: Served) -> None:
        for words in (("--after", "x"), ("--key", "hg_wrong"), ("--url", "http://127.0.0.1:1")):
            done = await heliograph("tail", *words, url=here.url)
            assert (done.status, done.out, done.err.count("\n")) == (1, "", 1), done
