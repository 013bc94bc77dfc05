"""Who calls: principals and scopes, and how a credential leads to one.

A principal is what any kind of credential comes down to, so the rest of the system never sees a secret. API keys are
in `api.api_keys`, the tokens of end users in `api.tokens`.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Protocol

import msgspec

from domain.errors import Forbidden, Unauthenticated

PREFIX = "hg_"
"""What every API key begins with."""
TEST_PREFIX = PREFIX + "test_"
"""What a test key begins with, for people; what makes it one is stored with it."""


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
    """A caller that proved who it is. `client` is who `request_id` is unique for; it survives the rotation of keys.

    An end user has a `user_id` and no scopes: they see and change what is theirs. `expires_at` is when the credential
    ends, in seconds since 1970; None: only by being revoked. What a `test` principal sends goes to the sandbox.
    """

    client: str
    key_id: str
    name: str
    scopes: frozenset[Scope]
    kind: Kind = Kind.SERVICE
    user_id: str | None = None
    expires_at: float | None = None
    test: bool = False


class Authenticator(Protocol):
    """Turns headers (names in lower case) into a principal."""

    async def authenticate_headers(self, headers: Mapping[str, str]) -> Principal:
        """Raises `Unauthenticated`, and `Unavailable` when nobody can say."""


def require(principal: Principal, scope: Scope) -> None:
    """Raises `Forbidden` unless the principal holds the scope."""
    if scope not in principal.scopes:
        raise Forbidden(f"This key lacks the scope {scope.value!r}.")


def secret_of(headers: Mapping[str, str]) -> str:
    """The credential in `Authorization: Bearer …` (RFC 6750, section 2.1) or `X-API-Key`; names in lower case.

    Raises `Unauthenticated` when there is none.
    """
    if secret := _bearer_of(headers) or headers.get("x-api-key", "").strip():
        return secret
    raise Unauthenticated("Give an API key: `Authorization: Bearer hg_…` or `X-API-Key: hg_…`.")


def _bearer_of(headers: Mapping[str, str]) -> str:
    scheme, _, credential = headers.get("authorization", "").partition(" ")
    return credential.strip() if scheme.lower() == "bearer" else ""


class Verifier(Protocol):
    """Knows one kind of credential."""

    async def authenticate(self, credential: str) -> Principal:
        """Whose it is. Raises `Unauthenticated`, and `Unavailable` when nobody can say."""


class Credentials:
    """The `Authenticator` of HTTP, WebSocket and REST alike: API keys and, with `tokens`, end users' tokens.

    The shape says which it is: a key begins with `hg_`, whatever else is a bearer is a token. `X-API-Key` takes keys.
    """

    def __init__(self, keys: Verifier, tokens: Verifier | None = None) -> None:
        self._keys, self._tokens = keys, tokens

    async def authenticate_headers(self, headers: Mapping[str, str]) -> Principal:
        """Whose credential the headers carry (names in lower case). Raises `Unauthenticated`, `Unavailable`."""
        secret = secret_of(headers)
        if self._tokens is not None and not secret.startswith(PREFIX) and secret == _bearer_of(headers):
            return await self._tokens.authenticate(secret)
        return await self._keys.authenticate(secret)
