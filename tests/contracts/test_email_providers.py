"""The SMTP provider against a real mailbox, and against mail servers that behave in every way they should not."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from domain.errors import ConfigurationError
from domain.notification import Outcome
from domain.ports import Answer, OutgoingEmail
from tests.contracts.smtp_servers import DROP, HANG, ScriptedServer, self_signed
from workers.email.smtp import SmtpProvider
from workers.email.smtp_server import Server
from workers.sandbox.mailbox import Mailbox

DEADLINE = 10.0
SHORT = 0.3  # for servers that never answer
SANDBOX = "sandbox.heliograph.test"


def mail(to: str = "ada.lovelace@example.com", number: int = 1, **changes: Any) -> OutgoingEmail:
    fields: dict[str, Any] = {
        "to": to,
        "to_name": "Ada Lovelace",
        "sender": "no-reply@heliograph.test",
        "sender_name": "Heliograph",
        "subject": "Grüße",
        "html": "<p>Hello</p>\n",
        "text": "Hello\n.\n..dots\n",
        "message_id": f"<ntf_{number}@heliograph.test>",
    }
    return OutgoingEmail(**(fields | changes))


def provider_for(url: str, **settings: Any) -> SmtpProvider:
    return SmtpProvider(url, greeting_name="client.test", **settings)


async def send_to(server: ScriptedServer, *, deadline: float = DEADLINE, **settings: Any) -> Answer:
    """One mail through a provider of its own."""
    provider = provider_for(server.url(), **settings)
    try:
        return await provider.send(mail(), deadline)
    finally:
        await provider.close()


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

DOT = "CONTENT"


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


# ------------------------------------------------------------------------------------------------ the connections


@pytest.mark.parametrize("extensions", [(), ("PIPELINING",)])
async def test_one_connection_carries_mail_after_mail_refusals_included(extensions: tuple[str, ...]) -> None:
    script = {"RCPT": [b"250 OK", b"550 no", b"250 OK"], "DATA": [b"354 go on", b"354 go on"]}
    if extensions:
        script["DATA"] = [b"354 go on", b"554 5.5.1 no valid recipients", b"354 go on"]
    async with ScriptedServer(script, extensions=extensions).running() as server:
        provider = provider_for(server.url())
        outcomes = [(await provider.send(mail(number=number), DEADLINE)).outcome for number in range(3)]
        await provider.close()
    assert outcomes == [Outcome.ACCEPTED, Outcome.PERMANENT, Outcome.ACCEPTED]
    assert server.connections == 1
    assert server.commands.count("RSET") == 1
    assert [mail_of(message) for message in server.mails] == ["<ntf_0@heliograph.test>", "<ntf_2@heliograph.test>"]


def mail_of(message: bytes) -> str:
    return next(line for line in message.decode().splitlines() if line.startswith("Message-ID: ")).split(" ")[1]


async def test_a_server_that_wants_the_mail_of_a_refused_recipient_does_not_get_it() -> None:
    script = {"RCPT": [b"550 5.1.1 no", b"250 OK"]}
    async with ScriptedServer(script, extensions=("PIPELINING",)).running() as server:
        provider = provider_for(server.url())
        refused = await provider.send(mail(), DEADLINE)
        taken = await provider.send(mail(number=2), DEADLINE)
        await provider.close()
    assert refused.outcome is Outcome.PERMANENT
    assert taken.outcome is Outcome.ACCEPTED
    assert server.connections == 2
    assert len(server.mails) == 1


@pytest.mark.parametrize("farewell", [None, b"421 4.4.2 idle for too long"])
async def test_a_connection_that_the_server_closed_while_it_was_idle_costs_nothing(farewell: bytes | None) -> None:
    async with ScriptedServer().running() as server:
        provider = provider_for(server.url())
        await provider.send(mail(), DEADLINE)
        if farewell is not None:
            server.say(farewell)
        server.hang_up()
        answer = await provider.send(mail(number=2), DEADLINE)
        await provider.close()
    assert answer.outcome is Outcome.ACCEPTED
    assert server.connections == 2
    assert len(server.mails) == 2


@pytest.mark.parametrize("farewell", [DROP, b"421 4.4.2 idle for too long"])
async def test_a_pooled_connection_that_dies_at_the_first_command_is_replaced_once(farewell: bytes) -> None:
    async with ScriptedServer({"MAIL": [b"250 OK", farewell, b"250 OK"]}).running() as server:
        provider = provider_for(server.url())
        answers = [await provider.send(mail(number=number), DEADLINE) for number in range(2)]
        await provider.close()
    assert {answer.outcome for answer in answers} == {Outcome.ACCEPTED}
    assert server.connections == 2
    assert len(server.mails) == 2


async def test_it_is_not_replaced_twice() -> None:
    async with ScriptedServer({"MAIL": [b"250 OK", DROP]}).running() as server:
        provider = provider_for(server.url())
        await provider.send(mail(), DEADLINE)
        answer = await provider.send(mail(number=2), DEADLINE)
        await provider.close()
    assert (answer.outcome, answer.code) == (Outcome.TRANSIENT, "disconnected")
    assert server.connections == 2


async def test_after_the_dot_nothing_is_sent_again_whatever_happens() -> None:
    async with ScriptedServer({DOT: [b"250 OK", DROP]}).running() as server:
        provider = provider_for(server.url())
        await provider.send(mail(), DEADLINE)
        answer = await provider.send(mail(number=2), DEADLINE)
        await provider.close()
    assert answer.outcome is Outcome.UNKNOWN
    assert server.connections == 1
    assert len(server.mails) == 2


async def test_a_connection_that_was_left_in_mid_sentence_is_thrown_away() -> None:
    async with ScriptedServer({"RCPT": [HANG, b"250 OK"]}).running() as server:
        provider = provider_for(server.url())
        cancelled = asyncio.create_task(provider.send(mail(), DEADLINE))
        await server.heard["RCPT"].wait()
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        await server.all_gone()
        answer = await provider.send(mail(number=2), DEADLINE)
        await provider.close()
    assert answer.outcome is Outcome.ACCEPTED
    assert server.connections == 2


async def test_a_connection_is_retired_after_its_number_of_mails() -> None:
    async with ScriptedServer().running() as server:
        provider = provider_for(server.url(), max_messages=2)
        for number in range(5):
            await provider.send(mail(number=number), DEADLINE)
        await provider.close()
    assert server.connections == 3
    assert server.commands.count("QUIT") == 3


async def test_a_connection_that_is_too_old_is_closed_without_being_asked_for() -> None:
    async with ScriptedServer().running() as server:
        provider = provider_for(server.url(), max_age=0.05)
        await provider.send(mail(), DEADLINE)
        async with asyncio.timeout(DEADLINE):
            await server.all_gone()
        await provider.close()
    assert server.commands[-1] == "QUIT"


async def test_there_are_never_more_connections_than_the_pool_may_have() -> None:
    async with ScriptedServer().running() as server:
        provider = provider_for(server.url(), pool_size=2)
        answers = await asyncio.gather(*(provider.send(mail(number=number), DEADLINE) for number in range(20)))
        await provider.close()
    assert {answer.outcome for answer in answers} == {Outcome.ACCEPTED}
    assert server.connections == 2


async def test_closing_takes_leave_and_may_be_done_twice() -> None:
    async with ScriptedServer().running() as server:
        provider = provider_for(server.url())
        await provider.send(mail(), DEADLINE)
        await provider.close()
        await provider.close()
        await server.all_gone()
    assert server.commands[-1] == "QUIT"


# ------------------------------------------------------------------------------------------- encryption and login


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    return self_signed(tmp_path_factory.mktemp("tls"))


@pytest.mark.parametrize("option", ["", "?starttls=required"])
async def test_starttls_is_used_where_it_is_offered(tls: tuple[ssl.SSLContext, ssl.SSLContext], option: str) -> None:
    async with ScriptedServer(extensions=("STARTTLS", "PIPELINING"), tls=tls[0]).running() as server:
        provider = provider_for(server.url(option), tls_context=tls[1])
        answers = [await provider.send(mail(number=number), DEADLINE) for number in range(3)]
        await provider.close()
    assert {answer.outcome for answer in answers} == {Outcome.ACCEPTED}
    assert server.encrypted == 1
    assert len(server.mails) == 3


async def test_a_certificate_that_nobody_vouches_for_is_refused(tls: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    async with ScriptedServer(extensions=("STARTTLS",), tls=tls[0]).running() as server:
        answer = await send_to(server)
    assert (answer.outcome, answer.code) == (Outcome.TRANSIENT, "tls_failed")
    assert server.mails == []


async def test_a_certificate_is_not_looked_at_when_the_setting_says_so(
    tls: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    async with ScriptedServer(extensions=("STARTTLS",), tls=tls[0]).running() as server:
        provider = provider_for(server.url("?verify=never"))
        answer = await provider.send(mail(), DEADLINE)
        await provider.close()
    assert answer.outcome is Outcome.ACCEPTED
    assert server.encrypted == 1


async def test_starttls_can_be_required_and_can_be_left_alone(tls: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    async with ScriptedServer().running() as server:
        provider = provider_for(server.url("?starttls=required"))
        required = await provider.send(mail(), DEADLINE)
    async with ScriptedServer(extensions=("STARTTLS",), tls=tls[0]).running() as server:
        provider = provider_for(server.url("?starttls=never"))
        never = await provider.send(mail(), DEADLINE)
        await provider.close()
    assert (required.outcome, required.code) == (Outcome.TRANSIENT, "not_offered")
    assert never.outcome is Outcome.ACCEPTED
    assert server.encrypted == 0


async def test_it_logs_in_once_a_connection() -> None:
    async with ScriptedServer(extensions=("AUTH PLAIN",)).running() as server:
        provider = provider_for(server.url(login="heliograph:p%40ss%3Aword@"))
        answers = [await provider.send(mail(number=number), DEADLINE) for number in range(2)]
        await provider.close()
    assert {answer.outcome for answer in answers} == {Outcome.ACCEPTED}
    assert server.logins == [b"\0heliograph\0p@ss:word"]


async def test_a_refused_login_does_not_burn_the_mail_and_does_not_show_the_password() -> None:
    script = {"AUTH": b"535 5.7.8 heliograph:secret is wrong"}
    async with ScriptedServer(script, extensions=("AUTH PLAIN",)).running() as server:
        provider = provider_for(server.url(login="heliograph:secret@"))
        answer = await provider.send(mail(), DEADLINE)
    assert (answer.outcome, answer.code) == (Outcome.TRANSIENT, "authentication_failed")
    assert "secret" not in (answer.detail or "")


def test_a_password_is_kept_from_the_open_network_unless_told_otherwise() -> None:
    assert Server.from_url("smtp://user:secret@mail.example.com").start_tls is True
    assert Server.from_url("smtp://user:secret@mail.example.com?starttls=never").start_tls is False
    assert Server.from_url("smtp://user:secret@127.0.0.1:25").start_tls is None
    assert Server.from_url("smtp://mail.example.com").start_tls is None


def test_a_url_is_read_with_its_defaults() -> None:
    server = Server.from_url("smtps://mail.example.com")
    assert (server.host, server.port, server.implicit_tls) == ("mail.example.com", 465, True)
    assert Server.from_url("smtp://mail.example.com").port == 25


@pytest.mark.parametrize(
    "url",
    [
        "http://user:secret@mail.example.com",
        "smtp://",
        "smtp://user:secret@host:port",
        "smtp://user:secret@host?starttls=maybe",
        "smtp://user:secret@host?colour=blue",
    ],
)
def test_a_url_that_cannot_be_used_is_named_without_its_password(url: str) -> None:
    with pytest.raises(ConfigurationError, match="SMTP_URL") as raised:
        SmtpProvider(url)
    assert "secret" not in str(raised.value)
