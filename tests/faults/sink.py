"""A mail server that tests hold in their hands: it stops where it is told to, and remembers every mail that it took."""

import asyncio
import re
from collections import Counter, defaultdict
from enum import StrEnum

import msgspec

_OUR_ID = re.compile(rb"^Message-ID:\s*<(ntf_[^@]+)@", re.IGNORECASE | re.MULTILINE)
_ADDRESS = re.compile(r"<(.*)>")


class Stage(StrEnum):
    """A moment of the conversation about one mail, at which it can be held."""

    RECIPIENT = "RECIPIENT"  # the recipient was named, and not a word of the mail is out
    MAIL = "MAIL"  # the mail is here, and was not taken yet
    ANSWER = "ANSWER"  # the mail was taken, and nobody was told


class Taken(msgspec.Struct, frozen=True):
    """A mail that was taken: whose, to whom, and when (the loop's clock)."""

    id: str
    recipient: str
    at: float


class Hold:
    """One place where mails to one recipient are held, until `release`; or until `drop`, which ends their sessions."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self._decided = asyncio.Event()
        self._dropped = False

    def release(self) -> None:
        """Let what is held here, and what comes later, go on."""
        self._decided.set()

    def drop(self) -> None:
        """Hang up on what is held here; what comes later goes on."""
        self._dropped = True
        self._decided.set()

    async def passed(self) -> bool:
        """Wait here. Whether to go on."""
        first = not self._decided.is_set()
        self.reached.set()
        await self._decided.wait()
        return not (first and self._dropped)


class Sink:
    """Listens on a free port from `start` to `stop`."""

    def __init__(self) -> None:
        self.taken: list[Taken] = []
        self.port = 0
        self._holds: dict[tuple[Stage, str], Hold] = {}
        self._refusals: defaultdict[str, list[bytes]] = defaultdict(list)
        self._server: asyncio.Server | None = None
        self._sessions: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """End every session."""
        assert self._server is not None
        self._server.close()
        for hold in self._holds.values():
            hold.drop()
        for writer in self._sessions.values():
            writer.transport.abort()
        await asyncio.gather(*self._sessions)

    @property
    def url(self) -> str:
        """What the Email Service wants to know."""
        return f"smtp://127.0.0.1:{self.port}?starttls=never"

    def hold(self, stage: Stage, recipient: str) -> Hold:
        """Hold the mails to this recipient at this moment."""
        hold = self._holds[stage, recipient] = Hold()
        return hold

    def refuse_once(self, recipient: str, reply: bytes) -> None:
        """Answer the next mail to this recipient with `reply` instead of taking it."""
        self._refusals[recipient].append(reply)

    def mails(self) -> Counter[str]:
        """How often each notification's mail was taken."""
        return Counter(mail.id for mail in self.taken)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = asyncio.current_task()
        assert session is not None
        self._sessions[session] = writer
        try:
            await self._converse(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client has gone
        finally:
            del self._sessions[session]
            writer.transport.abort()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one command after the other; the client must not send ahead, so that each can be held."""
        writer.write(b"220 sink\r\n")
        recipient = ""
        while (line := (await reader.readuntil(b"\r\n")).decode()) != "QUIT\r\n":
            verb = line[:4].upper()
            if verb == "RCPT" and (found := _ADDRESS.search(line)):
                recipient = found[1]
                if not await self._passed(Stage.RECIPIENT, recipient):
                    return
            if verb == "DATA":
                writer.write(b"354 go on\r\n")
                reply = await self._take(recipient, await reader.readuntil(b"\r\n.\r\n"))
                if reply is None:
                    return
                writer.write(reply)
            else:
                writer.write(b"250 2.0.0 OK\r\n")
        writer.write(b"221 bye\r\n")
        await writer.drain()

    async def _take(self, recipient: str, mail: bytes) -> bytes | None:
        """Take the mail, or not; the reply to it, or None to hang up."""
        if not await self._passed(Stage.MAIL, recipient):
            return None
        if self._refusals[recipient]:
            return self._refusals[recipient].pop(0) + b"\r\n"
        found = _OUR_ID.search(mail)
        self.taken.append(Taken(found[1].decode() if found else "?", recipient, asyncio.get_running_loop().time()))
        return b"250 2.0.0 taken\r\n" if await self._passed(Stage.ANSWER, recipient) else None

    async def _passed(self, stage: Stage, recipient: str) -> bool:
        hold = self._holds.get((stage, recipient))
        return hold is None or await hold.passed()
