"""The keys that a sign-in service publishes for verifying its tokens: a JWK set at a URL (RFC 7517)."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

import httpx
import jwt

from domain.concurrency import Tasks
from domain.errors import Unauthenticated, UpstreamUnavailable

log = logging.getLogger(__name__)

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Those with a private key only: a public one must never pass for a shared secret."""
DEADLINE = 3.0
MAX_AGE = 300.0
"""Seconds after which the set is fetched anew, while the old one goes on being used."""
RETRY = 30.0
"""Seconds between two fetches for keys that the set does not have: tokens with made-up ones must not cost more."""
FIRST_RETRY = 1.0
"""The same as long as there is no set at all."""


class PublishedKeys:
    """`SigningKeys` at a URL. Fetched when first needed; what was fetched is kept for as long as the URL is away."""

    algorithms: Sequence[str] = ALGORITHMS

    def __init__(
        self,
        url: str,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url, self._clock = url, clock
        self._http = httpx.AsyncClient(timeout=DEADLINE, transport=transport)
        self._keys: dict[str | None, jwt.PyJWK] = {}
        self._fetched = self._tried = float("-inf")
        self._failed = False
        self._fetching: asyncio.Task[None] | None = None
        self._tasks = Tasks()

    async def find(self, kid: str | None) -> jwt.PyJWK | str:
        """The key of that name; the only one there is for a token that names none.

        Raises `Unauthenticated` for one that is not published, `UpstreamUnavailable` when that cannot be told.
        """
        key = self._known(kid)
        if key is None:
            await self._fetch_again(RETRY if self._keys else FIRST_RETRY)
            key = self._known(kid)
        elif self._clock() - self._fetched > MAX_AGE and self._due(RETRY):
            _ = self._fetch()
        if key is not None:
            return key
        if self._failed:
            raise UpstreamUnavailable("The keys that tokens are verified with cannot be had now.")
        raise Unauthenticated("This token is signed with a key that is not published.")

    async def close(self) -> None:
        """Let go of connections. May be called twice."""
        await self._tasks.cancel()
        await self._http.aclose()

    def _known(self, kid: str | None) -> jwt.PyJWK | None:
        if kid is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(kid)

    def _due(self, seconds: float) -> bool:
        return self._clock() - self._tried >= seconds

    async def _fetch_again(self, wait: float) -> None:
        """Fetch unless that was tried a moment ago; who comes during a fetch waits for that one."""
        if self._fetching is not None and not self._fetching.done():
            await asyncio.shield(self._fetching)
        elif self._due(wait):
            await asyncio.shield(self._fetch())

    def _fetch(self) -> asyncio.Task[None]:
        self._tried = self._clock()
        self._fetching = self._tasks.start("published keys", self._replace())
        return self._fetching

    async def _replace(self) -> None:
        try:
            async with asyncio.timeout(DEADLINE):
                answer = await self._http.get(self._url)
            self._keys = _usable(answer.raise_for_status().json())
        except Exception as error:  # whatever a stranger answers, the keys that we have are good
            self._failed = True
            log.warning("the published keys could not be fetched: %r", error)
        else:
            self._failed = False
            self._fetched = self._clock()


def _usable(document: dict[str, Any]) -> dict[str | None, jwt.PyJWK]:
    """Those for signatures, by name. Raises when there are none."""
    keys = {
        key.key_id: key
        for key in jwt.PyJWKSet.from_dict(document)
        if key.algorithm_name in ALGORITHMS and key.public_key_use != "enc"
    }
    if not keys:
        raise ValueError("the set has no key for signatures")
    return keys
