"""Access tokens: fetched by google-auth from a token endpoint, never on the event loop."""

import asyncio
import datetime
import threading
from pathlib import Path

import pytest
from google.auth.credentials import Credentials
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from domain.notification import Outcome
from tests.contracts.push_servers import DEADLINE, SHORT, push, served, service_account, until
from workers.push.access_token import AccessToken, NoAccessTokenError
from workers.push.fcm import FcmProvider
from workers.sandbox.fcm import FcmStore, fcm_app


async def test_a_service_account_fetches_a_token_and_another_when_it_was_refused(tmp_path: Path) -> None:
    issued: list[str] = []
    accepted: list[str] = []

    async def token(request: Request) -> JSONResponse:
        assert b"assertion=" in await request.body()
        issued.append(f"token-{len(issued)}")
        return JSONResponse({"access_token": issued[-1], "expires_in": 3600, "token_type": "Bearer"})

    async def send(request: Request) -> JSONResponse:
        given = request.headers["authorization"].removeprefix("Bearer ")
        if given == "token-0" and accepted:
            return JSONResponse({"error": {"status": "UNAUTHENTICATED"}}, 401)
        accepted.append(given)
        return JSONResponse({"name": "projects/demo/messages/1"})

    routes = [Route("/token", token, methods=["POST"]), Route("/{rest:path}", send, methods=["POST"])]
    async with served(Starlette(routes=routes)) as server:
        provider = FcmProvider(service_account(tmp_path, f"{server.url}/token"), "demo", url=server.url)
        first = await provider.send(push(), DEADLINE)
        refused = await provider.send(push(), DEADLINE)
        provider._token._not_before = 0.0  # as if the pause between two refreshes were over
        again = await provider.send(push(), DEADLINE)
        await provider.close()
    assert first.outcome is Outcome.ACCEPTED
    assert (refused.outcome, refused.code) == (Outcome.TRANSIENT, "UNAUTHENTICATED")
    assert again.outcome is Outcome.ACCEPTED
    assert accepted == ["token-0", "token-1"]


async def test_no_access_token_is_transient_and_nothing_is_sent(tmp_path: Path) -> None:
    store = FcmStore()
    async with served(fcm_app(store)) as server:
        provider = FcmProvider(service_account(tmp_path, f"{server.url}/no-tokens-here"), "demo", url=server.url)
        for _ in range(2):
            answer = await provider.send(push(), DEADLINE)
            assert (answer.outcome, answer.code) == (Outcome.TRANSIENT, "no_access_token")
        await provider.close()
    assert store.messages == []


class FakeCredential(Credentials):
    """Says which thread refreshed it, and does so only when it may."""

    def __init__(self, expires_in: float | None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.may_refresh = threading.Event()
        self.refreshed_by: list[int] = []
        if expires_in is not None:
            self.token = "old"
            self.expiry = self.in_seconds(expires_in)

    @staticmethod
    def in_seconds(seconds: float) -> datetime.datetime:
        """Google's credentials count in naive UTC."""
        return datetime.datetime.now(datetime.UTC).replace(tzinfo=None) + datetime.timedelta(seconds=seconds)

    def refresh(self, request: object) -> None:
        """Blocks as the real one does."""
        assert self.may_refresh.wait(DEADLINE)
        self.refreshed_by.append(threading.get_ident())
        self.token, self.expiry = "new", self.in_seconds(3600)


async def test_a_refresh_never_runs_on_the_event_loop_and_once_for_all_who_wait() -> None:
    credential = FakeCredential(None)
    token = AccessToken(credential)
    waiting = [asyncio.create_task(token.get(DEADLINE)) for _ in range(5)]
    await asyncio.sleep(0)
    credential.may_refresh.set()  # reached only because the loop is not blocked
    assert await asyncio.gather(*waiting) == ["new"] * 5
    assert len(credential.refreshed_by) == 1
    assert threading.get_ident() not in credential.refreshed_by
    await token.close()


async def test_a_token_that_is_about_to_expire_is_used_while_the_next_one_comes() -> None:
    credential = FakeCredential(60.0)
    token = AccessToken(credential)
    assert await token.get(DEADLINE) == "old"
    credential.may_refresh.set()
    await until(lambda: credential.token == "new")
    assert await token.get(DEADLINE) == "new"
    await token.close()


async def test_a_refresh_that_takes_too_long_ends_with_the_deadline() -> None:
    credential = FakeCredential(None)
    token = AccessToken(credential)
    with pytest.raises(NoAccessTokenError):
        await token.get(SHORT)
    credential.may_refresh.set()
    await token.close()
