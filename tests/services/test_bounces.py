"""The bounce listener, spoken to as mail servers do."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import aiosmtplib
import pytest
from prometheus_client import CollectorRegistry

from domain.callbacks import Callback, CallbackKind
from domain.errors import ConfigurationError, DatabaseUnavailable, Unavailable
from domain.ids import NOTIFICATION, new_id
from tests.unit import dsn_mails as mails
from workers.email import bounce_connection, bounces
from workers.email.bounces import BounceListener
from workers.email.return_path import ReturnPaths

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
PATHS = ReturnPaths("bounces@example.com", "s" * 32)
ID = "ntf_0199f2c4b7a17cc1a3d2e5f60718293a"
PATH = PATHS.make(ID, NOW)
DEADLINE = 10.0


class Recorder:
    """`domain.callbacks.Callbacks` in memory. It fails with each of `errors` first, and waits for `gate`."""

    def __init__(self, *errors: Exception) -> None:
        self.callbacks: list[Callback] = []
        self.errors = list(errors)
        self.gate = asyncio.Event()
        self.gate.set()
        self.asked = asyncio.Event()

    async def record(self, callbacks: Sequence[Callback]) -> None:
        """As the port promises."""
        self.asked.set()
        await self.gate.wait()
        if self.errors:
            raise self.errors.pop(0)
        self.callbacks += callbacks


class World:
    """A listener, and what was recorded and counted."""

    def __init__(self, *errors: Exception) -> None:
        self.recorder = Recorder(*errors)
        self.metrics = CollectorRegistry()
        self.listener = BounceListener(("127.0.0.1", 0), PATHS, self.recorder, metrics=self.metrics, clock=lambda: NOW)

    def counted(self, result: str) -> float:
        return self.metrics.get_sample_value("heliograph_bounce_mails_total", {"result": result}) or 0.0

    async def send(self, content: bytes, *recipients: str, sender: str = "") -> str:
        """One mail by a real client; what its final dot was answered with."""
        client = aiosmtplib.SMTP(hostname="127.0.0.1", port=self.listener.port, timeout=DEADLINE, start_tls=False)
        async with client:
            _, reply = await client.sendmail(sender, list(recipients or (PATH,)), content)
        return reply


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with running(World()) as one:
        yield one


@asynccontextmanager
async def running(world: World) -> AsyncIterator[World]:
    await world.listener.start()
    try:
        yield world
    finally:
        world.recorder.gate.set()
        await world.listener.stop(1.0)


class Talk:
    """A conversation by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def say(self, line: bytes) -> bytes:
        """Say a line and hear the last line of the answer."""
        self._writer.write(line + b"\r\n")
        return await self.hear()

    async def hear(self) -> bytes:
        """The last line of the next answer; nothing when the connection has ended."""
        async with asyncio.timeout(DEADLINE):
            while (line := await self._reader.readline())[3:4] == b"-":
                pass
            return line.rstrip()

    async def begin_mail(self, *recipients: str, hello: bytes = b"EHLO mx.test") -> None:
        assert (await self.say(hello)).startswith(b"250")
        assert (await self.say(b"MAIL FROM:<>")).startswith(b"250")
        for recipient in recipients or (PATH,):
            assert (await self.say(f"RCPT TO:<{recipient}>".encode())).startswith(b"250")
        assert (await self.say(b"DATA")).startswith(b"354")

    def write(self, data: bytes) -> None:
        """Say it and do not wait for an answer."""
        self._writer.write(data)

    def close(self) -> None:
        self._writer.close()


@asynccontextmanager
async def talk(world: World) -> AsyncIterator[Talk]:
    reader, writer = await asyncio.open_connection("127.0.0.1", world.listener.port)
    conversation = Talk(reader, writer)
    try:
        yield conversation
    finally:
        conversation.close()


async def test_a_bounce_is_recorded_and_then_taken(world: World) -> None:
    assert (await world.send(mails.POSTFIX)).startswith("2.0.0")
    assert world.recorder.callbacks == [
        Callback(
            notification_id=ID,
            kind=CallbackKind.BOUNCED,
            occurred_at=NOW,
            provider="smtp",
            permanent=True,
            code="5.1.1",
            reason="(address) Recipient address rejected: User (address) unknown in local recipient table",
        )
    ]
    assert world.counted("recorded") == 1


async def test_nothing_is_taken_before_it_is_recorded(world: World) -> None:
    world.recorder.gate.clear()
    async with talk(world) as mail_server:
        assert (await mail_server.hear()).startswith(b"220")
        await mail_server.begin_mail()
        answer = asyncio.create_task(mail_server.say(mails.POSTFIX.replace(b"\n", b"\r\n") + b"\r\n."))
        await world.recorder.asked.wait()
        assert not answer.done()
        world.recorder.gate.set()
        assert (await answer).startswith(b"250")


@pytest.mark.parametrize("error", [DatabaseUnavailable("away"), RuntimeError("a bug")])
async def test_what_cannot_be_recorded_stays_with_its_sender(error: Exception) -> None:
    async with running(World(error)) as world:
        with pytest.raises(aiosmtplib.SMTPDataError) as refused:
            await world.send(mails.POSTFIX)
        assert refused.value.code == 451
        assert (world.recorder.callbacks, world.counted("put_off")) == ([], 1)
        await world.send(mails.POSTFIX)
        assert len(world.recorder.callbacks) == 1


async def test_a_database_that_hangs_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounces, "_RECORD_SECONDS", 0.05)
    async with running(World()) as world:
        world.recorder.gate.clear()
        with pytest.raises(aiosmtplib.SMTPDataError, match="451"):
            await world.send(mails.POSTFIX)


@pytest.mark.parametrize("content", [mails.VACATION, mails.READ_RECEIPT, b"", b"\xff\0\x01"])
async def test_what_says_nothing_is_taken_and_dropped(world: World, content: bytes) -> None:
    await world.send(content)
    assert (world.recorder.callbacks, world.counted("nothing_said")) == ([], 1)


@pytest.mark.parametrize(
    ("recipient", "result"),
    [
        (f"bounces+{ID}@example.com", "forged"),
        (ReturnPaths("bounces@example.com", "t" * 32).make(ID, NOW), "forged"),
        (PATHS.make(ID, NOW.replace(year=2025)), "stale"),
        ("bounces@example.com", "plain"),
    ],
)
async def test_nobody_can_speak_of_a_mail_that_they_did_not_get(world: World, recipient: str, result: str) -> None:
    await world.send(mails.POSTFIX, recipient)
    assert (world.recorder.callbacks, world.counted(result)) == ([], 1)


async def test_a_complaint_to_the_plain_address_is_found_by_the_return_path_in_it(world: World) -> None:
    complaint = mails.complaint("abuse").replace(b"<bounces@example.com>", f"<{PATH}>".encode())
    await world.send(complaint, "bounces@example.com", sender="feedback@example.net")
    assert [(callback.notification_id, callback.kind) for callback in world.recorder.callbacks] == [
        (ID, CallbackKind.COMPLAINED)
    ]


async def test_it_is_nobodys_relay(world: World) -> None:
    with pytest.raises(aiosmtplib.SMTPRecipientsRefused):
        await world.send(mails.POSTFIX, "somebody@example.org")


async def test_one_mail_about_several_notifications_speaks_of_each_once(world: World) -> None:
    other = new_id(NOTIFICATION)
    await world.send(mails.POSTFIX, PATH, PATHS.make(other, NOW), PATH.upper())
    assert [callback.notification_id for callback in world.recorder.callbacks] == [ID, other]


async def test_lmtp_answers_for_each_recipient(world: World) -> None:
    async with talk(world) as mail_server:
        assert (await mail_server.hear()).startswith(b"220")
        await mail_server.begin_mail(PATH, PATHS.make(new_id(NOTIFICATION), NOW), hello=b"LHLO mx.test")
        assert (await mail_server.say(mails.POSTFIX.replace(b"\n", b"\r\n") + b"\r\n.")).startswith(b"250")
        assert (await mail_server.hear()).startswith(b"250")
    assert len(world.recorder.callbacks) == 2


async def test_lines_that_begin_with_a_dot_come_back_whole(world: World) -> None:
    said = mails.report("Final-Recipient: rfc822; a@b.c\nAction: failed\nStatus: 5.1.1\n", text="....")
    async with talk(world) as mail_server:
        assert (await mail_server.hear()).startswith(b"220")
        await mail_server.begin_mail()
        stuffed = said.replace(b"\n", b"\r\n").replace(b"\r\n.", b"\r\n..")
        assert (await mail_server.say(stuffed + b"\r\n.")).startswith(b"250")
        assert (await mail_server.say(b"MAIL FROM:<>")).startswith(b"250")
    assert len(world.recorder.callbacks) == 1


class TestLimits:
    @pytest.mark.parametrize("filler", [b"x" * 1000 + b"\r\n", b"x" * 1000])
    async def test_a_mail_that_is_too_big_is_refused(self, world: World, filler: bytes) -> None:
        async with talk(world) as mail_server:
            assert (await mail_server.hear()).startswith(b"220")
            await mail_server.begin_mail()
            answer = await mail_server.say(filler * (bounce_connection.MAX_MAIL // 1000 + 2) + b"\r\n.")
            assert answer.startswith(b"552")
        assert world.recorder.callbacks == []

    async def test_a_mail_has_so_many_recipients_and_no_more(self, world: World) -> None:
        async with talk(world) as mail_server:
            assert (await mail_server.hear()).startswith(b"220")
            assert (await mail_server.say(b"EHLO mx.test")).startswith(b"250")
            assert (await mail_server.say(b"MAIL FROM:<>")).startswith(b"250")
            command = f"RCPT TO:<{PATH}>".encode()
            answers = [(await mail_server.say(command))[:3] for _ in range(bounce_connection.MAX_RECIPIENTS + 1)]
        assert answers == [b"250"] * bounce_connection.MAX_RECIPIENTS + [b"452"]

    async def test_a_connection_has_so_many_commands_and_no_more(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(bounce_connection, "MAX_COMMANDS", 3)
        async with talk(world) as mail_server:
            assert (await mail_server.hear()).startswith(b"220")
            answers = [(await mail_server.say(b"RSET"))[:3] for _ in range(4)]
            assert answers[-1] == b"421"
            assert await mail_server.hear() == b""

    async def test_there_are_so_many_connections_and_no_more(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(bounces, "MAX_CONNECTIONS", 1)
        async with talk(world) as first, talk(world) as second:
            assert (await first.hear()).startswith(b"220")
            assert (await second.hear()).startswith(b"421")
            assert (await first.say(b"NOOP")).startswith(b"250")

    async def test_who_says_nothing_is_left(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(bounce_connection, "_PATIENCE", 0.05)
        async with talk(world) as mail_server:
            assert (await mail_server.hear()).startswith(b"220")
            assert await mail_server.hear() == b""

    @pytest.mark.parametrize("line", [b"\xff\xfe", b"DATA", b"RCPT TO:<\xff>", b"MAIL FROM:<", b"x" * 5000, b"LHLO"])
    async def test_nonsense_is_answered_and_leaves_no_trace(
        self, world: World, line: bytes, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with talk(world) as mail_server:
            assert (await mail_server.hear()).startswith(b"220")
            assert (await mail_server.say(line))[:1] in (b"4", b"5")
        assert [record for record in caplog.records if record.exc_info] == []
        await world.send(mails.POSTFIX)
        assert len(world.recorder.callbacks) == 1


class TestGoneInTheMiddle:
    @pytest.mark.parametrize("part", [b"", b"From: x\r\n", mails.POSTFIX[:300], mails.POSTFIX + b"\r\n."])
    async def test_half_a_mail_is_none_and_leaves_no_trace(
        self, world: World, part: bytes, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with talk(world) as mail_server:
            assert (await mail_server.hear()).startswith(b"220")
            await mail_server.begin_mail()
            mail_server.write(part)
        await world.send(mails.VACATION)
        await world.listener.stop(DEADLINE)
        assert world.recorder.callbacks == []
        assert [record for record in caplog.records if record.exc_info] == []

    async def test_who_does_not_wait_for_the_answer_says_it_again_and_does_no_harm(self, world: World) -> None:
        world.recorder.gate.clear()
        async with talk(world) as mail_server:
            assert (await mail_server.hear()).startswith(b"220")
            await mail_server.begin_mail()
            mail_server.write(mails.POSTFIX.replace(b"\n", b"\r\n") + b"\r\n.\r\n")
            await world.recorder.asked.wait()
        world.recorder.gate.set()
        await world.send(mails.POSTFIX)
        assert {callback.notification_id for callback in world.recorder.callbacks} == {ID}


class TestStopping:
    async def test_a_mail_on_its_way_gets_its_answer_and_idle_ones_are_sent_away(self) -> None:
        world = World()
        await world.listener.start()
        world.recorder.gate.clear()
        async with talk(world) as idle, talk(world) as mail_server:
            assert (await idle.hear()).startswith(b"220")
            assert (await mail_server.hear()).startswith(b"220")
            await mail_server.begin_mail()
            answer = asyncio.create_task(mail_server.say(mails.POSTFIX.replace(b"\n", b"\r\n") + b"\r\n."))
            await world.recorder.asked.wait()
            stopping = asyncio.create_task(world.listener.stop(DEADLINE))
            assert (await idle.hear()).startswith(b"421")
            world.recorder.gate.set()
            assert (await answer).startswith(b"250")
            assert (await mail_server.hear()).startswith(b"421")
            await stopping
        assert len(world.recorder.callbacks) == 1
        await world.listener.stop()

    async def test_health_says_whether_it_listens(self) -> None:
        world = World()
        with pytest.raises(Unavailable):
            await world.listener.check()
        async with running(world):
            await world.listener.check()
        with pytest.raises(Unavailable):
            await world.listener.check()

    async def test_a_port_that_is_taken_stops_the_start(self, world: World) -> None:
        other = BounceListener(("127.0.0.1", world.listener.port), PATHS, world.recorder)
        with pytest.raises(ConfigurationError, match="HELIOGRAPH_BOUNCE_LISTEN"):
            await other.start()
