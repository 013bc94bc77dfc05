"""Attachments of a mail: fetched once, within bounds, from nowhere private; what is wrong with one is its own fault."""

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from domain.attachments import Attachment
from domain.notification import Outcome
from domain.outgoing import Answer, Delivered
from tests.contracts.push_servers import until
from tests.services.file_server import PDF, FileServer
from tests.services.test_email_service import DEADLINE, SETTINGS, FakeProvider, FakeTemplates, chain, claim
from workers.email.attachments import Attachments
from workers.email.fetching import Fetcher
from workers.email.file_cache import Body, FileCache
from workers.email.service import EmailSender
from workers.resilience import BreakerState

GONE, LARGE, REFUSED, AWAY = "attachment_gone", "attachment_too_large", "attachment_refused", "attachment_unavailable"
PERMANENT, TRANSIENT = Outcome.PERMANENT, Outcome.TRANSIENT


class World:
    """An Email Service with two providers, and a server with files that it may fetch from."""

    def __init__(self, server: FileServer, attachments: Attachments) -> None:
        self.server, self.attachments = server, attachments
        taken = Answer(outcome=Outcome.ACCEPTED, provider_message_id="m")
        self.first, self.second = FakeProvider("first", taken), FakeProvider("second", taken)
        self.chain = chain(self.first, self.second, fail_max=1)
        self.sender = EmailSender(self.chain, FakeTemplates(), SETTINGS, attachments=attachments)

    async def send(self, *paths: str, deadline: float = DEADLINE, id: str = "ntf_1") -> Delivered:
        return await self.send_files(*(file(self.server.url(path)) for path in paths), deadline=deadline, id=id)

    async def send_files(self, *files: Attachment, deadline: float = DEADLINE, id: str = "ntf_1") -> Delivered:
        return await self.sender.send(claim(id=id, attachments=files), deadline)


def file(url: str, **more: Any) -> Attachment:
    return Attachment(**({"url": url, "filename": "invoice.pdf"} | more))


@pytest.fixture
async def server() -> AsyncIterator[FileServer]:
    async with FileServer().running() as running:
        yield running


@pytest.fixture
async def world(server: FileServer) -> AsyncIterator[World]:
    made = Attachments(frozenset({server.place}), max_bytes=50_000, max_bytes_together=60_000)
    yield World(server, made)
    await made.close()
    await made.close()


# ---------------------------------------------------------------------------------------------------- what is sent


async def test_a_file_goes_with_the_mail_under_its_name_and_the_type_that_was_served(world: World) -> None:
    assert (await world.send("/invoice.pdf")).outcome is Outcome.ACCEPTED
    (mail,) = world.first.mails
    (sent,) = mail.files
    assert (sent.filename, sent.content_type, sent.content) == ("invoice.pdf", "application/pdf", PDF)


async def test_a_type_that_was_given_wins_and_the_order_is_kept(world: World) -> None:
    url = world.server.url("/a")
    await world.send_files(file(url, filename="b", content_type="text/csv"), file(url, filename="a"))
    assert [(one.filename, one.content_type) for one in world.first.mails[0].files] == [
        ("b", "text/csv"),
        ("a", "application/pdf"),
    ]


@pytest.mark.parametrize("header", ["content-type: text html", "content-type: multipart/mixed", "x-none: 1"])
async def test_a_type_that_is_none_is_any_type(world: World, header: str) -> None:
    await world.send(f"/headers/{header}")
    assert world.first.mails[0].files[0].content_type == "application/octet-stream"


async def test_a_mail_without_attachments_asks_nobody(world: World) -> None:
    assert (await world.send()).outcome is Outcome.ACCEPTED
    assert world.first.mails[0].files == ()
    assert not world.server.asked


# ------------------------------------------------------------------------------------------- what is wrong with one


@pytest.mark.parametrize(
    ("path", "outcome", "code"),
    [
        ("/status/404", PERMANENT, GONE),
        ("/status/410", PERMANENT, GONE),
        ("/status/401", PERMANENT, REFUSED),
        ("/status/403", PERMANENT, REFUSED),
        ("/status/302", PERMANENT, REFUSED),
        ("/status/204", PERMANENT, REFUSED),
        ("/headers/content-encoding: gzip", PERMANENT, REFUSED),
        ("/size/50001", PERMANENT, LARGE),
        ("/endless", PERMANENT, LARGE),
        ("/size/" + "9" * 18, PERMANENT, LARGE),
        ("/status/408", TRANSIENT, AWAY),
        ("/status/429", TRANSIENT, AWAY),
        ("/status/500", TRANSIENT, AWAY),
        ("/status/503", TRANSIENT, AWAY),
        ("/half", TRANSIENT, AWAY),
    ],
)
async def test_it_ends_the_delivery_names_the_file_and_calls_no_provider(
    world: World, path: str, outcome: Outcome, code: str
) -> None:
    delivered = await world.send("/fine.pdf", path)
    assert (delivered.outcome, delivered.code) == (outcome, code)
    assert delivered.reason is not None
    assert delivered.reason.startswith("The attachment invoice.pdf ")
    assert delivered.reason.endswith(".")
    assert world.server.place not in delivered.reason
    assert (delivered.attempts, delivered.provider) == ((), None)
    assert world.first.mails == world.second.mails == []
    assert {breaker.state for breaker in world.chain.breakers.values()} == {BreakerState.CLOSED}
    assert world.server.asked["/elsewhere"] == 0, "redirects are not followed"


async def test_how_long_its_server_asks_to_wait_is_heeded(world: World) -> None:
    assert (await world.send("/status/503")).retry_after == 7.0


async def test_a_file_without_end_is_not_read_to_the_end(world: World) -> None:
    await world.send("/endless")
    await asyncio.wait_for(world.attachments.close(), DEADLINE)
    sent = world.server.sent
    await world.send_files()  # the loop turns; the server's connection is gone
    assert sent < 20_000_000


async def test_each_fits_and_all_together_do_not(world: World) -> None:
    delivered = await world.send("/size/40000", "/size/30000")
    assert (delivered.outcome, delivered.code) == (PERMANENT, LARGE)
    assert delivered.reason == "The attachment invoice.pdf makes the attachments larger than 60,000 bytes together."
    assert (await world.send("/size/30000", "/size/29999")).outcome is Outcome.ACCEPTED


async def test_a_server_that_says_nothing_takes_a_part_of_the_time_only(world: World) -> None:
    async with asyncio.timeout(DEADLINE):
        delivered = await world.send("/silent", deadline=0.6)
    assert (delivered.outcome, delivered.code) == (TRANSIENT, AWAY)


async def test_nobody_listening_is_transient(world: World) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        made = Attachments(frozenset({f"127.0.0.1:{port}"}))
        delivered = await World(world.server, made).send_files(file(f"http://127.0.0.1:{port}/a"))
        await made.close()
    assert (delivered.outcome, delivered.code) == (TRANSIENT, AWAY)


# --------------------------------------------------------------------------------------------------- where it may be


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}/a",
        "https://127.0.0.1:{port}/a",
        "https://2130706433:{port}/a",
        "https://169.254.169.254/latest/meta-data",
        "file:///etc/passwd",
    ],
)
async def test_what_is_not_allowed_any_more_is_refused_when_it_is_sent(server: FileServer, url: str) -> None:
    made = Attachments()
    delivered = await World(server, made).send_files(file(url.format(port=server.port)))
    await made.close()
    assert (delivered.outcome, delivered.code) == (PERMANENT, REFUSED)
    assert not server.asked


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["10.0.0.7"],
        ["::1"],
        ["fe80::1%eth0"],
        ["::ffff:127.0.0.1"],
        ["169.254.169.254"],
        ["93.184.216.34", "127.0.0.1"],
        ["0.0.0.0"],
    ],
)
async def test_a_public_name_that_leads_to_a_private_address_is_refused(
    monkeypatch: pytest.MonkeyPatch, server: FileServer, addresses: list[str]
) -> None:
    monkeypatch.setattr("workers.email.fetching._looked_up", lambda host, port: addresses)
    made = Attachments()
    delivered = await World(server, made).send_files(file(f"https://files.example:{server.port}/a"))
    await made.close()
    assert (delivered.outcome, delivered.code) == (PERMANENT, REFUSED)
    assert delivered.reason == "The attachment invoice.pdf is at a host that is not on the public internet."
    assert not server.asked


async def test_a_name_is_looked_up_once_and_that_very_address_is_connected_to(
    monkeypatch: pytest.MonkeyPatch, server: FileServer
) -> None:
    """A name whose second answer would be another one (DNS rebinding) has no second look-up to answer."""
    answers = [["127.0.0.1"], ["127.0.0.2"]]
    monkeypatch.setattr("workers.email.fetching._looked_up", lambda host, port: answers.pop(0))
    fetcher = Fetcher(frozenset({"files.internal"}))
    fetched = await fetcher.fetch(f"http://files.internal:{server.port}/a", 50_000, DEADLINE)
    await fetcher.close()
    assert fetched.content == PDF
    assert len(answers) == 1


# -------------------------------------------------------------------------------------------------- fetched once


async def test_a_batch_fetches_its_file_once(world: World) -> None:
    world.server.gate.clear()
    sends = [asyncio.create_task(world.send("/a", id=f"ntf_{number}")) for number in range(100)]
    await until(lambda: world.server.asked["/a"] == 1)
    world.server.gate.set()
    assert {delivered.outcome for delivered in await asyncio.gather(*sends)} == {Outcome.ACCEPTED}
    await world.send("/a")
    assert world.server.asked["/a"] == 1
    assert len({id(mail.files[0].lines) for mail in world.first.mails}) == 1, "and encodes it once"


async def test_whoever_gives_up_waiting_takes_the_file_from_nobody(world: World) -> None:
    world.server.gate.clear()
    first, second = (asyncio.create_task(world.send("/a", id=id)) for id in ("ntf_1", "ntf_2"))
    await until(lambda: world.server.asked["/a"] == 1)
    first.cancel()
    await asyncio.wait({first})
    world.server.gate.set()
    assert (await second).outcome is Outcome.ACCEPTED
    assert world.server.asked["/a"] == 1


async def test_what_is_gone_is_asked_for_once_and_what_is_away_each_time(world: World) -> None:
    for _ in range(3):
        await world.send("/status/404")
        await world.send("/status/503")
    assert world.server.asked == {"/status/404": 1, "/status/503": 3}


class TestCache:
    async def test_it_forgets_after_its_time_and_keeps_within_its_bound(self) -> None:
        now = 0.0
        cache = FileCache(max_bytes=1_000, clock=lambda: now)
        fetched: list[str] = []

        async def get(url: str, size: int = 300) -> None:
            async def fetch() -> Body:
                fetched.append(url)
                return Body(b"x" * size, (), "a/b")

            assert len((await cache.get(url, fetch)).content) == size

        for url in ("a", "a", "b", "c", "d"):
            await get(url)
        assert fetched == ["a", "b", "c", "d"]
        await get("b")
        await get("a")
        assert fetched[4:] == ["a"], "the oldest went first"
        await get("huge", 2_000)
        await get("huge", 2_000)
        assert fetched[5:] == ["huge"] * 2, "what is larger than all is not kept"
        now = 61.0
        await get("d")
        assert fetched[7:] == ["d"]
        await cache.close()


async def test_mails_with_much_in_hand_wait_and_use_no_attempt_where_it_takes_too_long(
    monkeypatch: pytest.MonkeyPatch, server: FileServer
) -> None:
    monkeypatch.setattr("workers.email.attachments.IN_HAND", 40_000)
    made = Attachments(frozenset({server.place}))
    held = claim(attachments=(file(server.url("/size/30000")),))
    async with made.of(held, DEADLINE) as files:
        assert not isinstance(files, Delivered)
        async with made.of(held, 0.3) as late:
            assert isinstance(late, Delivered)
            assert (late.outcome, late.code) == (None, "attachments_waiting")
    async with made.of(held, DEADLINE) as files:
        assert not isinstance(files, Delivered)
    await made.close()
