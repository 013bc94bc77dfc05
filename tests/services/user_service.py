"""A User Service on a database of its own: called over the wire, and whatever it tells is written down."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from api.database import Database, Databases
from api.users.app import Verify, users_app
from api.users.repository import UserRepository
from domain.changes import Kind
from tests.services.rest_clients import Wire, raw

TOKEN = "service-token"


class UserService:
    """The running service. `told` is what it told of its changes, in order."""

    def __init__(self, database: Database, verify: Verify | None = None) -> None:
        self.database = database
        self.told: list[tuple[Kind, set[str]]] = []
        self.repository = UserRepository(database, self._tell)
        self.wire = Wire(users_app(self.repository, service_token=TOKEN, verify=verify))

    async def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Status and envelope of one call."""
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        return await raw(self.wire, method, path, body, **headers)

    async def data(self, method: str, path: str, body: Any = None) -> Any:
        """The data of one call that succeeds."""
        status, answer = await self.call(method, path, body)
        assert status < 300, answer
        return answer["data"]

    async def problems(self, method: str, path: str, body: Any = None) -> tuple[int, list[tuple[str, str]]]:
        """Status of one call that fails, and the paths (with dots) and codes of the fields that it names."""
        status, answer = await self.call(method, path, body)
        assert not answer["success"]
        return status, [(".".join(field["path"]), field["code"]) for field in answer["error"].get("fields", ())]

    async def user(self, **given: Any) -> str:
        """The id of a new user, whom nobody was told of."""
        made: str = (await self.data("POST", "/v1/users", given))["id"]
        self.told.clear()
        return made

    async def device(self, user_id: str, token: str, platform: str = "WEB") -> str:
        """The id of a device, registered now; nobody was told of it."""
        body = {"platform": platform, "token": token}
        made: str = (await self.data("POST", f"/v1/users/{user_id}/devices", body))["id"]
        self.told.clear()
        return made

    async def _tell(self, kind: Kind, names: Sequence[str]) -> None:
        self.told.append((kind, set(names)))


@asynccontextmanager
async def user_service(url: str) -> AsyncIterator[UserService]:
    """The service for as long as the context lasts; its tables are made."""
    databases = await Databases.open({"users": url})
    try:
        await databases.migrate()
        yield UserService(databases["users"])
    finally:
        await databases.close()
