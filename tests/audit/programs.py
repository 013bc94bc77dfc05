"""Programs of others, run and listened to."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.servers import npm

FOLDER = Path(__file__).parent
DEADLINE = 60.0


def program(name: str, package: str) -> str:
    """Where a program is. Raises `RuntimeError` that says what to install."""
    found = shutil.which(name)
    if found is None:
        raise RuntimeError(f"These tests need {name}: install {package}.")
    return found


def node(script: str, *arguments: str) -> list[str]:
    """The command that runs a script of this folder."""
    return [npm.node(), str(FOLDER / script), *arguments]


class Talker:
    """A program that says something line by line."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def hear(self) -> str:
        """The next line, empty after the last one; it must come."""
        assert self._process.stdout is not None
        async with asyncio.timeout(DEADLINE):
            return (await self._process.stdout.readline()).decode()

    async def hear_all(self) -> list[str]:
        """Every line until it ends."""
        lines = []
        while line := await self.hear():
            lines.append(line)
        return lines

    async def ended(self) -> int:
        """Its exit status."""
        async with asyncio.timeout(DEADLINE):
            return await self._process.wait()


@asynccontextmanager
async def running(command: list[str]) -> AsyncIterator[Talker]:
    """The program, for as long as the context lasts; it is killed where it does not end by itself."""
    process = await asyncio.create_subprocess_exec(*command, cwd=FOLDER, stdout=asyncio.subprocess.PIPE)
    try:
        yield Talker(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def output(command: list[str]) -> str:
    """All that the program says; it must end well."""
    async with running(command) as talker:
        lines = await talker.hear_all()
        assert await talker.ended() == 0
    return "".join(lines)
