"""FCM answering badly, over real HTTP and the whole way: what is said, what it costs, and what arrives."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from domain.notification import Channel, Status
from domain.retry import RetryPolicy
from tests.faults.providers import CUT_OFF, NAMELESS, NO_ANSWER, SOON, TAKEN, Fcm, Reply, check_path, path_to

FCM_ERROR = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
ACCEPTED = ("ACCEPTED", None)
PATIENT = RetryPolicy(schedule=(0.05,) * 20, jitter=0.0)


def refusal(status: int, code: str, **headers: str) -> Reply:
    """As the HTTP v1 API says no."""
    error = {"status": code, "message": f"It says {code}.", "details": [{"@type": FCM_ERROR, "errorCode": code}]}
    return Reply(status, {"error": error}, headers)


LIMITED = refusal(429, "QUOTA_EXCEEDED", **{"Retry-After": "0"})
UNAVAILABLE = refusal(503, "UNAVAILABLE")


@pytest.mark.parametrize(
    ("answer", "attempt"),
    [
        (UNAVAILABLE, ("TRANSIENT", "UNAVAILABLE")),
        (refusal(500, "INTERNAL"), ("TRANSIENT", "INTERNAL")),
        (refusal(401, "THIRD_PARTY_AUTH_ERROR"), ("TRANSIENT", "THIRD_PARTY_AUTH_ERROR")),
        (Reply(403), ("TRANSIENT", "HTTP_403")),
    ],
)
async def test_what_was_surely_not_taken_is_tried_again(
    tmp_path: Path, answer: Reply, attempt: tuple[str, str]
) -> None:
    fcm = Fcm(answer, TAKEN)
    async with path_to(tmp_path, fcm) as path:
        (id,) = await path.accept_on(Channel.PUSH)
        view = (await path.ended([id]))[id]
        assert (view.status, view.possible_duplicate) == (Status.SENT, False)
        assert (await path.attempts_of(id), await path.used(id)) == ([attempt, ACCEPTED], 2)
        assert fcm.taken[id] == 1
        await check_path(path, fcm.taken)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (NO_ANSWER, "no_answer"),
        (CUT_OFF, "no_answer"),
        (NAMELESS, "no_message_name"),
        (Reply(502), "HTTP_502"),
        (Reply(504), "HTTP_504"),
    ],
)
async def test_what_may_have_been_taken_is_sent_again_and_says_so(tmp_path: Path, answer: Reply, code: str) -> None:
    fcm = Fcm(answer, TAKEN)
    async with path_to(tmp_path, fcm, settings=SOON) as path:
        (id,) = await path.accept_on(Channel.PUSH)
        view = (await path.ended([id]))[id]
        assert (view.status, view.possible_duplicate) == (Status.SENT, True)
        assert await path.attempts_of(id) == [("UNKNOWN", code), ACCEPTED]
        await check_path(path, fcm.taken)


async def test_a_device_that_is_gone_fails_at_once_and_is_to_be_retired(tmp_path: Path) -> None:
    fcm = Fcm(refusal(404, "UNREGISTERED"))
    async with path_to(tmp_path, fcm) as path:
        (id,) = await path.accept_on(Channel.PUSH)
        view = (await path.ended([id]))[id]
        assert (view.status, view.reason) == (Status.FAILED, "It says UNREGISTERED.")
        assert (await path.attempts_of(id), await path.used(id)) == ([("PERMANENT", "UNREGISTERED")], 1)
        (letter,) = await path.dead_letters(1)
        (device,) = of_json(letter["payload"])["detail"]["devices"]
        assert (device["device_id"], device["retire"]) == ("dev_1", True)
        await check_path(path, fcm.taken)


class TestSeveralDevices:
    """One notification, its attempts per device."""

    async def test_a_retry_goes_to_the_devices_that_are_still_open(self, tmp_path: Path) -> None:
        fcm = Fcm(refusal(404, "UNREGISTERED"), UNAVAILABLE, UNAVAILABLE, UNAVAILABLE, TAKEN)
        async with path_to(tmp_path, fcm) as path:
            (id,) = await path.accept_on(Channel.PUSH, devices=3)
            view = (await path.ended([id]))[id]
            assert (view.status, view.reason, await path.used(id)) == (
                Status.SENT,
                "Accepted for 1 of 2 devices.",
                2,
            )
            assert sorted(fcm.called[3:]) == sorted(fcm.called[1:3]), "not the one that is gone"

    async def test_once_one_took_it_the_others_are_left_alone(self, tmp_path: Path) -> None:
        fcm = Fcm(UNAVAILABLE, TAKEN, refusal(404, "UNREGISTERED"))
        async with path_to(tmp_path, fcm) as path:
            (id,) = await path.accept_on(Channel.PUSH, devices=3)
            view = (await path.ended([id]))[id]
            assert (view.status, len(fcm.called)) == (Status.SENT, 3)
            assert sorted(await path.attempts_of(id), key=str) == [
                ACCEPTED,
                ("PERMANENT", "UNREGISTERED"),
                ("TRANSIENT", "UNAVAILABLE"),
            ]

    async def test_all_refused_for_good_is_failed(self, tmp_path: Path) -> None:
        fcm = Fcm(refusal(404, "UNREGISTERED"), UNAVAILABLE, refusal(404, "UNREGISTERED"))
        async with path_to(tmp_path, fcm) as path:
            (id,) = await path.accept_on(Channel.PUSH, devices=2)
            view = (await path.ended([id]))[id]
            assert (view.status, len(fcm.called)) == (Status.FAILED, 3)


class TestRateLimits:
    async def test_however_often_it_is_put_off_it_uses_no_attempt(self, tmp_path: Path) -> None:
        fcm = Fcm(*[LIMITED] * 5, TAKEN)
        async with path_to(tmp_path, fcm) as path:
            (id,) = await path.accept_on(Channel.PUSH)
            view = (await path.ended([id]))[id]
            assert (view.status, view.possible_duplicate) == (Status.SENT, False)
            assert await path.attempts_of(id) == [("TRANSIENT", "QUOTA_EXCEEDED")] * 5 + [ACCEPTED]
            assert await path.used(id) == 1
            await check_path(path, fcm.taken)

    async def test_it_is_left_alone_for_as_long_as_was_asked_for(self, tmp_path: Path) -> None:
        fcm = Fcm(refusal(429, "QUOTA_EXCEEDED", **{"Retry-After": "3600"}), TAKEN)
        async with path_to(tmp_path, fcm) as path:
            (id,) = await path.accept_on(Channel.PUSH)
            view = await path.reached(id, Status.RETRYING)
            assert view.reason == "It says QUOTA_EXCEEDED."
            (attempt,) = (await path.queries.attempts([id]))[id]
            assert attempt.retry_at is not None
            assert attempt.retry_at - attempt.started_at >= timedelta(hours=1)
            await path.make_due(id)
            assert (await path.ended([id]))[id].status is Status.SENT

    async def test_an_attempt_that_fails_in_between_counts(self, tmp_path: Path) -> None:
        fcm = Fcm(LIMITED, UNAVAILABLE, LIMITED, UNAVAILABLE, LIMITED, UNAVAILABLE)
        async with path_to(tmp_path, fcm) as path:
            (id,) = await path.accept_on(Channel.PUSH)
            view = (await path.ended([id]))[id]
            assert (view.status, await path.used(id)) == (Status.FAILED, 3)
            assert await path.outcomes() == {"TRANSIENT": 6}
            await check_path(path, fcm.taken)

    async def test_of_many_that_are_limited_together_none_is_given_up(self, tmp_path: Path) -> None:
        fcm = Fcm(*[LIMITED] * 60, TAKEN)
        async with path_to(tmp_path, fcm, breaker={"fail_max": 5, "reset_after": 0.02}) as path:
            ids = await path.accept_on(Channel.PUSH, 20)
            views = await path.ended(ids)
            assert {view.status for view in views.values()} == {Status.SENT}
            assert {await path.used(id) for id in ids} == {1}
            assert await path.outcomes() == {"TRANSIENT": 60, "ACCEPTED": 20}
            await check_path(path, fcm.taken)


async def test_a_storm_of_outages_passes_and_everything_arrives_once(tmp_path: Path) -> None:
    fcm = Fcm(*[UNAVAILABLE] * 60, TAKEN)
    async with path_to(tmp_path, fcm, policy=PATIENT) as path:
        ids = await path.accept_on(Channel.PUSH, 30)
        views = await path.ended(ids)
        assert {view.status for view in views.values()} == {Status.SENT}
        assert +fcm.taken == dict.fromkeys(ids, 1)
        assert await path.outcomes() == {"TRANSIENT": 60, "ACCEPTED": 30}
        await check_path(path, fcm.taken)


def of_json(text: str) -> Any:
    return msgspec.json.decode(text)
