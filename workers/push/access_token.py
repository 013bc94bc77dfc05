"""The OAuth access token of a service account, fetched beside the event loop.

google-auth refreshes with a blocking HTTP client, and it does so inside the request that found the token stale. Here
the refresh has a thread and a task of its own: a token that is about to expire is used while the next one is fetched,
and only a call that finds none at all waits.
"""

import asyncio
import functools
import logging
import time

from google.auth.credentials import Credentials, TokenState
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import Request

from domain.concurrency import Tasks

log = logging.getLogger(__name__)

REFRESH_TIMEOUT = 10.0
REFRESH_PAUSE = 5.0
"""Seconds between two refreshes, so that a service account that was switched off does not become a hail of calls."""


class NoAccessTokenError(Exception):
    """There is no valid token, and none could be fetched in time. The message holds no secret."""


class AccessToken:
    """The current token of `credential`. Belongs to one event loop."""

    def __init__(self, credential: Credentials) -> None:
        self._credential = credential
        self._request = Request()
        self._tasks = Tasks()
        self._refresh: asyncio.Task[None] | None = None
        self._not_before = 0.0

    async def get(self, deadline: float) -> str:
        """A token that is valid now, within `deadline` seconds. Raises `NoAccessTokenError`."""
        state = self._credential.token_state
        if state is not TokenState.FRESH:
            refresh = self._refreshing()
            if state is TokenState.INVALID and refresh is not None:
                await asyncio.wait({refresh}, timeout=deadline)
            if self._credential.token_state is TokenState.INVALID:
                raise NoAccessTokenError("no access token could be fetched for the service account")
        return str(self._credential.token)

    def refused(self, token: str) -> None:
        """The provider did not accept `token`: fetch another one before the next call."""
        if self._credential.token == token:
            self._credential.token = None

    async def close(self) -> None:
        """Let go. May be called twice."""
        await self._tasks.cancel()
        self._request.session.close()

    def _refreshing(self) -> "asyncio.Task[None] | None":
        """The refresh that is under way or was just started; None when it is too soon for another one."""
        if self._refresh is not None and not self._refresh.done():
            return self._refresh
        if time.monotonic() < self._not_before:
            return None
        self._not_before = time.monotonic() + REFRESH_PAUSE
        self._refresh = self._tasks.start("access-token", self._fetch())
        return self._refresh

    async def _fetch(self) -> None:
        request = functools.partial(self._request, timeout=REFRESH_TIMEOUT)
        try:
            await asyncio.to_thread(self._credential.refresh, request)
        except GoogleAuthError as error:
            log.warning("the access token could not be refreshed: %s", type(error).__name__)
