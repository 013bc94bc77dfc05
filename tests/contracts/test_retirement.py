"""Refused devices reach the User Service, on both engines, whatever happens on the way."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from api.gateway.retirement import Retirer, SqlRefusals
from domain.errors import UpstreamUnavailable, ValidationFailed
from domain.events import Attempt, StatusChanged
from domain.notification import Outcome, Status
from domain.ports import Claim
from domain.recipient import Device, Recipient
from tests.contracts.gateway_store import Store, change

ASKED = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
ADA = Recipient(user_id="usr_ada", email="ada@example.com", devices=(Device(id="dev_1", token="token-of-ada"),))


class Users:
    """The User Service: what it was told, and whether it is away."""

    def __init__(self) -> None:
        self.told: list[tuple[str, datetime]] = []
        self.away = False
        self.refuses: set[str] = set()

    async def retire_devices(self, ids: Sequence[str], refused_at: datetime) -> int:
        if self.away:
            raise UpstreamUnavailable("The User Service is away.")
        if self.refuses & set(ids):
            raise ValidationFailed.of("ids.0", "characters", "cannot be")
        self.told += [(id_, refused_at) for id_ in ids]
        return len(ids)


@pytest.fixture
def users() -> Users:
    return Users()


@pytest.fixture
def refusals(store: Store) -> SqlRefusals:
    return SqlRefusals(store.database)


@pytest.fixture
def retirer(refusals: SqlRefusals, users: Users) -> Retirer:
    return Retirer(refusals, users, poll=3600)


def failed(claim: Claim, *devices: Any, asked: datetime = ASKED) -> StatusChanged:
    """An attempt that failed for good, with what its detail says of the devices."""
    attempts = [
        Attempt(
            number=1, provider="fcm", outcome=Outcome.PERMANENT, started_at=asked, duration_ms=1, device_id=f"dev_{n}"
        )
        for n in range(1, 4)
    ]
    ended = change(claim, Status.FAILED)
    return StatusChanged(
        notification_id=ended.notification_id,
        status=ended.status,
        occurred_at=ended.occurred_at,
        attempt=ended.attempt,
        token=ended.token,
        attempts=attempts,
        detail={"devices": list(devices)},
    )


def retired(device_id: Any) -> dict[str, Any]:
    return {"device_id": device_id, "outcome": "PERMANENT", "code": "UNREGISTERED", "retire": True}


async def claimed(store: Store) -> Claim:
    id = await store.accepted(recipient=ADA)
    await store.take()
    claim = await store.claim(id, 0)
    assert claim is not None
    return claim


async def test_a_refusal_is_stored_with_its_outcome_and_told_once(
    store: Store, refusals: SqlRefusals, retirer: Retirer, users: Users
) -> None:
    claim = await claimed(store)
    kept = {"device_id": "dev_3", "outcome": "ACCEPTED", "code": None}
    assert await store.record(failed(claim, retired("dev_1"), retired("dev_2"), kept)) == []
    assert await refusals.pending(10) == {"dev_1": ASKED, "dev_2": ASKED}
    await retirer.work_off()
    await retirer.work_off()
    assert users.told == [("dev_1", ASKED), ("dev_2", ASKED)]


async def test_nothing_is_lost_while_the_user_service_is_away(
    store: Store, refusals: SqlRefusals, retirer: Retirer, users: Users
) -> None:
    await store.record(failed(await claimed(store), retired("dev_1")))
    users.away = True
    with pytest.raises(UpstreamUnavailable):
        await retirer.work_off()
    assert await refusals.pending(10) == {"dev_1": ASKED}
    users.away = False
    await Retirer(refusals, users).work_off()  # another gateway, after a restart
    assert users.told == [("dev_1", ASKED)]
    assert await refusals.pending(10) == {}


async def test_a_report_that_comes_twice_or_too_late_still_says_what_the_device_is(
    store: Store, refusals: SqlRefusals
) -> None:
    claim = await claimed(store)
    report = failed(claim, retired("dev_1"))
    assert await store.record(report) == []
    assert await store.record(report) != []
    assert await refusals.pending(10) == {"dev_1": ASKED}


async def test_of_two_refusals_the_later_one_counts_and_is_not_forgotten_with_the_first(
    store: Store, refusals: SqlRefusals
) -> None:
    later = ASKED + timedelta(seconds=1)
    await store.record(failed(await claimed(store), retired("dev_1")))
    told = await refusals.pending(10)
    await store.record(failed(await claimed(store), retired("dev_1"), asked=later))
    await store.record(failed(await claimed(store), retired("dev_1")))
    await refusals.done(told)
    assert await refusals.pending(10) == {"dev_1": later}
    await refusals.done({"dev_1": later})
    assert await refusals.pending(10) == {}


async def test_one_that_is_never_accepted_does_not_hold_up_the_others(
    store: Store, refusals: SqlRefusals, retirer: Retirer, users: Users
) -> None:
    users.refuses = {"dev_1"}
    await store.record(failed(await claimed(store), retired("dev_1"), retired("dev_2")))
    await retirer.work_off()
    assert users.told == [("dev_2", ASKED)]
    assert await refusals.pending(10) == {}


@pytest.mark.parametrize(
    "devices", [[retired(None)], [retired(7)], [retired("x" * 41)], [retired("")], ["dev_1"], [{"retire": True}]]
)
async def test_what_names_no_device_of_ours_is_passed_over(
    store: Store, refusals: SqlRefusals, devices: list[Any]
) -> None:
    assert await store.record(failed(await claimed(store), *devices)) == []
    assert await refusals.pending(10) == {}


async def test_a_refusal_of_a_notification_that_nobody_knows_is_no_news(store: Store, refusals: SqlRefusals) -> None:
    claim = await claimed(store)
    report = failed(claim, retired("dev_1"))
    unknown = StatusChanged(
        notification_id="ntf_none", status=report.status, occurred_at=report.occurred_at, detail=report.detail
    )
    assert await store.record(unknown) == ["no such notification"]
    assert await refusals.pending(10) == {}
