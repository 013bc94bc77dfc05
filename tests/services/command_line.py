"""`heliograph …` as a process of its own, the way people and scripts run it."""

import asyncio
import os
import pty
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from api.server import Server
from tests.services.gateway_fakes import KEY, Gateway, running_gateway

DEADLINE = 40.0
COMMAND = (sys.executable, "-m", "api.cli")
UNSAID = ("HELIOGRAPH_URL", "HELIOGRAPH_API_KEY", "HELIOGRAPH_PORT", "PORT", "FORCE_COLOR", "NO_COLOR", "COLUMNS")


class Done(msgspec.Struct, frozen=True):
    """How a command ended."""

    status: int
    out: str
    err: str


class Command:
    """One that runs."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        assert process.stderr is not None
        self._process, self._out, self._err = process, process.stdout, process.stderr
        self._said: list[str] = []
        self._noted: list[str] = []

    async def line(self) -> str:
        """The next line on standard output; it must come."""
        return await self._next(self._out, self._said)

    async def note(self) -> str:
        """The next line on standard error; it must come."""
        return await self._next(self._err, self._noted)

    async def _next(self, stream: asyncio.StreamReader, heard: list[str]) -> str:
        async with asyncio.timeout(DEADLINE):
            line = (await stream.readline()).decode()
        assert line, f"it ended: {self._said} {self._noted}"
        heard.append(line)
        return line.rstrip("\n")

    def interrupt(self) -> None:
        """Ctrl-C."""
        self._process.send_signal(signal.SIGINT)

    async def done(self) -> Done:
        """Wait until it ends by itself; all that it said, also what was read before."""
        async with asyncio.timeout(DEADLINE):
            out, err = await asyncio.gather(self._out.read(), self._err.read())
            status = await self._process.wait()
        return Done(status, "".join(self._said) + out.decode(), "".join(self._noted) + err.decode())

    async def kill(self) -> None:
        """SIGKILL. May be called twice, and after it has ended."""
        if self._process.returncode is None:
            self._process.kill()
        async with asyncio.timeout(DEADLINE):
            await self._process.wait()


@asynccontextmanager
async def started(*words: str, url: str, key: str = KEY, stdin: bytes = b"") -> AsyncIterator[Command]:
    """A command against the gateway at `url`; it is killed at the end if it still runs."""
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *words,
        env=surroundings(url, key),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    process.stdin.write(stdin)
    process.stdin.close()
    command = Command(process)
    try:
        yield command
    finally:
        await command.kill()


async def heliograph(*words: str, url: str, key: str = KEY, stdin: bytes = b"") -> Done:
    """A command that ends by itself."""
    async with started(*words, url=url, key=key, stdin=stdin) as command:
        return await command.done()


async def on_a_terminal(*words: str, url: str, key: str = KEY, columns: int = 160, shown: Callable[[str], bool]) -> str:
    """What a terminal gets, up to where `shown` has seen what it waits for; the command is ended then."""
    ours, theirs = pty.openpty()
    env = {**surroundings(url, key), "TERM": "xterm-256color", "COLUMNS": str(columns), "LINES": "40"}
    process = await asyncio.create_subprocess_exec(
        *COMMAND, *words, env=env, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    text = ""
    try:
        async with asyncio.timeout(DEADLINE):
            while not shown(text):
                text += (await asyncio.to_thread(os.read, ours, 65_536)).decode(errors="replace")
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        os.close(ours)
    return text


def surroundings(url: str, key: str) -> dict[str, str]:
    """The environment, with a gateway and a key in it."""
    kept = {name: value for name, value in os.environ.items() if name not in UNSAID}
    return {**kept, "HELIOGRAPH_URL": url, "HELIOGRAPH_API_KEY": key, "PYTHONPATH": str(Path(__file__).parents[2])}


class Served:
    """A gateway in memory on a real port, which may be taken away and come back where it was."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway, self._server = gateway, Server(gateway.app, "127.0.0.1", 0)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self._server.port}"

    @property
    def port(self) -> int:
        return self._server.port

    async def start(self) -> None:
        """Serve, for the first time."""
        await self._server.start()

    async def leave(self) -> int:
        """Stop serving; the port to come back to. What happens meanwhile is in the log."""
        port = self._server.port
        await self._server.stop()
        return port

    async def come_back(self, port: int) -> None:
        """Serve again."""
        self._server = Server(self.gateway.app, "127.0.0.1", port)
        await self._server.start()

    async def stop(self) -> None:
        """For good."""
        await self._server.stop()


@asynccontextmanager
async def served() -> AsyncIterator[Served]:
    """A gateway with nothing in it."""
    async with running_gateway() as gateway:
        here = Served(gateway)
        await here.start()
        try:
            yield here
        finally:
            await here.stop()
