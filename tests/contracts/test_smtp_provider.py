"""The SMTP provider against a real mailbox, and against mail servers that behave in every way they should not."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from domain.notification import Outcome
from tests.contracts.smtp_servers import DEADLINE, DOT, DROP, HANG, ScriptedServer, file, mail, provider_for, send_to
from workers.email.smtp import SmtpProvider
from workers.sandbox.mailbox import Mailbox

SHORT = 0.3  # for servers that never answer
SANDBOX = "sandbox.heliograph.test"


@pytest.fixture
async def mailbox() -> AsyncIterator[Mailbox]:
    box = Mailbox()
    await box.start()
    yield box
    await box.stop()


@pytest.fixture
async def provider(mailbox: Mailbox) -> AsyncIterator[SmtpProvider]:
    smtp = provider_for(mailbox.url, pool_size=4)
    yield smtp
    await smtp.close()


# ---------------------------------------------------------------------------------------------- a real mail server


async def test_a_mail_arrives_as_it_was_meant(mailbox: Mailbox, provider: SmtpProvider) -> None:
    outgoing = mail(envelope_sender="bounces+ntf_1@heliograph.test", headers=(("X-Kind", "welcome"),))
    answer = await provider.send(outgoing, DEADLINE)
    assert answer.outcome is Outcome.ACCEPTED
    assert answer.provider_message_id == outgoing.message_id
    (arrived,) = mailbox.messages()
    assert arrived.subject == "Grüße"
    assert arrived.recipient == "Ada Lovelace <ada.lovelace@example.com>"
    assert arrived.sender == "Heliograph <no-reply@heliograph.test>"
    assert arrived.message_id == outgoing.message_id
    assert arrived.envelope_sender == "bounces+ntf_1@heliograph.test"
    assert arrived.envelope_recipients == (outgoing.to,)
    assert ("X-Kind", "welcome") in arrived.headers
    assert (arrived.text or "").replace("\r\n", "\n") == outgoing.text
    assert (arrived.html or "").replace("\r\n", "\n") == outgoing.html


async def test_many_at_once_share_the_pool_and_all_arrive(mailbox: Mailbox, provider: SmtpProvider) -> None:
    answers = await asyncio.gather(*(provider.send(mail(number=number), DEADLINE) for number in range(100)))
    assert {answer.outcome for answer in answers} == {Outcome.ACCEPTED}
    assert {arrived.message_id for arrived in mailbox.messages(limit=200)} == {
        f"<ntf_{number}@heliograph.test>" for number in range(100)
    }


async def test_the_mailbox_keeps_the_newest_and_counts_all() -> None:
    box = Mailbox(capacity=2)
    await box.start()
    provider = provider_for(box.url)
    for number in range(3):
        await provider.send(mail(number=number), DEADLINE)
    assert box.count == 3
    assert [arrived.message_id for arrived in box.messages()] == ["<ntf_2@heliograph.test>", "<ntf_1@heliograph.test>"]
    assert len(box.messages(limit=1)) == 1
    await provider.close()
    await box.stop()


async def test_a_bounce_is_permanent_and_does_not_repeat_the_address(mailbox: Mailbox, provider: SmtpProvider) -> None:
    answer = await provider.send(mail(f"bounce+one@{SANDBOX}"), DEADLINE)
    assert (answer.outcome, answer.code) == (Outcome.PERMANENT, "5.1.1")
    assert answer.detail is not None
    assert "bounce" not in answer.detail
    assert "no such mailbox" in answer.detail
    assert mailbox.count == 0


async def test_a_deferred_mail_is_taken_when_it_comes_again(mailbox: Mailbox, provider: SmtpProvider) -> None:
    first = await provider.send(mail(f"defer@{SANDBOX}"), DEADLINE)
    again = await provider.send(mail(f"defer@{SANDBOX}"), DEADLINE)
    other = await provider.send(mail(f"defer@{SANDBOX}", number=2), DEADLINE)
    assert (first.outcome, first.code) == (Outcome.TRANSIENT, "4.7.1")
    assert again.outcome is Outcome.ACCEPTED
    assert other.outcome is Outcome.TRANSIENT
    assert mailbox.count == 1


async def test_defer_always_means_it(provider: SmtpProvider) -> None:
    answers = [await provider.send(mail(f"defer-always@{SANDBOX}"), DEADLINE) for _ in range(2)]
    assert {(answer.outcome, answer.code) for answer in answers} == {(Outcome.TRANSIENT, "4.7.1")}


async def test_a_connection_that_ends_after_the_dot_leaves_it_unknown(mailbox: Mailbox, provider: SmtpProvider) -> None:
    answer = await provider.send(mail(f"drop@{SANDBOX}"), DEADLINE)
    assert (answer.outcome, answer.code) == (Outcome.UNKNOWN, "disconnected")
    assert mailbox.count == 1
    assert (await provider.send(mail(number=2), DEADLINE)).outcome is Outcome.ACCEPTED


async def test_a_time_out_after_the_dot_leaves_it_unknown(provider: SmtpProvider) -> None:
    answer = await provider.send(mail(f"slow@{SANDBOX}"), SHORT)
    assert (answer.outcome, answer.code) == (Outcome.UNKNOWN, "timeout")


async def test_an_address_beyond_ascii_goes_out_with_smtputf8(mailbox: Mailbox, provider: SmtpProvider) -> None:
    answer = await provider.send(mail("андрей@пример.example"), DEADLINE)
    assert answer.outcome is Outcome.ACCEPTED
    assert mailbox.messages()[0].envelope_recipients == ("андрей@пример.example",)


# -------------------------------------------------------------------------------------------- what a reply comes to


BIG = b"x" * 12_000_000  # more than all buffers in between hold


class Interrupting(ScriptedServer):
    """Says `reply`, or ends the connection, when it has heard the beginning of a mail."""

    def __init__(self, reply: bytes) -> None:
        super().__init__()
        self._interruption = reply

    async def _act(self, verb: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if verb != "DATA":
            await super()._act(verb, reader, writer)
            return
        await self._answer(verb, reader, writer)
        await reader.readexactly(10_000)
        if self._interruption == DROP:
            raise ConnectionResetError("by the script")
        writer.write(self._interruption + b"\r\n")
        await writer.wait_closed()


async def test_a_mail_larger_than_the_server_says_is_refused_before_it_is_begun_and_others_are_not() -> None:
    async with ScriptedServer(extensions=("SIZE 100000",)).running() as server:
        provider = provider_for(server.url(), pool_size=1)
        refused = await provider.send(mail(files=(file("big.bin", BIG),)), DEADLINE)
        taken = await provider.send(mail(number=2, files=(file("small.bin", b"x" * 50_000),)), DEADLINE)
        await provider.close()
    assert (refused.outcome, refused.code) == (Outcome.PERMANENT, "5.3.4")
    assert refused.detail is not None
    assert refused.detail.endswith("bytes, and the mail server takes 100,000 at most.")
    assert not refused.retire_contact_point
    assert taken.outcome is Outcome.ACCEPTED
    assert server.connections == 1
    assert sum(command.startswith("MAIL") for command in server.commands) == 1


@pytest.mark.parametrize("size", ["SIZE", "SIZE 0", "SIZE all", "SIZE 99999999999999999999999"])
async def test_a_size_that_says_nothing_is_no_limit(size: str) -> None:
    async with ScriptedServer(extensions=(size,)).running() as server:
        assert (await send_to(server)).outcome is Outcome.ACCEPTED


async def test_a_server_that_hears_no_more_of_a_mail_is_believed() -> None:
    async with Interrupting(b"552 5.3.4 too big").running() as server:
        provider = provider_for(server.url(), pool_size=1)
        answer = await provider.send(mail(files=(file("big.bin", BIG),)), DEADLINE)
        await provider.close()
    assert (answer.outcome, answer.code) == (Outcome.PERMANENT, "5.3.4")


async def test_a_connection_that_ends_within_a_large_mail_leaves_nothing_in_doubt() -> None:
    async with Interrupting(DROP).running() as server:
        provider = provider_for(server.url(), pool_size=1)
        answer = await provider.send(mail(files=(file("big.bin", BIG),)), DEADLINE)
        await provider.close()
    assert (answer.outcome, answer.code) == (Outcome.TRANSIENT, "disconnected")


@pytest.mark.parametrize(
    ("script", "retires"),
    [
        ({"RCPT": b"550 5.1.1 no such user"}, True),
        ({"RCPT": b"550-5.2.1 this mailbox\r\n550 5.2.1 is switched off"}, True),
        ({"RCPT": b"550 User unknown"}, True),
        ({"RCPT": b"550 5.7.1 no such user here, for you"}, False),
        ({"RCPT": b"552 5.2.2 mailbox full"}, False),
        ({"RCPT": b"450 4.1.1 user unknown, for now"}, False),
        ({"MAIL": b"550 5.1.1 no such sender"}, False),
        ({"DATA": b"554 5.1.1 no such user"}, False),
        ({DOT: b"550 5.1.1 no such user"}, False),
    ],
)
async def test_only_a_refusal_of_the_address_itself_retires_it(
    script: dict[str, bytes | list[bytes]], retires: bool
) -> None:
    async with ScriptedServer(script).running() as server:
        answer = await send_to(server)
    assert answer.retire_contact_point is retires
    assert answer.outcome is not Outcome.ACCEPTED


@pytest.mark.parametrize(
    ("script", "outcome", "code"),
    [
        ({}, Outcome.ACCEPTED, "2.0.0"),
        ({DOT: b"250 fine"}, Outcome.ACCEPTED, "250"),
        ({"RCPT": b"250-2.1.5 one\r\n250 2.1.5 two"}, Outcome.ACCEPTED, "2.0.0"),
        # the recipient's or the mail's fault
        ({"RCPT": b"550 5.1.1 no such user"}, Outcome.PERMANENT, "5.1.1"),
        ({"RCPT": b"550 no such user"}, Outcome.PERMANENT, "550"),
        ({"RCPT": b"450 4.2.1 mailbox busy"}, Outcome.TRANSIENT, "4.2.1"),
        ({"RCPT": b"451 greylisted"}, Outcome.TRANSIENT, "451"),
        ({"RCPT": b"550 4.1.1 of two minds"}, Outcome.PERMANENT, "550"),
        ({"DATA": b"554 5.7.1 no"}, Outcome.PERMANENT, "5.7.1"),
        ({"DATA": b"451 4.3.0 later"}, Outcome.TRANSIENT, "4.3.0"),
        ({DOT: b"554 5.6.0 looks like spam"}, Outcome.PERMANENT, "5.6.0"),
        ({DOT: b"452 4.3.1 no room"}, Outcome.TRANSIENT, "4.3.1"),
        # our own trouble must not burn the mail
        ({"GREETING": b"554 go away"}, Outcome.TRANSIENT, "connection_refused"),
        ({"GREETING": b"421 busy"}, Outcome.TRANSIENT, "connection_refused"),
        ({"MAIL": b"553 5.7.1 not your sender"}, Outcome.TRANSIENT, "sender_refused"),
        ({"MAIL": b"451 4.3.0 later"}, Outcome.TRANSIENT, "sender_refused"),
        ({"RCPT": b"530 5.7.0 log in first"}, Outcome.TRANSIENT, "5.7.0"),
        ({"RCPT": b"503 5.5.1 MAIL first"}, Outcome.TRANSIENT, "5.5.1"),
        # the server is closing
        ({"MAIL": b"421 4.3.2 shutting down"}, Outcome.TRANSIENT, "421"),
        ({"RCPT": b"421 4.7.0 too fast"}, Outcome.TRANSIENT, "421"),
        ({DOT: b"421 4.3.2 shutting down"}, Outcome.TRANSIENT, "421"),
        # no reply at all
        ({"GREETING": b"hello there"}, Outcome.TRANSIENT, "malformed_reply"),
        ({"MAIL": b"hello there"}, Outcome.TRANSIENT, "malformed_reply"),
        ({"RCPT": b"999 what"}, Outcome.TRANSIENT, "malformed_reply"),
        ({"DATA": b"250 not what was asked"}, Outcome.TRANSIENT, "250"),
        ({DOT: b"hello there"}, Outcome.UNKNOWN, "malformed_reply"),
        ({DOT: b"354 and now?"}, Outcome.UNKNOWN, "malformed_reply"),
        ({"GREETING": DROP}, Outcome.TRANSIENT, "connect_failed"),
        ({"MAIL": DROP}, Outcome.TRANSIENT, "disconnected"),
        ({"RCPT": DROP}, Outcome.TRANSIENT, "disconnected"),
        ({"DATA": DROP}, Outcome.TRANSIENT, "disconnected"),
        ({DOT: DROP}, Outcome.UNKNOWN, "disconnected"),
    ],
)
@pytest.mark.parametrize("extensions", [(), ("PIPELINING", "ENHANCEDSTATUSCODES")])
async def test_every_reply_is_classified(
    script: Mapping[str, bytes], outcome: Outcome, code: str, extensions: tuple[str, ...]
) -> None:
    async with ScriptedServer(script, extensions=extensions).running() as server:
        answer = await send_to(server)
    assert (answer.outcome, answer.code) == (outcome, code)
    assert (answer.provider_message_id is not None) is (outcome in (Outcome.ACCEPTED, Outcome.UNKNOWN))


@pytest.mark.parametrize(
    ("stage", "outcome"),
    [
        ("GREETING", Outcome.TRANSIENT),
        ("MAIL", Outcome.TRANSIENT),
        ("RCPT", Outcome.TRANSIENT),
        ("DATA", Outcome.TRANSIENT),
        (DOT, Outcome.UNKNOWN),
    ],
)
async def test_a_server_that_falls_silent_is_given_up_at_the_deadline(stage: str, outcome: Outcome) -> None:
    async with ScriptedServer({stage: HANG}).running() as server:
        answer = await send_to(server, deadline=SHORT)
        await server.all_gone()
    assert (answer.outcome, answer.code) == (outcome, "timeout")


async def test_nobody_listens() -> None:
    async with ScriptedServer().running() as server:
        pass
    answer = await send_to(server)
    assert (answer.outcome, answer.code) == (Outcome.TRANSIENT, "connect_failed")
    assert answer.detail == "The mail server could not be reached."


@pytest.mark.parametrize(
    "said",
    [
        b"550 5.1.1 <ada.lovelace@example.com>: user unknown",
        b"550 5.1.1 Recipient ADA.LOVELACE@EXAMPLE.COM is unknown",
        b"550-5.1.1 The user ada.lovelace\r\n550 5.1.1 is unknown here",
        b"550 5.1.1 to=ada.lovelace%40example.com unknown",
    ],
)
async def test_the_sentence_never_repeats_the_address(said: bytes) -> None:
    async with ScriptedServer({"RCPT": said}).running() as server:
        answer = await send_to(server)
    assert answer.code == "5.1.1"
    assert answer.detail is not None
    assert "lovelace" not in answer.detail.lower()
    assert "5.1.1" not in answer.detail
    assert "unknown" in answer.detail


@pytest.mark.parametrize(
    "changes", [{"subject": "a\r\nBcc: x@example.com"}, {"to": "a@example.com> SIZE=1"}, {"text": None, "html": None}]
)
async def test_what_cannot_be_mailed_is_permanent_and_nobody_is_called(changes: dict[str, Any]) -> None:
    async with ScriptedServer().running() as server:
        provider = provider_for(server.url())
        answer = await provider.send(mail(**changes), DEADLINE)
    assert (answer.outcome, answer.code) == (Outcome.PERMANENT, "unsendable")
    assert server.connections == 0


async def test_without_smtputf8_an_address_beyond_ascii_cannot_be_reached() -> None:
    async with ScriptedServer().running() as server:
        provider = provider_for(server.url())
        answer = await provider.send(mail("андрей@example.com"), DEADLINE)
        again = await provider.send(mail(), DEADLINE)
        await provider.close()
    assert (answer.outcome, answer.code) == (Outcome.PERMANENT, "5.6.7")
    assert again.outcome is Outcome.ACCEPTED
