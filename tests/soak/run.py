"""One soak from start to end: the load, the schedule of faults, the waiting for the last ending, the checks."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import asyncpg
import msgspec

from domain.concurrency import Tasks
from tests.faults.invariants import check
from tests.soak.faults import Fault, schedule
from tests.soak.load import Load
from tests.soak.report import Episode, Row, rows_of, table
from tests.soak.system import Soaked

WARM_UP = 3.0
SETTLE = 120.0
"""Seconds for which the last endings are waited for."""
RECOVERY = 60.0
"""Seconds for which a recovery is waited for."""
STEP = 0.25


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How long, how much, how often, in which order."""

    minutes: float = 10.0
    rate: float = 20.0
    every: float = 10.0
    seed: int = 1


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it. No breaches: every promise held."""

    options: Options
    rows: list[Row]
    accepted: int
    statuses: dict[str, int]
    duplicates: int
    bound: int
    breaches: list[str]

    def text(self) -> str:
        """The table, and the sentence below it."""
        options = self.options
        told = "no promise was broken" if not self.breaches else "\n".join(["BROKEN:", *self.breaches[:50]])
        return (
            f"{options.minutes:g} minutes at {options.rate:g}/s, a fault every {options.every:g} s, seed {options.seed}"
            f"\n\n{table(self.rows)}\n\n"
            f"{self.accepted:,} accepted; {self.statuses}; {self.duplicates} duplicates, at most {self.bound}; {told}"
        )


class Endings:
    """The gateway database as the soak looks at it: which notifications have ended, and how."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def unfinished(self) -> set[str]:
        """Those that have no final status; everything that is there while the database is away."""
        rows = await self.query("SELECT id FROM notifications WHERE next_at IS NOT NULL")
        return {row["id"] for row in rows}

    async def statuses(self) -> dict[str, str]:
        """All that have ended, and how."""
        rows = await self.query("SELECT id, status FROM notifications WHERE next_at IS NULL")
        return {row["id"]: row["status"] for row in rows}

    async def query(self, sql: str) -> list[asyncpg.Record]:
        """On a connection of its own: the server is killed now and then. Raises what asyncpg raises."""
        async with asyncio.timeout(10):
            connection = await asyncpg.connect(self._url)
            try:
                return list(await connection.fetch(sql))
            finally:
                await connection.close()


async def soak(folder: Path, options: Options) -> Result:
    """Run it. Takes `minutes`, and what starting and settling takes."""
    with Soaked(folder) as system:
        load, endings = Load(system.gateways, options.rate), Endings(system.databases["gateway"])
        sending = asyncio.create_task(load.run())
        await asyncio.sleep(WARM_UP)
        episodes = await break_things(system, load, endings, options)
        load.stop()
        await sending
        await settle(endings)
        return await judge(system, load, endings, episodes, options)


async def break_things(system: Soaked, load: Load, endings: Endings, options: Options) -> list[Episode]:
    """One fault every `every` seconds until the time is over; recoveries are watched on the side."""
    episodes: list[Episode] = []
    watching = Tasks()
    ends_at = time.monotonic() + options.minutes * 60
    for fault in schedule(options.seed):
        begun = time.monotonic()
        if begun + options.every > ends_at:
            break
        episodes.append(episode := await act(system, fault))
        _ = watching.start("recovery", watch_recovery(load, endings, episode))
        await asyncio.sleep(max(0.0, begun + options.every - time.monotonic()))
    await watching.drain(RECOVERY)
    return episodes


async def act(system: Soaked, fault: Fault) -> Episode:
    """Break one thing and mend it."""
    episode = Episode(name=fault.name, begun=time.monotonic())
    await fault.act(system)
    episode.mended = time.monotonic()
    return episode


async def watch_recovery(load: Load, endings: Endings, episode: Episode) -> None:
    """Note when all that was accepted by the time of the mending had ended."""
    before = {id for id, at in load.accepted.items() if at <= episode.mended}
    while time.monotonic() < episode.mended + RECOVERY:
        with suppress(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            if not before & await endings.unfinished():
                episode.recovered = time.monotonic()
                return
        await asyncio.sleep(STEP)


async def settle(endings: Endings) -> None:
    """Wait until nothing is unfinished; what still is after that is a breach."""
    with suppress(TimeoutError):
        async with asyncio.timeout(SETTLE):
            while await endings.unfinished():  # noqa: ASYNC110 - it is elsewhere
                await asyncio.sleep(STEP)
    await asyncio.sleep(1.0)  # the sink writes a few times a second


async def judge(system: Soaked, load: Load, endings: Endings, episodes: list[Episode], options: Options) -> Result:
    """Check every invariant, and count."""
    final, mails = await endings.statuses(), system.mails()
    checked = await check(system.databases["gateway"], mails)
    return Result(
        options=options,
        rows=rows_of(episodes, load.accepted, final, mails),
        accepted=len(load.accepted),
        statuses=checked.statuses,
        duplicates=checked.duplicates,
        bound=checked.unknown,
        breaches=[*checked.breaches, *lost(load.accepted, final, mails)],
    )


def lost(accepted: Mapping[str, float], final: Mapping[str, str], mails: Counter[str]) -> Iterator[str]:
    """Whatever a caller was told is accepted and was not sent."""
    for id in accepted:
        if final.get(id) != "SENT":
            yield f"{id} was accepted and is {final.get(id, 'unfinished')}"
        elif mails[id] == 0:
            yield f"{id} is SENT, and the sink never saw it"
