"""The tokens that end users come with: JWTs that the team's own sign-in makes. `sub` is the user.

Which algorithms count depends on where the keys come from, never on the token: HS256 with a shared secret, signatures
by a private key with a published set of keys (`api.published_keys`). So no token can choose how it is verified.
"""

import hashlib
import re
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import jwt
from jwt.types import Options

from api.security import Kind, Principal
from domain.errors import Unauthenticated

LEEWAY = 5.0
"""Seconds by which the clock of whoever made a token may differ from ours."""
REMEMBER = 300.0
"""Seconds after which a token that was found good is verified again: its key may have been withdrawn."""
USER_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}")
_MAX_CHARACTERS = 8_192
_MAX_REMEMBERED = 10_000
_MAX_CLIENT = 40
_FAR = 253_402_300_799  # the end of the year 9999

_SENTENCES: Mapping[type[jwt.PyJWTError], str] = {
    jwt.ExpiredSignatureError: "This token has expired: get a new one.",
    jwt.ImmatureSignatureError: "This token is not valid yet.",
    jwt.InvalidAudienceError: "This token is for another audience.",
    jwt.InvalidIssuerError: "This token is from another issuer.",
    jwt.InvalidSignatureError: "This token's signature is wrong.",
    jwt.InvalidAlgorithmError: "This token is signed in a way that is not accepted here.",
}


class SigningKeys(Protocol):
    """Where the keys come from that tokens are verified with, and the only algorithms that they are good for."""

    algorithms: Sequence[str]

    async def find(self, kid: str | None) -> jwt.PyJWK | str:
        """The key that a token names. Raises `Unauthenticated`, and `Unavailable` when nobody can say."""


class SharedSecret:
    """One secret that whoever makes the tokens knows as well."""

    algorithms: Sequence[str] = ("HS256",)

    def __init__(self, secret: str) -> None:
        self._secret = secret

    async def find(self, kid: str | None) -> jwt.PyJWK | str:
        """The secret, whatever the token says."""
        return self._secret


class Tokens:
    """Verifies tokens: `exp` and `sub` must be there, `aud` and `iss` must be the given ones.

    A token that was found good is remembered until it expires, but no longer than five minutes.
    """

    def __init__(self, keys: SigningKeys, *, audience: str | None = None, issuer: str | None = None) -> None:
        self._keys, self._audience, self._issuer = keys, audience, issuer
        self._options: Options = {
            "require": ["exp", "sub"],
            "verify_aud": audience is not None,
            "enforce_minimum_key_length": True,
        }
        self._known: OrderedDict[bytes, tuple[float, Principal]] = OrderedDict()

    async def authenticate(self, credential: str) -> Principal:
        """Whose token this is. Raises `Unauthenticated`, and `Unavailable` when its key cannot be had."""
        if len(credential) > _MAX_CHARACTERS or not credential.isascii() or credential.count(".") != 2:
            raise Unauthenticated("This is neither an API key nor a token.")
        digest = hashlib.sha256(credential.encode()).digest()
        until, principal = self._known.get(digest, (0.0, None))
        if principal is not None and time.time() < until:
            return principal
        principal = _principal_of(await self._claims(credential))
        self._remember(digest, principal)
        return principal

    async def _claims(self, token: str) -> dict[str, Any]:
        try:
            key = await self._keys.find(_kid_of(token))
            return jwt.decode(
                token,
                key,
                algorithms=self._keys.algorithms,
                audience=self._audience,
                issuer=self._issuer,
                leeway=LEEWAY,
                options=self._options,
            )
        except jwt.MissingRequiredClaimError as error:
            raise Unauthenticated(f"This token lacks the claim {error.claim!r}.") from error
        except jwt.PyJWTError as error:
            raise Unauthenticated(_SENTENCES.get(type(error), "This is no valid token.")) from error

    def _remember(self, digest: bytes, principal: Principal) -> None:
        assert principal.expires_at is not None, "every token expires"
        self._known[digest] = (min(principal.expires_at, time.time() + REMEMBER), principal)
        self._known.move_to_end(digest)
        while len(self._known) > _MAX_REMEMBERED:
            self._known.popitem(last=False)


def _kid_of(token: str) -> str | None:
    kid = jwt.get_unverified_header(token).get("kid")
    return kid if isinstance(kid, str) else None


def _principal_of(claims: Mapping[str, Any]) -> Principal:
    user_id = claims["sub"]
    if not USER_ID.fullmatch(user_id):
        raise Unauthenticated("This token's `sub` is no id of a user.")
    client = _client_of(user_id)
    return Principal(
        client=client,
        key_id=client,
        name=user_id,
        scopes=frozenset(),
        kind=Kind.END_USER,
        user_id=user_id,
        expires_at=float(min(int(claims["exp"]), _FAR)),
    )


def _client_of(user_id: str) -> str:
    """No client of an API key has a colon or a `#`, so they never meet; nor does a hash meet an id."""
    client = f"user:{user_id}"
    if len(client) <= _MAX_CLIENT:
        return client
    return f"user#{hashlib.sha256(user_id.encode()).hexdigest()}"[:_MAX_CLIENT]
