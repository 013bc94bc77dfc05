"""What a failed call means, and what a connection survives: the lean transport against real sockets."""

import asyncio
import ssl
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from domain.notification import Outcome
from tests.contracts.push_servers import DEADLINE, OK, canned, push, raw_server, self_signed, until
from workers.http_pool import HttpPool, NoAnswerError, NotSentError
from workers.push.fcm import FcmProvider

CHUNKED = b'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n8\r\n{"name":\r\n8\r\n"p/m/1"}\r\n0\r\n\r\n'


@pytest.mark.parametrize(
    "answer",
    [
        OK,
        CHUNKED,
        b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n" + OK,
        OK.replace(b"content-length", b"connection: close\r\ncontent-length"),
    ],
    ids=["length", "chunked", "interim", "close"],
)
async def test_every_framing_of_an_answer_is_understood_and_the_next_call_works(answer: bytes) -> None:
    async with raw_server(canned(answer)) as server:
        provider = FcmProvider(None, "demo", url=server.url)
        for _ in range(3):
            assert (await provider.send(push(), DEADLINE)).provider_message_id == "p/m/1"
        assert server.connections == (3 if b"connection: close" in answer else 1)
        await provider.close()


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{",
        b"220 mail.example ESMTP\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 999999\r\n\r\n" + b"x" * 999_999,
    ],
    ids=["closed", "half", "not http", "upgrade", "endless"],
)
async def test_a_written_request_without_a_whole_answer_is_unknown(answer: bytes) -> None:
    async with raw_server(canned(answer, close=True)) as server:
        provider = FcmProvider(None, "demo", url=server.url)
        result = await provider.send(push(), DEADLINE)
        assert (result.outcome, result.code) == (Outcome.UNKNOWN, "no_answer")
        assert server.requests == 1
        await provider.close()


async def test_an_answer_that_nobody_asked_for_does_not_become_the_next_ones() -> None:
    async with raw_server(canned(OK + OK.replace(b"p/m/1", b"p/m/2"))) as server:
        provider = FcmProvider(None, "demo", url=server.url)
        for _ in range(3):
            assert (await provider.send(push(), DEADLINE)).provider_message_id == "p/m/1"
        await provider.close()


async def test_a_connection_that_the_server_closed_while_it_was_idle_is_replaced() -> None:
    async with raw_server(canned(OK)) as server:
        pool = HttpPool(server.url)
        await pool.post("/", {}, b"{}", DEADLINE)
        server.drop_connections()
        await until(lambda: not pool._open)
        assert (await pool.post("/", {}, b"{}", DEADLINE)).status == 200
        assert server.connections == 2
        pool.close()


async def test_without_time_left_nothing_is_written() -> None:
    async with raw_server(canned(OK)) as server:
        pool = HttpPool(server.url)
        await pool.post("/", {}, b"{}", DEADLINE)  # from now on a connection waits to be used
        with pytest.raises(NotSentError):
            await pool.post("/", {}, b"{}", 0.0)
        assert (await pool.post("/", {}, b"{}", DEADLINE)).status == 200
        assert server.requests == 2
        pool.close()


async def test_closing_fails_the_calls_under_way() -> None:
    async with raw_server(canned(b"")) as server:
        pool = HttpPool(server.url)
        call = asyncio.create_task(pool.post("/", {}, b"{}", DEADLINE))
        await until(lambda: server.requests == 1)
        pool.close()
        with pytest.raises(NoAnswerError):
            await call


async def test_tls_is_verified(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    serving.load_cert_chain(certificate, key)
    async with raw_server(canned(OK), tls=serving) as server:
        url = f"https://localhost:{urlsplit(server.url).port}"
        stranger = HttpPool(url)
        with pytest.raises(NotSentError):
            await stranger.post("/", {}, b"{}", DEADLINE)
        assert server.requests == 0
        trusting = HttpPool(url, tls=ssl.create_default_context(cafile=certificate))
        assert (await trusting.post("/", {}, b"{}", DEADLINE)).status == 200
        trusting.close()


async def test_a_server_that_never_finishes_opening_leaves_time_for_something_else() -> None:
    async with raw_server(canned(OK)) as server:
        pool = HttpPool(server.url.replace("http:", "https:"), connect_within=0.05)
        with pytest.raises(NotSentError, match="no connection within"):
            await pool.post("/", {}, b"{}", DEADLINE)
        pool.close()
