"""What stands in for a provider's HTTP API: real sockets, requests checked strictly, every fate of an answer."""

import asyncio
import json
import ssl
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from enum import StrEnum
from typing import Any, ClassVar

import msgspec

from domain.ports import EmailProvider
from tests.contracts.push_servers import RawServer, raw_server


class Fate(StrEnum):
    """What becomes of a mail."""

    TAKEN = "taken"
    REFUSED = "refused"  # for good, in a sentence that names the recipient
    BUSY = "busy"
    LIMITED = "limited"
    STRANGER = "stranger"  # who are you?
    NOBODY_OPENS = "nobody opens"  # not even a handshake
    NO_ANSWER = "no answer"  # though it has the mail
    CUT_OFF = "cut off"
    GIBBERISH = "gibberish"
    ENDLESS = "endless"
    HALF = "half"  # an answer that never ends


HANGING = frozenset({Fate.NO_ANSWER, Fate.HALF})


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """A mail as the provider understood it."""

    to: str
    to_name: str | None
    sender: str
    sender_name: str | None
    subject: str
    text: str | None
    html: str | None
    message_id: str
    headers: dict[str, str]
    notification_id: str | None
    files: tuple[tuple[str, str, bytes], ...] = ()
    """Name, type and content of each."""


class HttpRequest(msgspec.Struct, frozen=True):
    """What was posted. Header names are in lower case."""

    target: str
    headers: dict[str, str]
    body: bytes


class WrongRequestError(Exception):
    """The API would not have understood it: a defect of the adapter."""


class HttpReply(msgspec.Struct, frozen=True):
    """An answer; `content` is JSON, or nothing."""

    status: int
    content: Any = None
    headers: dict[str, str] = {}

    def on_the_wire(self) -> bytes:
        body = b"" if self.content is None else json.dumps(self.content).encode()
        head = [f"HTTP/1.1 {self.status} x", "content-type: application/json", f"content-length: {len(body)}"]
        return (
            "\r\n".join([*head, *(f"{name}: {value}" for name, value in self.headers.items()), "", ""]).encode() + body
        )


class HttpApi(ABC):
    """A provider's API. `wrong` holds what was wrong with requests; a test that leaves any there has failed.

    A subclass reads requests strictly and knows how the provider words its answers.
    """

    name: ClassVar[str]
    answers: ClassVar[Mapping[Fate, HttpReply]]

    def __init__(self) -> None:
        self.fate = Fate.TAKEN
        self.reply: HttpReply | None = None
        """Overrules the fate."""
        self.taken: list[Taken] = []
        self.wrong: list[str] = []
        self.called = 0
        self.server: RawServer | None = None

    @abstractmethod
    def read(self, request: HttpRequest) -> Taken:
        """The mail in a request. Raises `WrongRequestError`."""

    @abstractmethod
    def receipt(self, mail: Taken) -> HttpReply:
        """The answer for a mail that is taken; a refusal for what the real one would not take."""

    @abstractmethod
    def adapter(self, url: str, **settings: Any) -> EmailProvider:
        """The adapter under test, pointed at `url`."""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Listens on a free port for as long as the context lasts."""
        async with raw_server(self._serve) as self.server:
            yield

    @property
    def url(self) -> str:
        assert self.server is not None
        return self.server.url

    @property
    def connections(self) -> int:
        assert self.server is not None
        return self.server.connections

    def provider(self, **settings: Any) -> EmailProvider:
        """An adapter for this server. Where nobody opens it tries TLS, and nobody says hello."""
        if self.fate is Fate.NOBODY_OPENS:
            context = ssl.create_default_context()
            return self.adapter(self.url.replace("http:", "https:"), tls=context, **settings)
        return self.adapter(self.url, **settings)

    async def _serve(self, server: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.fate is Fate.NOBODY_OPENS:
            await reader.read()
            return
        while True:
            request = await _request(reader)
            self.called += 1
            answer = self._answered(request)
            writer.write(answer)
            await writer.drain()
            if self.reply is None and self.fate in HANGING:
                await reader.read()  # until the client gives up
            if self.reply is None and self.fate in {Fate.CUT_OFF, *HANGING}:
                return

    def _answered(self, request: HttpRequest) -> bytes:
        try:
            mail = self.read(request)
        except WrongRequestError as error:
            self.wrong.append(str(error))
            return HttpReply(400).on_the_wire()
        if self.reply is not None:
            return self.reply.on_the_wire()
        if self.fate in self.answers:
            return self.answers[self.fate].on_the_wire()
        receipt = self.receipt(mail)
        if receipt.status < 300:
            self.taken.append(mail)
        return _spoiled(receipt.on_the_wire(), self.fate)


def _spoiled(answer: bytes, fate: Fate) -> bytes:
    return {
        Fate.NO_ANSWER: b"",
        Fate.CUT_OFF: answer[: len(answer) // 2],
        Fate.HALF: answer[: len(answer) // 2],
        Fate.GIBBERISH: b"hello there\r\n",
        Fate.ENDLESS: b"HTTP/1.1 200 OK\r\ncontent-length: 9999999\r\n\r\n" + b"x" * 200_000,
    }.get(fate, answer)


async def _request(reader: asyncio.StreamReader) -> HttpRequest:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip("\r\n").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    body = await reader.readexactly(int(headers["content-length"]))
    method, target, _ = first.split(" ")
    return HttpRequest(target if method == "POST" else f"{method} {target}", headers, body)


def require(condition: object, why: str) -> None:
    """Raises `WrongRequestError` unless `condition` holds."""
    if not condition:
        raise WrongRequestError(why)
