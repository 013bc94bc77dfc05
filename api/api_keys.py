"""API keys: made, listed, used and revoked.

A key is a secret of 256 random bits behind `hg_` (a test key: `hg_test_`). Only its SHA-256 is stored: a random secret
needs no slow hash. What was found is remembered, so a cached key costs a look into a dictionary; a revoked one is
forgotten at once, everywhere.
"""

import asyncio
import hashlib
import json
import secrets
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import msgspec

from api.changes import Tell, tell_nobody
from api.database import Database, among, listed, parse_time
from api.key_memory import KeyMemory
from api.key_rules import checked
from api.key_uses import KeyUses
from api.security import ALL_SCOPES, PREFIX, TEST_PREFIX, Principal, Scope
from domain.changes import Changed, Kind
from domain.concurrency import Batcher, Tasks, shielded
from domain.errors import ConfigurationError, DatabaseUnavailable, NotFound, Unauthenticated, ValidationFailed
from domain.ids import API_KEY, is_id, new_id

UPKEEP_SECONDS = 60.0
_MAX_SECRET_CHARACTERS = 200
_MAX_REVOKED = 1_000
_LOOKUP = 500
_COLUMNS = "id, name, client, scopes, test, created_at, last_used_at, revoked_at"

Revoked = Callable[[Collection[str]], None]
"""Is told the ids of keys that are revoked, some perhaps for the second time. Must not raise and must not block."""


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key without its secret. `last_used_at` may be a minute or so behind.

    What a `test` key sends goes to the sandbox, whatever providers there are.
    """

    id: str
    name: str
    client: str
    scopes: tuple[str, ...]
    test: bool = False
    created_at: datetime
    last_used_at: datetime | None = None
    revoked_at: datetime | None = None


class NewKey(ApiKey, frozen=True, kw_only=True):
    """A key that was just made. Nobody will ever see `secret` again."""

    secret: str


class ApiKeys:
    """The keys of the gateway database.

    What it found is remembered for `ttl` seconds: that long a revoked key lives on at most, in a process that did not
    hear of it. Once started it notes every `upkeep` seconds when keys were last used, and looks for keys that others
    have revoked. Everything else works without a start.
    """

    def __init__(
        self, database: Database, *, tell: Tell = tell_nobody, ttl: float = 5.0, upkeep: float = UPKEEP_SECONDS
    ) -> None:
        self._database, self._tell = database, tell
        self._memory, self._uses, self._upkeep = KeyMemory(ttl), KeyUses(database), upkeep
        self._find: Batcher[str, Principal | None] = Batcher(self._find_all, limit=_LOOKUP, name="api keys")
        self._listeners: list[Revoked] = []
        self._in_doubt = asyncio.Event()
        self._tasks = Tasks()

    async def start(self) -> None:
        """Begin to note when keys are used, and to look for revoked ones."""
        _ = self._tasks.supervise("api keys: upkeep", self._keep_up)

    async def stop(self) -> None:
        """Note what is not noted yet, and stop. May be called twice."""
        await self._tasks.cancel()
        await self._find.drain()
        await self._uses.write()

    # ------------------------------------------------------------------------------------------------ authenticating

    async def authenticate(self, credential: str) -> Principal:
        """Whose key this is. Raises `Unauthenticated`, `DatabaseUnavailable`."""
        if not credential.startswith(PREFIX) or len(credential) > _MAX_SECRET_CHARACTERS:
            raise Unauthenticated("This is no API key.")
        key_hash = _hash(credential)
        principal = self._memory.get(key_hash) or await self._find.submit(key_hash)
        if principal is None:
            raise Unauthenticated("This API key is unknown or revoked.")
        return principal

    async def ensure_key(
        self, secret: str, *, name: str, scopes: Collection[Scope] = ALL_SCOPES, client: str | None = None
    ) -> Principal:
        """See to it that this very secret, from the setting `name`, is a key. May be called again, by many processes.

        Raises `ConfigurationError` when it was a key and is revoked, and when it looks like a test key: it is none.
        """
        if secret.startswith(TEST_PREFIX):
            raise ConfigurationError(f"{name}: {TEST_PREFIX}… is how test keys begin; this one would send for real.")
        with suppress(Unauthenticated):
            return await self.authenticate(secret)
        await self._store(secret, name, scopes, client)
        try:
            return await self.authenticate(secret)
        except Unauthenticated as error:
            raise ConfigurationError(f"{name}: this key was revoked; set another one.") from error

    async def _find_all(self, hashes: Sequence[str]) -> list[Principal | None]:
        """Callers that arrive together are one statement, so a flood of bad keys is few."""
        forgettings = self._memory.forgettings
        where = among(self._database.dialect, "key_hash", "$1")
        rows = await self._database.query(
            f"SELECT key_hash, id, name, client, scopes, test FROM api_keys WHERE {where} AND revoked_at IS NULL",
            [listed(self._database.dialect, dict.fromkeys(hashes))],
        )
        found = {row["key_hash"]: _principal_of(row) for row in rows}
        self._memory.keep(found, forgettings)
        self._uses.note(principal.key_id for principal in found.values())
        return [found.get(key_hash) for key_hash in hashes]

    # ------------------------------------------------------------------------------------- making, listing, revoking

    async def create(
        self,
        name: str,
        scopes: Collection[str],
        *,
        client: str | None = None,
        granted_by: Principal | None = None,
        test: bool = False,
    ) -> NewKey:
        """Make a key. Each call makes another one.

        Without `client` it is a client of its own; name the client of an older key to replace that one. `granted_by`
        grants only scopes that it holds itself; None is the system. What a `test` key sends goes to the sandbox; it and
        a key that is none never share a client. Raises `ValidationFailed` naming every field.
        """
        granted = checked(name, scopes, client, granted_by, test=test)
        if client is not None:
            await self._refuse_other_kind(client, test=test)
        prefix = TEST_PREFIX if test else PREFIX
        return await self._store(prefix + secrets.token_urlsafe(32), name, granted, client, test=test)

    async def _refuse_other_kind(self, client: str, *, test: bool) -> None:
        """What was tried with a test key must not stand in for the real thing under the same request_id."""
        rows = await self._database.query("SELECT test FROM api_keys WHERE client = $1 LIMIT 1", [client])
        if rows and bool(rows[0]["test"]) is not test:
            kind = "no test keys" if test else "test keys"
            raise ValidationFailed.of("client", "kind", f"is a client of {kind}; test keys have clients of their own")

    async def page(self, page: int, limit: int) -> tuple[list[ApiKey], int]:
        """One page of all keys, the newest first and the revoked ones included, and how many there are."""
        counted = await self._database.query("SELECT count(*) AS n FROM api_keys")
        rows = await self._database.query(
            f"SELECT {_COLUMNS} FROM api_keys ORDER BY id DESC LIMIT $1 OFFSET $2", [limit, (page - 1) * limit]
        )
        return [_key_of(row) for row in rows], counted[0]["n"]

    async def get(self, id: str) -> ApiKey:
        """One key, revoked or not. Raises `NotFound`."""
        if is_id(API_KEY, id):
            for row in await self._database.query(f"SELECT {_COLUMNS} FROM api_keys WHERE id = $1", [id]):
                return _key_of(row)
        raise NotFound("API key", id)

    async def revoke(self, id: str) -> None:
        """End a key: here at once, elsewhere as soon as it is heard. May be called again. Raises `NotFound`."""
        if not is_id(API_KEY, id):
            raise NotFound("API key", id)
        # Whoever gives up waiting must not keep the others from hearing of it.
        await shielded(self._revoke(id))

    async def _revoke(self, id: str) -> None:
        rows = await self._database.query(
            "UPDATE api_keys SET revoked_at = coalesce(revoked_at, $1) WHERE id = $2 RETURNING id",
            [self._database.db_time(datetime.now(UTC)), id],
        )
        if not rows:
            raise NotFound("API key", id)
        self._forget([id])
        await self._tell(Kind.API_KEY, [id])

    async def _store(
        self, secret: str, name: str, scopes: Collection[str], client: str | None, *, test: bool = False
    ) -> NewKey:
        """Nothing happens when the secret is a key already."""
        id, now = new_id(API_KEY), datetime.now(UTC)
        granted = tuple(sorted(scopes))
        made = NewKey(id=id, name=name, client=client or id, scopes=granted, test=test, created_at=now, secret=secret)
        await self._database.query(
            "INSERT INTO api_keys (id, name, client, key_hash, scopes, test, created_at)"
            " VALUES ($1, $2, $3, $4, $5, $6, $7)"
            " ON CONFLICT (key_hash) DO NOTHING",
            [id, name, made.client, _hash(secret), json.dumps(made.scopes), test, self._database.db_time(now)],
        )
        return made

    # ------------------------------------------------------------------------------------------ hearing of revocation

    def on_revoked(self, callback: Revoked) -> None:
        """Have `callback` told which keys are revoked, here or elsewhere."""
        self._listeners.append(callback)

    def heed(self, changed: Changed | None) -> None:
        """What `api.changes.Changes` calls."""
        if changed is None:
            self._memory.forget_all()
            self._in_doubt.set()
        elif changed.kind is Kind.API_KEY:
            self._forget(changed.names)

    def _forget(self, ids: Collection[str]) -> None:
        gone = frozenset(ids)
        self._memory.forget(gone)
        for callback in self._listeners:
            callback(gone)

    # -------------------------------------------------------------------------------------------------------- upkeep

    async def _keep_up(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._upkeep):
                    await self._in_doubt.wait()
            self._in_doubt.clear()
            await self._look_for_revoked()
            await self._uses.write()

    async def _look_for_revoked(self) -> None:
        """A ring that was lost costs a minute at most, also for those who hold on to a key: open sockets."""
        with suppress(DatabaseUnavailable):
            rows = await self._database.query(
                f"SELECT id FROM api_keys WHERE revoked_at IS NOT NULL ORDER BY revoked_at DESC LIMIT {_MAX_REVOKED}"
            )
            self._forget([row["id"] for row in rows])


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()


def _principal_of(row: dict[str, Any]) -> Principal:
    known = {scope.value for scope in Scope}
    scopes = frozenset(Scope(scope) for scope in json.loads(row["scopes"]) if scope in known)
    return Principal(client=row["client"], key_id=row["id"], name=row["name"], scopes=scopes, test=bool(row["test"]))


def _key_of(row: dict[str, Any]) -> ApiKey:
    used, revoked = row["last_used_at"], row["revoked_at"]
    return ApiKey(
        id=row["id"],
        name=row["name"],
        client=row["client"],
        scopes=tuple(json.loads(row["scopes"])),
        test=bool(row["test"]),
        created_at=parse_time(row["created_at"]),
        last_used_at=parse_time(used) if used else None,
        revoked_at=parse_time(revoked) if revoked else None,
    )
