"""The SMTP provider's connections: which are used again, which are thrown away, and how they are protected."""

import asyncio
import ssl

import pytest

from domain.errors import ConfigurationError
from domain.notification import Outcome
from tests.contracts.smtp_servers import (
    DEADLINE,
    DOT,
    DROP,
    HANG,
    ScriptedServer,
    file,
    mail,
    provider_for,
    self_signed,
    send_to,
)
from workers.email.smtp import SmtpProvider
from workers.email.smtp_server import Server


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


async def test_smtps_is_encrypted_from_the_first_byte(tls: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    async with ScriptedServer(extensions=("PIPELINING",), tls=tls[0], implicit_tls=True).running() as server:
        provider = provider_for(server.url(scheme="smtps"), tls_context=tls[1])
        answers = [await provider.send(mail(number=number), DEADLINE) for number in range(2)]
        await provider.close()
        distrustful = await send_to(server, scheme="smtps")
    assert {answer.outcome for answer in answers} == {Outcome.ACCEPTED}
    assert server.connections == 1
    assert (distrustful.outcome, distrustful.code) == (Outcome.TRANSIENT, "tls_failed")


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
async def test_a_large_mail_goes_encrypted_too(tls: tuple[ssl.SSLContext, ssl.SSLContext], scheme: str) -> None:
    implicit = scheme == "smtps"
    extensions = ("PIPELINING",) if implicit else ("STARTTLS", "PIPELINING")
    async with ScriptedServer(extensions=extensions, tls=tls[0], implicit_tls=implicit).running() as server:
        provider = provider_for(server.url(scheme=scheme), tls_context=tls[1], pool_size=1)
        large = mail(files=(file("a.bin", b"x" * 3_000_000),))
        assert (await provider.send(large, DEADLINE)).outcome is Outcome.ACCEPTED
        assert (await provider.send(mail(number=2), DEADLINE)).outcome is Outcome.ACCEPTED
        await provider.close()
    assert [len(taken) > 4_000_000 for taken in server.mails] == [True, False]
    assert server.connections == 1


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
