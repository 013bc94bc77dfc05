"""A recipe that runs: what it says, line by line."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.servers.npm import node

DEADLINE = 40.0
HERE = Path(__file__).parent
RECIPES = HERE / "recipes"


class Program:
    """A recipe as a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        assert process.stdin is not None
        self._process, self._out, self._in = process, process.stdout, process.stdin
        self.said: list[str] = []

    async def line(self) -> str:
        """The next line; an empty text at the end. Raises `TimeoutError` when nothing comes."""
        async with asyncio.timeout(DEADLINE):
            text = (await self._out.readline()).decode().rstrip("\n")
        if text:
            self.said.append(text)
        return text

    async def until(self, text: str) -> str:
        """The first line that has `text` in it; fails when the program ends before."""
        while text not in (line := await self.line()):
            assert line, f"it ended before it said {text!r}: {self.said}"
        return line

    async def event(self) -> dict[str, Any]:
        """The next line, which is JSON."""
        line = await self.line()
        assert line, f"it ended: {self.said}"
        event: dict[str, Any] = json.loads(line)
        return event

    async def rest(self) -> list[str]:
        """All lines to the end, which it comes to by itself; also those that were read before."""
        while await self.line():
            pass
        async with asyncio.timeout(DEADLINE):
            await self._process.wait()
        return self.said

    async def enter(self) -> None:
        """An empty line on its standard input."""
        self._in.write(b"\n")
        async with asyncio.timeout(DEADLINE):
            await self._in.drain()

    async def kill(self) -> None:
        """SIGKILL. What it had said by then is in `said`. May be called twice."""
        if self._process.returncode is None:
            self._process.kill()
        async with asyncio.timeout(DEADLINE):
            self.said += (await self._out.read()).decode().splitlines()
            await self._process.wait()


@asynccontextmanager
async def recipe(
    name: str, *arguments: str, port: int, options: Sequence[str] = (), **env: str
) -> AsyncIterator[Program]:
    """`recipes/<name>`, or another program by its path from there, against the gateway at `port`.

    It is killed at the end if it still runs.
    """
    interpreter = sys.executable if name.endswith(".py") else node()
    process = await asyncio.create_subprocess_exec(
        interpreter,
        *options,
        str(RECIPES / name),
        *arguments,
        env={**os.environ, "HELIOGRAPH_URL": f"http://127.0.0.1:{port}", **env},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    program = Program(process)
    try:
        yield program
    finally:
        await program.kill()
