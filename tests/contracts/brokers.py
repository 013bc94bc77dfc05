"""What the broker's tests share: publications to send, and ways to wait."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from uuid import uuid4

from domain.concurrency import backoff
from domain.notification import Channel
from domain.ports import Broker, Message, Publication, Received
from workers.broker.topology import EXCHANGE_NOTIFICATIONS, EXCHANGE_STATUS

PATIENCE = 30.0


def message(body: str = "{}", **fields: object) -> Message:
    defaults = {"type": "test", "message_id": uuid4().hex}
    return Message(body=body.encode(), **(defaults | fields))  # type: ignore[arg-type]


def emails(*bodies: str) -> list[Publication]:
    return [Publication(EXCHANGE_NOTIFICATIONS, Channel.EMAIL.routing_key, message(body)) for body in bodies]


def statuses(*bodies: str) -> list[Publication]:
    return [Publication(EXCHANGE_STATUS, "status.changed", message(body)) for body in bodies]


async def receive(source: AsyncIterator[Received], count: int) -> list[Received]:
    """The next `count` messages; fails when they do not come."""
    async with asyncio.timeout(PATIENCE):
        return [await anext(source) for _ in range(count)]


def bodies(received: list[Received]) -> list[str]:
    return [each.message.body.decode() for each in received]


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE):
        async for _ in backoff(first=0.01, limit=0.05):
            if await condition():
                return


async def until_depth(broker: Broker, queue: str, messages: int) -> None:
    async def reached() -> bool:
        return (await broker.depth(queue)).messages == messages

    await until(reached)


async def until_consumers(broker: Broker, queue: str, count: int) -> None:
    async def reached() -> bool:
        return (await broker.depth(queue)).consumers == count

    await until(reached)
