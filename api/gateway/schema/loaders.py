"""Look-ups that fields of many objects ask for one by one and that are answered in one call."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from strawberry.dataloader import DataLoader

from api.records import User
from domain.callbacks import Callback
from domain.errors import NotFound
from domain.events import Attempt
from domain.ports import LogRow
from domain.template import TemplateVersion
from domain.views import NotificationView

if TYPE_CHECKING:
    from api.gateway.schema.services import Reads, Services

BATCH = 200
"""Keys asked for in one call."""
CONCURRENT_CALLS = 8
"""What another service answers one by one is asked for so many at a time."""

Value = TypeVar("Value")
Default = TypeVar("Default")


class Loaders:
    """The loaders of one operation. What they loaded once they remember."""

    def __init__(self, services: "Services") -> None:
        queries = services.queries
        self.notifications: DataLoader[str, NotificationView | None] = DataLoader(
            _by_key(queries.notifications_by_id, None), max_batch_size=BATCH
        )
        self.attempts: DataLoader[str, Sequence[Attempt]] = DataLoader(
            _by_key(queries.attempts, ()), max_batch_size=BATCH
        )
        self.callbacks: DataLoader[str, Sequence[Callback]] = DataLoader(
            _by_key(queries.callbacks, ()), max_batch_size=BATCH
        )
        self.timelines: DataLoader[tuple[str, int], Sequence[LogRow]] = DataLoader(
            _timelines(queries), max_batch_size=BATCH
        )
        self.users: DataLoader[str, User | None] = DataLoader(
            _one_by_one(services.users.get, None), max_batch_size=BATCH
        )
        self.versions: DataLoader[str, Sequence[TemplateVersion]] = DataLoader(
            _one_by_one(services.templates.versions, ()), max_batch_size=BATCH
        )


def _by_key(
    find: Callable[[Sequence[str]], Awaitable[Mapping[str, Value]]], missing: Default
) -> Callable[[list[str]], Awaitable[list[Value | Default]]]:
    async def load(keys: list[str]) -> list[Value | Default]:
        found = await find(keys)
        return [found.get(key, missing) for key in keys]

    return load


def _timelines(queries: "Reads") -> Callable[[list[tuple[str, int]]], Awaitable[list[Sequence[LogRow]]]]:
    """One call for each `after_sequence` (few: as many as a document has aliases)."""

    async def load(keys: list[tuple[str, int]]) -> list[Sequence[LogRow]]:
        found: dict[int, Mapping[str, Sequence[LogRow]]] = {}
        for after in {after for _, after in keys}:
            found[after] = await queries.timeline([key for key, own in keys if own == after], after)
        return [found[after].get(key, ()) for key, after in keys]

    return load


def _one_by_one(
    get: Callable[[str], Awaitable[Value]], missing: Default
) -> Callable[[list[str]], Awaitable[list[Value | Default]]]:
    async def load(keys: list[str]) -> list[Value | Default]:
        turns = asyncio.Semaphore(CONCURRENT_CALLS)

        async def one(key: str) -> Value | Default:
            async with turns:
                try:
                    return await get(key)
                except NotFound:  # deleted since
                    return missing

        return list(await asyncio.gather(*map(one, keys)))

    return load
