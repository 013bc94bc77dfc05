"""The User Service as the others see it: over HTTP, or over ASGITransport in one process."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import httpx
import msgspec

from api.client_cache import ClientCache, Memory, SharedCache
from api.discovery import Directory
from api.records import Deleted, Erasure, Page, Retired, User, UserDevice
from api.rest import Breaker, Called, RestClient, segment, unheard
from domain.changes import Changed, Kind
from domain.concurrency import Batcher
from domain.ports import Cache, Known
from domain.preferences import ChannelPreference, Preferences
from domain.recipient import Recipient

SERVICE = "users"
"""The User Service's name in the directory."""
_MAX_LOOKUP = 1_000


class UsersClient:
    """`domain.ports.Recipients`, and what the gateway offers of the User Service.

    Remembers up to `cache_size` recipients, fresh for `ttl` seconds in this process and for `shared_ttl` in the shared
    cache. While the service is away they stand in: for `stale` seconds from here, for a day from the shared cache. What
    is changed through this client is seen by it at once, other changes when `heed` is told. Errors: `ValidationFailed`,
    `NotFound`, `Conflict`, `UpstreamUnavailable`.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        *,
        directory: Directory | None = None,
        cache: Cache | None = None,
        breaker: Breaker | None = None,
        service_token: str | None = None,
        ttl: float = 10.0,
        shared_ttl: float = 30.0,
        stale: float = 3_600.0,
        cache_size: int = 10_000,
        deadline: float = 2.0,
        called: Called = unheard,
    ) -> None:
        """Without a directory the service is where `http` points to. `called` is told of calls, as by `RestClient`."""
        self._rest = RestClient(
            http,
            SERVICE,
            "User Service",
            directory=directory,
            breaker=breaker,
            token=service_token,
            deadline=deadline,
            called=called,
        )
        self._memory: Memory[Recipient] = Memory(
            ClientCache(size=cache_size, ttl=ttl, stale=stale),
            SharedCache(cache, Kind.USER, Recipient, ttl=shared_ttl),
        )
        self._single: Batcher[str, Known[Recipient] | None] = Batcher(
            self._recall, limit=_MAX_LOOKUP, concurrency=4, name="user lookup"
        )

    async def lookup(self, user_ids: Sequence[str]) -> Mapping[str, Known[Recipient]]:
        """Those that exist, by id. Lookups of one that arrive together are one call; so is a list up to 1,000."""
        wanted = {user_id: self._memory.fresh(user_id) for user_id in user_ids}
        missing = [user_id for user_id, found in wanted.items() if found is None]
        if len(missing) == 1:
            wanted[missing[0]] = await self._single.submit(missing[0])
        elif missing:
            wanted.update(zip(missing, await self._recall_all(missing), strict=True))
        return {user_id: found for user_id, found in wanted.items() if found is not None}

    def heed(self, changed: Changed | None) -> None:
        """Forget at once who has changed; for `api.changes.Changes`. None: ask again for everybody."""
        if changed is None:
            self._memory.doubt()
        elif changed.kind in {Kind.USER, Kind.ERASURE}:
            for user_id in changed.names:
                self._memory.drop(user_id)

    async def create(
        self,
        *,
        id: str | None = None,
        email: str | None = None,
        name: str | None = None,
        locale: str | None = None,
        time_zone: str | None = None,
    ) -> User:
        """Add a user; what is left out gets the service's default."""
        given = {"id": id, "email": email, "name": name, "locale": locale, "time_zone": time_zone}
        body = {field: value for field, value in given.items() if value is not None}
        user = await self._rest.call("POST", "/v1/users", User, json=body)
        self._memory.drop(user.id)
        return user

    async def get(self, user_id: str) -> User:
        """One user with all devices, as it is now."""
        return await self._rest.call("GET", _path(user_id), User, about=("user", user_id))

    async def update(self, user_id: str, changes: Mapping[str, str | None]) -> User:
        """Change some of `email`, `name`, `locale`, `time_zone`."""
        about = ("user", user_id)
        try:
            return await self._rest.call("PATCH", _path(user_id), User, json=dict(changes), about=about)
        finally:
            self._memory.drop(user_id)

    async def delete(self, user_id: str) -> None:
        """Forget a user and all devices."""
        try:
            await self._rest.call("DELETE", _path(user_id), Deleted, about=("user", user_id))
        finally:
            self._memory.drop(user_id)

    async def list(self, *, page: int = 1, limit: int = 20, email: str | None = None) -> Page[User]:
        """One page of users, oldest first; `email` finds the one with this address."""
        return await self._rest.page("/v1/users", User, page=page, limit=limit, email=email)

    async def after(self, cursor: str | None, *, limit: int, email: str | None = None) -> Page[User]:
        """The users that follow a cursor, oldest first; stays right while users are added."""
        return await self._rest.page("/v1/users", User, limit=limit, after=cursor, email=email)

    async def set_preferences(self, user_id: str, changes: Mapping[str, Any]) -> Preferences:
        """Choose `channels` or `quiet_hours` anew, or both; None clears the quiet hours."""
        path, about = f"{_path(user_id)}/preferences", ("user", user_id)
        try:
            return await self._rest.call("PATCH", path, Preferences, json=dict(changes), about=about)
        finally:
            self._memory.drop(user_id)

    async def choose(self, user_id: str, choice: ChannelPreference) -> Preferences:
        """Choose for one channel and category; every other choice stays. May be called twice."""
        path, about = f"{_path(user_id)}/preferences/choice", ("user", user_id)
        body = msgspec.to_builtins(choice)
        try:
            return await self._rest.call("PUT", path, Preferences, json=body, about=about, repeatable=True)
        finally:
            self._memory.drop(user_id)

    async def erasures(self, limit: int) -> Sequence[Erasure]:
        """The deleted users whom the other services have not forgotten yet, the oldest first."""
        return (await self._rest.page("/v1/erasures", Erasure, limit=limit)).items

    async def confirm_erasure(self, id: str) -> None:
        """A deleted user is forgotten here. May be called twice."""
        path, about = f"/v1/erasures/{segment('erasure', id)}/done", ("erasure", id)
        await self._rest.call("POST", path, Erasure, about=about, repeatable=True)

    async def register_device(self, user_id: str, *, platform: str, token: str) -> UserDevice:
        """Add a device to a user, or refresh it."""
        body = {"platform": platform, "token": token}
        path, about = f"{_path(user_id)}/devices", ("user", user_id)
        try:
            return await self._rest.call("POST", path, UserDevice, json=body, about=about)
        finally:
            self._memory.drop(user_id)

    async def device(self, device_id: str) -> UserDevice:
        """One device, and whose it is."""
        return await self._rest.call("GET", _device_path(device_id), UserDevice, about=("device", device_id))

    async def remove_device(self, device_id: str) -> None:
        """Forget a device."""
        gone = await self._rest.call("DELETE", _device_path(device_id), Deleted, about=("device", device_id))
        if gone.user_id is not None:
            self._memory.drop(gone.user_id)

    async def retire_devices(self, ids: Sequence[str], refused_at: datetime) -> int:
        """Push stops using these, unless they were registered since. Answers how many it used. May be called twice."""
        body = {"ids": list(ids), "refused_at": refused_at.isoformat()}
        return (await self._rest.call("POST", "/v1/devices/retire", Retired, json=body, repeatable=True)).count

    async def _recall_all(self, user_ids: Sequence[str]) -> Sequence[Known[Recipient] | None]:
        parts = [user_ids[start : start + _MAX_LOOKUP] for start in range(0, len(user_ids), _MAX_LOOKUP)]
        results: list[Known[Recipient] | None] = []
        for part in await asyncio.gather(*map(self._recall, parts)):
            for result in part:
                if isinstance(result, Exception):
                    raise result
                results.append(result)
        return results

    async def _recall(self, user_ids: Sequence[str]) -> Sequence[Known[Recipient] | Exception | None]:
        return await self._memory.recall(user_ids, self._ask)

    async def _ask(self, user_ids: Sequence[str]) -> Mapping[str, Recipient]:
        body = {"ids": user_ids}
        answer = await self._rest.call("POST", "/v1/users/lookup", list[Recipient], json=body, repeatable=True)
        return {recipient.user_id: recipient for recipient in answer if recipient.user_id is not None}


def _path(user_id: str) -> str:
    return f"/v1/users/{segment('user', user_id)}"


def _device_path(device_id: str) -> str:
    return f"/v1/devices/{segment('device', device_id)}"
