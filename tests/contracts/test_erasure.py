"""Erasing users from the gateway database, on both engines: what goes, what stays, and that none is forgotten."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import pytest

from api.gateway.erasure import Eraser
from api.records import Erasure
from domain.attachments import Attachment
from domain.changes import Changed, Kind
from domain.errors import UpstreamUnavailable
from domain.notification import Channel, Status
from domain.ports import Known
from domain.recipient import Device, Recipient
from tests.contracts.gateway_store import LEASE, Store, change

ADA = Recipient(
    user_id="usr_ada", name="Ada", email="ada@example.com", devices=(Device(id="dev_1", token="token-of-ada"),)
)
BOB = Recipient(user_id="usr_bob", email="bob@example.com")


class Users:
    """The User Service: whose erasure is not confirmed, and who is there."""

    def __init__(self) -> None:
        self.pending: dict[str, Erasure] = {}
        self.there: set[str] = set()
        self.away = False
        self.confirmed = asyncio.Event()

    def erase(self, user_id: str) -> None:
        self.pending[f"ers_{user_id}"] = Erasure(
            id=f"ers_{user_id}", user_id=user_id, erased_at=datetime.now(UTC), done_at=None
        )

    async def lookup(self, user_ids: Sequence[str]) -> Mapping[str, Known[Recipient]]:
        return {user_id: Known(Recipient(user_id=user_id)) for user_id in user_ids if user_id in self.there}

    async def erasures(self, limit: int) -> Sequence[Erasure]:
        if self.away:
            raise UpstreamUnavailable("The User Service is away.")
        return list(self.pending.values())[:limit]

    async def confirm_erasure(self, id: str) -> None:
        self.pending.pop(id, None)
        self.confirmed.set()


@pytest.fixture
def users() -> Users:
    return Users()


@pytest.fixture
def eraser(store: Store, users: Users) -> Eraser:
    return Eraser(
        store.database, store.status, store.suppressions, users, store.announced.extend, poll=3600, second_look=0
    )


async def dump(store: Store, *tables: str) -> str:
    """All that the database holds in these tables."""
    return str([await store.database.query(f"SELECT * FROM {table}") for table in tables])


async def test_nothing_of_the_user_but_their_id_is_left(store: Store, users: Users, eraser: Eraser) -> None:
    file = Attachment(url="https://files.example/ada-invoice.pdf", filename="ada-invoice.pdf")
    id = await store.accepted(recipient=ADA, attachments=(file,))
    await store.suppressions.add(Channel.EMAIL, "ada@example.com", "complaint")
    users.erase("usr_ada")
    await eraser.work_off()
    left = await dump(store, "requests", "notifications", "status_log", "attempts", "dead_letters", "suppressions")
    for secret in ("ada@example.com", "token-of-ada", "'Ada'", "Hello", "World", "shared", "invoice"):
        assert secret not in left
    view = await store.queries.notification(id)
    assert view is not None
    assert (view.status, view.reason) == (Status.CANCELLED, "The user was erased.")
    assert view.recipient == Recipient(user_id="usr_ada")
    assert list(await store.suppressions.among(Channel.EMAIL, ["ada@example.com"])) == ["ada@example.com"]
    assert users.pending == {}


async def test_what_was_sent_keeps_its_status_and_its_log(store: Store, users: Users, eraser: Eraser) -> None:
    id = await store.accepted(recipient=ADA)
    await store.take()
    claim = await store.claim(id, 0)
    assert claim is not None
    await store.record(change(claim, Status.SENDING), change(claim, Status.SENT))
    before = await store.queries.timeline([id])
    users.erase("usr_ada")
    await eraser.work_off()
    assert await store.status_of(id) is Status.SENT
    assert await store.queries.timeline([id]) == before


async def test_others_keep_what_is_theirs(store: Store, users: Users, eraser: Eraser) -> None:
    receipt = await store.accept(recipient=BOB)
    users.erase("usr_ada")
    await store.accepted(recipient=ADA)
    await eraser.work_off()
    view = receipt.notifications[0]
    assert await store.queries.notification(view.id) == view


async def test_what_a_worker_has_in_hand_is_waited_for(store: Store, users: Users, eraser: Eraser) -> None:
    id = await store.accepted(recipient=ADA)
    await store.take()
    claim = await store.claim(id, 0, LEASE)
    assert claim is not None
    users.erase("usr_ada")
    await eraser.work_off()
    assert "ada@example.com" not in await dump(store, "notifications", "requests")
    assert list(users.pending) == ["ers_usr_ada"]
    await store.record(change(claim, Status.SENDING), change(claim, Status.SENT))
    await eraser.work_off()
    assert users.pending == {}


async def test_erasing_twice_is_erasing_once(store: Store, users: Users, eraser: Eraser) -> None:
    id = await store.accepted(recipient=ADA)
    assert await eraser.erase("usr_ada")
    assert await eraser.erase("usr_ada")
    assert [row.status for row in (await store.queries.timeline([id]))[id]] == [Status.ACCEPTED, Status.CANCELLED]


async def test_more_than_one_batch_goes_too(
    store: Store, users: Users, eraser: Eraser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.gateway.erasure.AT_ONCE", 2)
    for _ in range(5):
        await store.accepted(recipient=ADA)
    assert await eraser.erase("usr_ada")
    assert "ada@example.com" not in await dump(store, "notifications")


async def test_a_running_eraser_heeds_what_it_hears(store: Store, users: Users, eraser: Eraser) -> None:
    users.away = True
    await eraser.start()
    try:
        await store.accepted(recipient=ADA)
        users.erase("usr_ada")
        users.away = False
        eraser.heed(Changed(Kind.ERASURE, ("usr_ada",)))
        async with asyncio.timeout(10):
            await users.confirmed.wait()
        assert "ada@example.com" not in await dump(store, "notifications")
    finally:
        await eraser.stop()


async def test_who_hastens_it_does_not_fail_when_the_service_is_away(users: Users, eraser: Eraser) -> None:
    users.away = True
    users.erase("usr_ada")
    await eraser.hasten()
    assert list(users.pending) == ["ers_usr_ada"]
