"""The User Service as the others see it: over HTTP, or over ASGITransport in one process."""

import asyncio
from collections.abc import Mapping, Sequence

import httpx

from api.client_cache import ClientCache
from api.records import Deleted, Page, User, UserDevice
from api.rest import RestClient, segment
from domain.concurrency import Batcher
from domain.errors import UpstreamUnavailable
from domain.recipient import Recipient

_MAX_LOOKUP = 1_000


class UsersClient:
    """`domain.ports.Recipients`, and what the gateway offers of the User Service.

    Remembers up to `cache_size` recipients: fresh for `ttl` seconds, served for `stale` seconds while the service is
    away. What is changed through this client is seen by it at once. Errors: `ValidationFailed`, `NotFound`, `Conflict`,
    `UpstreamUnavailable`.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        *,
        service_token: str | None = None,
        ttl: float = 2.0,
        stale: float = 3_600.0,
        cache_size: int = 10_000,
        deadline: float = 2.0,
    ) -> None:
        self._rest = RestClient(http, "User Service", service_token, deadline)
        self._cache: ClientCache[str, Recipient] = ClientCache(size=cache_size, ttl=ttl, stale=stale)
        self._single: Batcher[str, Recipient | None] = Batcher(
            self._fetch, limit=_MAX_LOOKUP, concurrency=4, name="user lookup"
        )

    async def lookup(self, user_ids: Sequence[str]) -> Mapping[str, Recipient]:
        """Those that exist, by id. Lookups of one that arrive together are one call; so is a list up to 1,000."""
        wanted = {user_id: self._cache.fresh(user_id) for user_id in user_ids}
        missing = [user_id for user_id, found in wanted.items() if found is None]
        if len(missing) == 1:
            wanted[missing[0]] = await self._single.submit(missing[0])
        elif missing:
            wanted.update(zip(missing, await self._fetch_all(missing), strict=True))
        return {user_id: found for user_id, found in wanted.items() if found is not None}

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
        self._cache.drop(user.id)
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
            self._cache.drop(user_id)

    async def delete(self, user_id: str) -> None:
        """Forget a user and all devices."""
        try:
            await self._rest.call("DELETE", _path(user_id), Deleted, about=("user", user_id))
        finally:
            self._cache.drop(user_id)

    async def list(self, *, page: int = 1, limit: int = 20, email: str | None = None) -> Page[User]:
        """One page of users, oldest first; `email` finds the one with this address."""
        return await self._rest.page("/v1/users", User, page=page, limit=limit, email=email)

    async def register_device(self, user_id: str, *, platform: str, token: str) -> UserDevice:
        """Add a device to a user, or refresh it."""
        body = {"platform": platform, "token": token}
        path, about = f"{_path(user_id)}/devices", ("user", user_id)
        try:
            return await self._rest.call("POST", path, UserDevice, json=body, about=about)
        finally:
            self._cache.drop(user_id)

    async def device(self, device_id: str) -> UserDevice:
        """One device, and whose it is."""
        return await self._rest.call("GET", _device_path(device_id), UserDevice, about=("device", device_id))

    async def remove_device(self, device_id: str) -> None:
        """Forget a device."""
        gone = await self._rest.call("DELETE", _device_path(device_id), Deleted, about=("device", device_id))
        if gone.user_id is not None:
            self._cache.drop(gone.user_id)

    async def _fetch_all(self, user_ids: Sequence[str]) -> Sequence[Recipient | None]:
        parts = [user_ids[start : start + _MAX_LOOKUP] for start in range(0, len(user_ids), _MAX_LOOKUP)]
        results: list[Recipient | None] = []
        for part in await asyncio.gather(*map(self._fetch, parts)):
            for result in part:
                if isinstance(result, Exception):
                    raise result
                results.append(result)
        return results

    async def _fetch(self, user_ids: Sequence[str]) -> Sequence[Recipient | Exception | None]:
        """Ask for these; while the service is away, what is remembered stands in where there is something."""
        generation = self._cache.generation
        body = {"ids": list(dict.fromkeys(user_ids))}
        try:
            answer = await self._rest.call("POST", "/v1/users/lookup", list[Recipient], json=body, repeatable=True)
        except UpstreamUnavailable as error:
            return [self._cache.stale(user_id) or error for user_id in user_ids]
        found = {recipient.user_id: recipient for recipient in answer}
        for user_id in user_ids:
            if (recipient := found.get(user_id)) is None:
                self._cache.discard(user_id)
            else:
                self._cache.keep(user_id, recipient, generation)
        return [found.get(user_id) for user_id in user_ids]


def _path(user_id: str) -> str:
    return f"/v1/users/{segment('user', user_id)}"


def _device_path(device_id: str) -> str:
    return f"/v1/devices/{segment('device', device_id)}"
