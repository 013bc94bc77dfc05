"""What operators ask a gateway for, in memory: suppressions, API keys, the system in figures."""

from collections.abc import Collection, Mapping

import msgspec

from api.api_keys import ApiKey, NewKey
from api.gateway.figures import SystemFigures
from api.gateway.suppressions import Suppression
from api.key_rules import checked
from api.security import Principal
from domain.errors import NotFound
from domain.ids import API_KEY, SUPPRESSION, new_id
from domain.notification import Channel
from tests.services.service_fakes import NOON


class Blocks:
    """Suppressions in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, Suppression] = {}

    async def among(
        self, channel: Channel, contact_points: Collection[str], category: str | None = None
    ) -> Mapping[str, str]:
        """As `Suppressions.among`."""
        return {
            block.contact_point: block.reason
            for block in self.kept.values()
            if block.channel is channel and block.contact_point in contact_points
        }

    async def get(self, id: str) -> Suppression:
        if id not in self.kept:
            raise NotFound("suppression", id)
        return self.kept[id]

    async def page(self, channel: Channel | None, page: int, limit: int) -> tuple[list[Suppression], int]:
        found = [block for block in reversed(self.kept.values()) if channel in (None, block.channel)]
        return found[(page - 1) * limit : page * limit], len(found)

    async def add(self, channel: Channel, contact_point: str, reason: str) -> Suppression:
        id = new_id(SUPPRESSION)
        self.kept[id] = Suppression(id=id, channel=channel, contact_point=contact_point, reason=reason, created_at=NOON)
        return self.kept[id]

    async def lift(self, id: str) -> None:
        await self.get(id)
        del self.kept[id]


class KeyRing:
    """API keys in memory, as `ApiKeys` keeps them; nobody is let in by them."""

    def __init__(self) -> None:
        self.kept: dict[str, ApiKey] = {}

    async def create(
        self,
        name: str,
        scopes: Collection[str],
        *,
        client: str | None = None,
        granted_by: Principal | None = None,
        test: bool = False,
    ) -> NewKey:
        granted = tuple(checked(name, scopes, client, granted_by, test=test))
        id = new_id(API_KEY)
        made = NewKey(
            id=id, name=name, client=client or id, scopes=granted, test=test, created_at=NOON, secret="hg_made"
        )
        self.kept[id] = made
        return made

    async def page(self, page: int, limit: int) -> tuple[list[ApiKey], int]:
        found = list(reversed(self.kept.values()))
        return found[(page - 1) * limit : page * limit], len(found)

    async def get(self, id: str) -> ApiKey:
        if id not in self.kept:
            raise NotFound("API key", id)
        return self.kept[id]

    async def revoke(self, id: str) -> None:
        self.kept[id] = msgspec.structs.replace(await self.get(id), revoked_at=NOON)


class FixedFigures:
    """A system without queues and instances, until a test says otherwise."""

    def __init__(self) -> None:
        self.told = SystemFigures(queues=[], providers=[], services=[])

    def now(self) -> SystemFigures:
        return self.told
