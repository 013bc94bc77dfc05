"""A client of one stream of server-sent events that reads every line itself."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec

from tests.services.gateway_fakes import KEY

EVENTS = {"Accept": "text/event-stream"}


class Event(msgspec.Struct, frozen=True):
    """What stands between two empty lines; `fields` in order, a comment under an empty name."""

    fields: tuple[tuple[str, str], ...]

    @property
    def kind(self) -> str:
        """What `event` says; empty for a comment."""
        return dict(self.fields).get("event", "")

    @property
    def id(self) -> str | None:
        """What `id` says."""
        return dict(self.fields).get("id")

    @property
    def result(self) -> dict[str, Any]:
        """The result that it carries."""
        found: dict[str, Any] = json.loads(dict(self.fields)["data"])
        return found


class Stream:
    """The client's end of a stream."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._lines = response.aiter_lines()

    async def block(self) -> Event | None:
        """What comes next, a comment too; None: the stream has ended, in order."""
        fields: list[tuple[str, str]] = []
        async with asyncio.timeout(10):
            async for line in self._lines:
                if not line:
                    return Event(tuple(fields))
                name, _, value = line.partition(":")
                fields.append((name, value.removeprefix(" ")))
        assert fields == [], "it broke off"
        return None

    async def hear(self) -> Event | None:
        """The next event; None: the stream has ended, in order."""
        while (block := await self.block()) is not None and block.kind == "":
            pass
        return block

    async def hear_results(self) -> list[dict[str, Any]]:
        """All results until the operation is complete and the stream has ended."""
        results = []
        while (event := await self.hear()) is not None and event.kind == "next":
            results.append(event.result)
        assert event == Event((("event", "complete"), ("data", "")))
        assert await self.block() is None
        return results


@asynccontextmanager
async def streaming(
    url: str, query: str, *, key: str = KEY, headers: Mapping[str, str] = EVENTS, **variables: Any
) -> AsyncIterator[Stream]:
    """The answer to an operation that is asked for by POST."""
    credential = {"Authorization": f"Bearer {key}"}
    body = {"query": query, "variables": variables}
    async with (
        httpx.AsyncClient(timeout=10) as http,
        http.stream("POST", url, json=body, headers={**credential, **headers}) as response,
    ):
        yield Stream(response)
