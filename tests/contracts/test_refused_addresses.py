"""An address that is refused when we want to send is suppressed with its FAILED, once, on both engines."""

from collections.abc import Mapping
from typing import Any

from domain.events import StatusChanged
from domain.notification import Channel, Status
from domain.ports import Claim, Settlement
from domain.recipient import Device, Recipient
from domain.refusals import REFUSED_ADDRESS
from tests.contracts.gateway_store import Store, change

ADA = "ada@example.com"
TO_ADA = Recipient(email=ADA)
REASON = "address refused (5.1.1)"


def refused(claim: Claim, code: str | None = "5.1.1", **more: Any) -> StatusChanged:
    return change(claim, Status.FAILED, detail={REFUSED_ADDRESS: True, "code": code}, uses_attempt=True, **more)


async def why(store: Store) -> Mapping[str, str]:
    return await store.suppressions.among(Channel.EMAIL, [ADA])


async def lift(store: Store) -> None:
    (found,), _ = await store.suppressions.page(None, 1, 10)
    await store.suppressions.lift(found.id)


async def test_the_address_is_suppressed_with_the_failure_and_counts_at_once(store: Store) -> None:
    claim = await store.attempted(recipient=TO_ADA)
    assert await why(store) == {}
    assert await store.record(refused(claim)) == []
    assert await store.status_of(claim.id) is Status.FAILED
    assert await why(store) == {ADA: REASON}
    await store.check_invariants()


async def test_a_failure_for_any_other_reason_suppresses_nothing(store: Store) -> None:
    claim = await store.attempted(recipient=TO_ADA)
    assert await store.record(change(claim, Status.FAILED, detail={"code": "5.2.2"})) == []
    assert await why(store) == {}


async def test_the_same_report_again_does_not_bring_back_what_was_lifted(store: Store) -> None:
    claim = await store.attempted(recipient=TO_ADA)
    await store.record(refused(claim))
    assert await store.record(refused(claim)) == ["stale claim"]
    assert (await store.suppressions.page(None, 1, 10))[1] == 1
    await lift(store)
    assert await store.record(refused(claim)) == ["stale claim"]
    assert await why(store) == {}


async def test_a_worker_that_lost_its_claim_is_not_believed(store: Store) -> None:
    lost = await store.attempted(recipient=TO_ADA)
    await store.make_due(lost.id)
    (due,) = await store.take()
    assert await store.claim(lost.id, due.attempt) is not None
    assert await store.record(refused(lost)) == ["stale claim"]
    assert await why(store) == {}


async def test_an_outcome_that_was_stored_and_not_reported_suppresses_when_it_is_found(store: Store) -> None:
    claim = await store.attempted(recipient=TO_ADA)
    await store.claims.settle([Settlement(id=claim.id, token=claim.token, changes=(refused(claim),))])
    await store.make_due(claim.id)
    (due,) = await store.take()
    assert await store.record(*due.settled) == []
    assert await why(store) == {ADA: REASON}


async def test_lifted_replayed_and_refused_again_it_is_suppressed_again(store: Store) -> None:
    claim = await store.attempted(recipient=TO_ADA)
    await store.record(refused(claim))
    await lift(store)
    replay = StatusChanged(
        notification_id=claim.id, status=Status.QUEUED, occurred_at=claim.claimed_at, attempt=1, replay=True
    )
    assert await store.record(replay) == []
    second = await store.claim(claim.id, 1)
    assert second is not None
    await store.record(refused(second, code="5.1.10"))
    assert await why(store) == {ADA: "address refused (5.1.10)"}


async def test_the_first_reason_stays(store: Store) -> None:
    await store.suppressions.add(Channel.EMAIL, ADA, "complaint")
    await store.record(refused(await store.attempted(recipient=TO_ADA)))
    assert await why(store) == {ADA: "complaint"}


async def test_many_in_one_report_are_each_suppressed(store: Store) -> None:
    claims = [await store.attempted(recipient=Recipient(email=f"user{number}@example.com")) for number in range(5)]
    claims.append(await store.attempted(recipient=Recipient(email="user0@example.com")))
    assert await store.record(*map(refused, claims)) == []
    assert (await store.suppressions.page(Channel.EMAIL, 1, 10))[1] == 5


async def test_a_push_or_an_erased_recipient_has_no_address_to_suppress(store: Store) -> None:
    for more in (
        {"recipient": Recipient(devices=(Device(id=None, token="t"),), email=ADA), "channel": Channel.PUSH},
        {"recipient": Recipient(user_id="usr_erased")},
    ):
        assert await store.record(refused(await store.attempted(**more), code=None)) == []
    assert (await store.suppressions.page(None, 1, 10))[1] == 0
