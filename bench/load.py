"""The load: GraphQL mutations over plain HTTP/1.1, with as little of our own as can be."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping

MUTATION = """mutation Send($input: SendNotificationInput!) {
  send_notification(input: $input) { success message data { accepted notifications { id status } } } }"""
BATCH = """mutation Batch($input: SendBatchInput!) {
  send_batch(input: $input) { success message data { accepted } } }"""
CONTENT = {
    "subject": "Your order {{ order }} is on its way",
    "html": "<h1>Hello {{ name }}</h1><p>Your order <b>{{ order }}</b> left our warehouse. "
    + "Lorem ipsum. " * 20
    + "</p>",
    "text": "Hello {{ name }}, your order {{ order }} left our warehouse. " + "Lorem ipsum. " * 20,
}


class Client:
    """One keep-alive connection to the gateway."""

    def __init__(self, port: int, key: str) -> None:
        self._port, self._key = port, key
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def call(self, query: str, variables: dict[str, object]) -> dict[str, dict[str, object]]:
        """One operation; its `data`. Raises `RuntimeError` on errors of any kind."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        body = json.dumps({"query": query, "variables": variables}).encode()
        head = (
            f"POST /graphql HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {self._key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        answer = json.loads(await _read_body(reader))
        if "errors" in answer:
            raise RuntimeError(answer["errors"][0]["message"])
        data: dict[str, dict[str, object]] = answer["data"]
        return data

    def close(self) -> None:
        """Hang up."""
        if self._streams is not None:
            self._streams[1].close()


async def _read_body(reader: asyncio.StreamReader) -> bytes:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
    return await reader.readexactly(length)


async def _send(client: Client, given: Mapping[str, object]) -> str:
    payload = (await client.call(MUTATION, {"input": given}))["send_notification"]
    if not payload["success"]:
        raise RuntimeError(str(payload["message"]))
    data = payload["data"]
    assert isinstance(data, dict)
    return str(data["notifications"][0]["id"])


async def send_one(client: Client, number: int) -> str:
    """Send one email; the notification's id."""
    given = {
        "recipient": {"email": f"user{number}@example.com"},
        "content": CONTENT,
        "channels": ["EMAIL"],
        "variables": {"name": f"User {number}", "order": f"A-{number:07d}"},
    }
    return await _send(client, given)


async def send_push(client: Client, number: int) -> str:
    """Send one push notification; its id."""
    given = {
        "recipient": {"device_token": f"token-of-user-{number}"},
        "content": {"title": "Hello {{ name }}", "body": "Your order {{ order }} is on its way."},
        "channels": ["PUSH"],
        "variables": {"name": f"User {number}", "order": f"A-{number:07d}"},
    }
    return await _send(client, given)


async def send_batch(client: Client, first: int, count: int) -> int:
    """Send one batch of `count` emails; how many were accepted."""
    recipients = [
        {
            "recipient": {"email": f"user{number}@example.com"},
            "variables": {"name": f"U{number}", "order": f"B-{number}"},
        }
        for number in range(first, first + count)
    ]
    given = {"recipients": recipients, "content": CONTENT, "channels": ["EMAIL"]}
    payload = (await client.call(BATCH, {"input": given}))["send_batch"]
    if not payload["success"]:
        raise RuntimeError(str(payload["message"]))
    data = payload["data"]
    assert isinstance(data, dict)
    return int(data["accepted"])


async def in_batches(port: int, key: str, total: int, size: int) -> int:
    """`total` emails in batches of `size`, over two connections; how many were accepted."""
    firsts = iter(range(0, total, size))
    accepted = 0

    async def one() -> None:
        nonlocal accepted
        client = Client(port, key)
        for first in firsts:
            count = await send_batch(client, first, size)
            accepted += count  # not in one line: the other connection adds to it while this one waits
        client.close()

    await asyncio.gather(one(), one())
    return accepted


async def flat_out(
    port: int, key: str, connections: int, total: int, send: Callable[[Client, int], Awaitable[str]]
) -> dict[str, float]:
    """`total` sends over `connections` connections, as fast as they are answered; id -> time of sending."""
    numbers = iter(range(total))
    sent: dict[str, float] = {}

    async def one() -> None:
        client = Client(port, key)
        for number in numbers:
            started = time.time()
            sent[await send(client, number)] = started
        client.close()

    await asyncio.gather(*(one() for _ in range(connections)))
    return sent


async def paced(
    port: int, key: str, rate: float, seconds: float, send: Callable[[Client, int], Awaitable[str]] = send_one
) -> tuple[dict[str, float], list[float]]:
    """Sends at a steady rate, each on time whether the last was answered or not; id -> time, and answer times."""
    clients = [Client(port, key) for _ in range(20)]
    free: asyncio.Queue[Client] = asyncio.Queue()
    for client in clients:
        free.put_nowait(client)
    sent: dict[str, float] = {}
    answers: list[float] = []

    async def one(number: int) -> None:
        client = await free.get()
        started = time.time()
        sent[await send(client, number)] = started
        answers.append(time.time() - started)
        free.put_nowait(client)

    begun, tasks = time.monotonic(), []
    for number in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, begun + number / rate - time.monotonic()))
        tasks.append(asyncio.create_task(one(number)))
    await asyncio.gather(*tasks)
    for client in clients:
        client.close()
    return sent, answers
