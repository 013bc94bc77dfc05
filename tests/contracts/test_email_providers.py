"""What every email provider promises, held against real servers on the loopback interface that check each request.

A new provider joins `WORLDS` (docs/providers.md); what is particular to one is in its own file.
"""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from domain.notification import Outcome
from domain.outgoing import Answer
from domain.ports import EmailProvider
from tests.contracts.documented_provider import DocumentedApi
from tests.contracts.http_api import Fate, HttpApi
from tests.contracts.mailgun_server import MailgunApi
from tests.contracts.push_servers import until
from tests.contracts.sendgrid_server import SendGridApi
from tests.contracts.smtp_servers import DEADLINE, file, mail
from tests.contracts.smtp_world import SmtpWorld

SHORT = 0.6  # for servers that never answer
World = HttpApi | SmtpWorld
WORLDS: list[Callable[[], World]] = [SmtpWorld, SendGridApi, MailgunApi, DocumentedApi]
TAKEN, REFUSED, LATER, UNKNOWN = Outcome.ACCEPTED, Outcome.PERMANENT, Outcome.TRANSIENT, Outcome.UNKNOWN


@pytest.fixture(params=WORLDS, ids=lambda made: str(made.name))
def world(request: pytest.FixtureRequest) -> World:
    """A provider's server that is not running yet."""
    made: World = request.param()
    return made


@asynccontextmanager
async def at(world: World, fate: Fate = Fate.TAKEN, **settings: Any) -> AsyncIterator[EmailProvider]:
    """The provider while its server runs and deals with mail like that; no request may be wrong."""
    world.fate = fate
    async with world.running():
        provider = world.provider(**settings)
        try:
            yield provider
        finally:
            await provider.close()
    assert world.wrong == []


async def sent(world: World, fate: Fate, deadline: float = DEADLINE, **changes: Any) -> Answer:
    """The answer for one mail."""
    async with at(world, fate) as provider:
        return await provider.send(mail(**changes), deadline)


# ------------------------------------------------------------------------------------------------ what is mailed


async def test_a_mail_arrives_as_it_was_meant_and_its_answer_has_an_id(world: World) -> None:
    headers = (
        ("Auto-Submitted", "auto-generated"),
        ("Reply-To", "help@heliograph.test"),
        ("List-Unsubscribe", "<https://heliograph.test/u/1>"),
        ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"),
    )
    outgoing = mail(headers=headers)
    async with at(world) as provider:
        assert provider.name == world.name
        answer = await provider.send(outgoing, DEADLINE)
    assert answer.outcome is TAKEN
    assert answer.provider_message_id
    (arrived,) = world.taken
    assert (arrived.to, arrived.to_name) == (outgoing.to, outgoing.to_name)
    assert (arrived.sender, arrived.sender_name) == (outgoing.sender, outgoing.sender_name)
    assert (arrived.subject, arrived.text, arrived.html) == (outgoing.subject, outgoing.text, outgoing.html)
    assert (arrived.message_id, arrived.notification_id) == (outgoing.message_id, outgoing.notification_id)
    assert arrived.headers == dict(headers)


@pytest.mark.parametrize("without", [None, "text", "html"])
async def test_files_arrive_with_their_names_and_types_and_octet_by_octet(world: World, without: str | None) -> None:
    files = (
        file("invoice.pdf"),
        file("annual report (2).csv", b"a;b\n" * 50_000, "text/csv"),
        file("Übersicht März ✉ 発票.bin", bytes(range(256)) * 3, "application/octet-stream"),
        file("empty.txt", b"", "text/plain"),
        file("x" * 250 + ".bin", b"\r\n--=_\r\n.\r\n", "application/x-test"),
    )
    changes: dict[str, Any] = {"files": files} | ({without: None} if without else {})
    assert (await sent(world, Fate.TAKEN, **changes)).outcome is TAKEN
    (arrived,) = world.taken
    assert list(arrived.files) == [(each.filename, each.content_type, each.content) for each in files]
    assert (arrived.text is None, arrived.html is None) == (without == "text", without == "html")


async def test_a_large_file_arrives_whole_and_the_connection_serves_another_mail(world: World) -> None:
    content = random.Random(1).randbytes(5_000_000)
    async with at(world, connections=1) as provider:
        for number in range(2):
            outgoing = mail(number=number, files=(file("large.bin", content, "application/octet-stream"),))
            assert (await provider.send(outgoing, DEADLINE)).outcome is TAKEN
    assert [arrived.files[0][2] == content for arrived in world.taken] == [True, True]
    assert world.connections == 1


@pytest.mark.parametrize("part", ["text", "html"])
async def test_one_part_is_enough(world: World, part: str) -> None:
    without: dict[str, Any] = {part: None}
    assert (await sent(world, Fate.TAKEN, **without)).outcome is TAKEN
    assert [getattr(arrived, part) for arrived in world.taken] == [None]


@pytest.mark.parametrize("name", ["Ádá Löveläce", 'Lovelace, Ada "Countess"', "愛達 ✉", "a\\b", None])
async def test_any_name_and_any_subject_arrive(world: World, name: str | None) -> None:
    subject = f"✉ für {name} & 100% <b>?=&x"
    assert (await sent(world, Fate.TAKEN, to_name=name, sender_name=name, subject=subject)).outcome is TAKEN
    (arrived,) = world.taken
    assert (arrived.to_name, arrived.sender_name, arrived.subject) == (name, name, subject)


async def test_an_international_domain_is_spelled_as_the_wire_spells_it(world: World) -> None:
    assert (await sent(world, Fate.TAKEN, to="ada@bücher.example")).outcome is TAKEN
    assert [arrived.to for arrived in world.taken] == ["ada@xn--bcher-kva.example"]


async def test_an_address_with_more_than_ascii_before_the_at_is_taken_or_refused_for_good(world: World) -> None:
    answer = await sent(world, Fate.TAKEN, to="андрей@example.com")
    assert answer.outcome in {TAKEN, REFUSED}
    assert "андрей" not in f"{answer.code} {answer.detail}"
    assert len(world.taken) == (answer.outcome is TAKEN)


@pytest.mark.parametrize(
    "changes",
    [
        {"subject": "a\r\nBcc: x@example.com"},
        {"to": "a@example.com> SIZE=1"},
        {"to": "a@example.com, b@example.com"},
        {"to_name": "Ada\r\nBcc: x@example.com"},
        {"headers": (("X-Kind", "a\nBcc: x@example.com"),)},
        {"headers": (("From", "x@example.com"),)},
        {"subject": "\ud800"},
        {"text": None, "html": None},
        {"files": (file("a.txt", content_type="text/plain\r\nBcc: x@example.com"),)},
    ],
    ids=[
        "subject",
        "address",
        "two addresses",
        "name",
        "header",
        "our header",
        "surrogate",
        "no body",
        "type of a file",
    ],
)
async def test_what_cannot_be_mailed_is_permanent_and_nobody_is_called(world: World, changes: dict[str, Any]) -> None:
    answer = await sent(world, Fate.TAKEN, **changes)
    assert (answer.outcome, answer.code) == (REFUSED, "unsendable")
    assert world.connections == 0


# ------------------------------------------------------------------------------------------- what an answer means


@pytest.mark.parametrize(
    ("fate", "outcome"),
    [
        (Fate.REFUSED, REFUSED),
        (Fate.BUSY, LATER),
        (Fate.LIMITED, LATER),
        (Fate.STRANGER, LATER),
        (Fate.CUT_OFF, UNKNOWN),
        (Fate.GIBBERISH, UNKNOWN),
        (Fate.ENDLESS, UNKNOWN),
    ],
)
async def test_every_fate_has_its_outcome_and_tells_nothing_of_the_recipient(
    world: World, fate: Fate, outcome: Outcome
) -> None:
    answer = await sent(world, fate)
    assert answer.outcome is outcome
    assert answer.code
    assert answer.detail
    assert len(answer.detail) <= 300
    assert not [word for word in ("ada", "lovelace", "example.com") if word in f"{answer.code} {answer.detail}".lower()]
    assert answer.rate_limited is (fate is Fate.LIMITED)
    assert world.called == 1, "it does not retry by itself"


@pytest.mark.parametrize(
    ("fate", "outcome"), [(Fate.NOBODY_OPENS, LATER), (Fate.NO_ANSWER, UNKNOWN), (Fate.HALF, UNKNOWN)]
)
async def test_silence_ends_with_the_deadline_and_is_unknown_only_once_the_mail_was_written(
    world: World, fate: Fate, outcome: Outcome
) -> None:
    async with asyncio.timeout(DEADLINE):
        answer = await sent(world, fate, deadline=SHORT)
    assert answer.outcome is outcome
    assert len(world.taken) == (outcome is UNKNOWN)


async def test_without_time_left_nothing_is_sent(world: World) -> None:
    assert (await sent(world, Fate.TAKEN, deadline=0.0)).outcome is LATER
    assert world.taken == []


async def test_nobody_listening_is_transient(world: World) -> None:
    async with world.running():
        provider = world.provider()
    answer = await provider.send(mail(), DEADLINE)
    assert answer.outcome is LATER
    assert answer.detail
    await provider.close()


# ---------------------------------------------------------------------------------------------------- connections


async def test_many_at_once_share_a_bounded_number_of_connections(world: World) -> None:
    async with at(world, connections=4) as provider:
        answers = await asyncio.gather(*(provider.send(mail(number=number), DEADLINE) for number in range(100)))
    assert Counter(answer.outcome for answer in answers) == {TAKEN: 100}
    assert len({arrived.message_id for arrived in world.taken}) == 100
    assert 1 <= world.connections <= 4


async def test_waiting_for_a_free_connection_ends_with_the_deadline_and_nothing_sent(world: World) -> None:
    async with at(world, Fate.NO_ANSWER, connections=1) as provider:
        hanging = asyncio.create_task(provider.send(mail(number=1), DEADLINE))
        await until(lambda: len(world.taken) == 1)
        assert (await provider.send(mail(number=2), SHORT)).outcome is LATER
        assert world.called == 1
        hanging.cancel()
        await asyncio.wait({hanging})


async def test_closing_twice_is_fine_and_an_unused_provider_can_be_closed(world: World) -> None:
    async with at(world) as provider:
        unused = world.provider()
        await unused.close()
        await unused.close()
        await provider.send(mail(), DEADLINE)
        await provider.close()
        await provider.close()
