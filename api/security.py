"""Who calls: API keys, principals and scopes.

A key is a secret of 256 random bits behind `hg_`. Only its SHA-256 is stored: a random secret needs no slow hash. A
principal is what any kind of credential comes down to, so the rest of the system never sees a secret.
"""

import hashlib
import json
import secrets
import time
from collections import OrderedDict
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Protocol

import msgspec

from api.database import Database
from domain.errors import Forbidden, Unauthenticated
from domain.ids import API_KEY, new_id

PREFIX = "hg_"
_MAX_SECRET_CHARACTERS = 200
_CACHE_SIZE = 10_000


class Scope(StrEnum):
    """What a principal may do."""

    NOTIFICATIONS_SEND = "notifications:send"
    NOTIFICATIONS_READ = "notifications:read"
    USERS_READ = "users:read"
    USERS_WRITE = "users:write"
    TEMPLATES_READ = "templates:read"
    TEMPLATES_WRITE = "templates:write"
    OPERATIONS = "operations"


ALL_SCOPES = frozenset(Scope)


class Kind(StrEnum):
    """What sort of credential a principal came with."""

    SERVICE = "service"
    END_USER = "end_user"


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """A caller that proved who it is. `client` is who `request_id` is unique for; it survives the rotation of keys."""

    client: str
    key_id: str
    name: str
    scopes: frozenset[Scope]
    kind: Kind = Kind.SERVICE


class NewKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key that was just made. Nobody will ever see `secret` again."""

    id: str
    client: str
    secret: str


class Authenticator(Protocol):
    """Turns headers (names in lower case) into a principal."""

    async def authenticate_headers(self, headers: Mapping[str, str]) -> Principal:
        """Raises `Unauthenticated`, and `DatabaseUnavailable` when nobody can say."""


def require(principal: Principal, scope: Scope) -> None:
    """Raises `Forbidden` unless the principal holds the scope."""
    if scope not in principal.scopes:
        raise Forbidden(f"This key lacks the scope {scope.value!r}.")


def secret_of(headers: Mapping[str, str]) -> str:
    """The credential in `Authorization: Bearer …` (RFC 6750, section 2.1) or `X-API-Key`; names in lower case.

    Raises `Unauthenticated` when there is none.
    """
    authorization = headers.get("authorization", "")
    scheme, _, credential = authorization.partition(" ")
    if scheme.lower() == "bearer" and credential.strip():
        return credential.strip()
    if key := headers.get("x-api-key", "").strip():
        return key
    raise Unauthenticated("Give an API key: `Authorization: Bearer hg_…` or `X-API-Key: hg_…`.")


class ApiKeys:
    """The keys of the gateway database. What it found is remembered for `ttl` seconds, so a revoked key lives on as
    long at most; a key that is not there is asked for each time."""

    def __init__(self, database: Database, *, ttl: float = 5.0) -> None:
        self._database = database
        self._ttl = ttl
        self._cache: OrderedDict[str, tuple[float, Principal]] = OrderedDict()

    async def create(self, name: str, scopes: Collection[Scope], *, client: str | None = None) -> NewKey:
        """Make a key; without `client` for a client of its own. Each call makes another one."""
        secret = PREFIX + secrets.token_urlsafe(32)
        return await self._store(secret, name, scopes, client)

    async def ensure_key(
        self, secret: str, *, name: str, scopes: Collection[Scope] = ALL_SCOPES, client: str | None = None
    ) -> Principal:
        """See to it that this very secret, from a setting, is a key. May be called again, by many processes."""
        try:
            return await self.authenticate(secret)
        except Unauthenticated:
            await self._store(secret, name, scopes, client)
            return await self.authenticate(secret)

    async def authenticate(self, secret: str) -> Principal:
        """Whose key this is. Raises `Unauthenticated`, `DatabaseUnavailable`."""
        if not secret.startswith(PREFIX) or len(secret) > _MAX_SECRET_CHARACTERS:
            raise Unauthenticated("This is no API key.")
        key_hash = _hash(secret)
        principal = self._remembered(key_hash) or await self._find(key_hash)
        if principal is None:
            raise Unauthenticated("This API key is unknown or revoked.")
        return principal

    async def authenticate_headers(self, headers: Mapping[str, str]) -> Principal:
        """Whose credential the headers carry (names in lower case). Raises as `authenticate`."""
        return await self.authenticate(secret_of(headers))

    async def _store(self, secret: str, name: str, scopes: Collection[Scope], client: str | None) -> NewKey:
        key_id = new_id(API_KEY)
        made = NewKey(id=key_id, client=client or key_id, secret=secret)
        await self._database.query(
            "INSERT INTO api_keys (id, name, client, key_hash, scopes, created_at) VALUES ($1, $2, $3, $4, $5, $6)"
            " ON CONFLICT (key_hash) DO NOTHING",
            [
                made.id,
                name,
                made.client,
                _hash(secret),
                json.dumps(sorted(scopes)),
                self._database.db_time(datetime.now(UTC)),
            ],
        )
        return made

    async def _find(self, key_hash: str) -> Principal | None:
        rows = await self._database.query(
            "SELECT id, name, client, scopes FROM api_keys WHERE key_hash = $1 AND revoked_at IS NULL", [key_hash]
        )
        if not rows:
            return None
        row = rows[0]
        known = {scope.value for scope in Scope}
        scopes = frozenset(Scope(scope) for scope in json.loads(row["scopes"]) if scope in known)
        principal = Principal(client=row["client"], key_id=row["id"], name=row["name"], scopes=scopes)
        self._remember(key_hash, principal)
        return principal

    def _remembered(self, key_hash: str) -> Principal | None:
        until, principal = self._cache.get(key_hash, (0.0, None))
        return principal if time.monotonic() < until else None

    def _remember(self, key_hash: str, principal: Principal) -> None:
        self._cache[key_hash] = (time.monotonic() + self._ttl, principal)
        self._cache.move_to_end(key_hash)
        while len(self._cache) > _CACHE_SIZE:
            self._cache.popitem(last=False)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()
