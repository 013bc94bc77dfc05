"""The client of a subscription: what it makes of each way in which a connection can end."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from api import subscriber
from api.subscriber import Lost, Refused, results
from tests.faults.wire import Wire
from tests.services.gateway_fakes import KEY
from tests.services.socket_client import FEED

Play = Callable[[ServerConnection], Awaitable[None]]
ACK = json.dumps({"type": "connection_ack"})


def following(payload: Any, type: str = "next") -> str:
    return json.dumps({"id": "1", "type": type, "payload": payload})


@asynccontextmanager
async def playing(play: Play) -> AsyncIterator[str]:
    """A server that says yes to every connection, and then does as it is told."""

    async def talk(socket: ServerConnection) -> None:
        await socket.recv()
        await play(socket)

    async with serve(talk, "127.0.0.1", 0, subprotocols=["graphql-transport-ws"]) as server:  # type: ignore[list-item]
        port = next(iter(server.sockets)).getsockname()[1]
        yield f"http://127.0.0.1:{port}/"


async def all_of(url: str) -> list[Any]:
    async with aclosing(results(url, KEY, FEED, {})) as found:
        return [each async for each in found]


async def test_each_result_comes_until_it_is_complete() -> None:
    async def play(socket: ServerConnection) -> None:
        await socket.send(ACK)
        asked = json.loads(await socket.recv())
        for number in (1, 2):
            await socket.send(following({"data": {"status_feed": {"sequence": number}}}))
        await socket.send(json.dumps({"id": asked["id"], "type": "complete"}))
        await socket.wait_closed()

    async with playing(play) as url:
        assert await all_of(url) == [{"sequence": 1}, {"sequence": 2}]


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        *((Lost, code) for code in (1000, 1001, 1012, 1013, 4408)),
        *((Refused, code) for code in (1011, 4400, 4401, 4403)),
    ],
)
async def test_a_close_code_says_whether_to_come_back(raised: type[Exception], code: int) -> None:
    async def play(socket: ServerConnection) -> None:
        await socket.send(ACK)
        await socket.close(code, "Because")

    async with playing(play) as url:
        with pytest.raises(raised):
            await all_of(url)


@pytest.mark.parametrize(
    ("code", "raised"),
    [("RATE_LIMITED", Lost), ("UPSTREAM_UNAVAILABLE", Lost), ("FORBIDDEN", Refused), ("CURSOR_EXPIRED", Refused)],
)
@pytest.mark.parametrize("type", ["next", "error"])
async def test_an_error_says_whether_to_come_back(code: str, raised: type[Exception], type: str) -> None:
    errors = [{"message": "Because", "extensions": {"code": code}}]

    async def play(socket: ServerConnection) -> None:
        await socket.send(ACK)
        await socket.send(following(errors if type == "error" else {"data": None, "errors": errors}, type))
        await socket.wait_closed()

    async with playing(play) as url:
        with pytest.raises(raised, match=r"^Because$"):
            await all_of(url)


@pytest.mark.parametrize("answer", ["no JSON", '"a text"', "{}"])
async def test_what_speaks_another_protocol_is_no_gateway(answer: str) -> None:
    async def play(socket: ServerConnection) -> None:
        await socket.send(answer)
        await socket.wait_closed()

    async with playing(play) as url:
        with pytest.raises(Refused, match="no gateway"):
            await all_of(url)


async def test_who_lets_nobody_in_and_who_is_not_there_is_come_back_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscriber, "OPEN_SECONDS", 0.2)

    async def play(socket: ServerConnection) -> None:
        await socket.wait_closed()

    async with playing(play) as url:
        with pytest.raises(Lost):
            await all_of(url)
    with pytest.raises(Lost):
        await all_of(url)


async def test_a_connection_on_which_nothing_arrives_any_more_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscriber, "PING_SECONDS", 0.1)
    monkeypatch.setattr(subscriber, "PONG_SECONDS", 0.1)

    async def play(socket: ServerConnection) -> None:
        await socket.send(ACK)
        await socket.recv()
        await socket.send(following({"data": {"status_feed": {"sequence": 1}}}))
        await socket.wait_closed()

    async with playing(play) as url:
        wire = Wire(int(url.rstrip("/").rpartition(":")[2]))
        await wire.start()
        try:
            async with aclosing(results(f"http://127.0.0.1:{wire.port}", KEY, FEED, {})) as found:
                assert await anext(found) == {"sequence": 1}
                wire.hold_answers()
                with pytest.raises(Lost):
                    async with asyncio.timeout(20):
                        await anext(found)
        finally:
            await wire.stop()
