"""FCM is asked about a token that is registered, and never keeps anybody from registering by being away."""

from collections.abc import AsyncIterator

import pytest

from tests.contracts.push_servers import SHORT
from workers.push.dry_run import FAILURES, DryRun
from workers.push.fcm import FcmProvider
from workers.sandbox.fcm import FcmEndpoint


@pytest.fixture
async def endpoint() -> AsyncIterator[FcmEndpoint]:
    fcm = FcmEndpoint()
    await fcm.start()
    yield fcm
    await fcm.stop()


@pytest.fixture
async def dry_run(endpoint: FcmEndpoint) -> AsyncIterator[DryRun]:
    provider = FcmProvider(None, "demo", url=endpoint.url)
    yield DryRun(provider, deadline=SHORT)
    await provider.close()


@pytest.mark.parametrize("token", ["sandbox-unregistered-1", "sandbox-invalid-1", "sandbox-mismatch-1"])
async def test_a_token_that_fcm_does_not_know_is_a_problem(dry_run: DryRun, token: str) -> None:
    assert await dry_run.problem(token) == "is not a token that the push provider knows"


@pytest.mark.parametrize(
    "token",
    [
        "a-token-that-is-fine",
        "sandbox-quota",
        "sandbox-unavailable-always",
        "sandbox-hang",
        "11111111-2222-4333-8444-555555555555",
    ],
)
async def test_one_that_is_known_or_that_nobody_can_tell_of_is_none(dry_run: DryRun, token: str) -> None:
    assert await dry_run.problem(token) is None


async def test_nothing_is_sent(dry_run: DryRun, endpoint: FcmEndpoint) -> None:
    await dry_run.problem("a-token-that-is-fine")
    assert endpoint.store.messages == []


async def test_an_fcm_that_is_away_is_left_alone_for_a_while(dry_run: DryRun) -> None:
    for _ in range(FAILURES):
        assert await dry_run.problem("sandbox-unavailable-always") is None
    assert await dry_run.problem("sandbox-unregistered-1") is None  # it would be a problem, were it asked
