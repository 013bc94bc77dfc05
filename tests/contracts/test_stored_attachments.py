"""What goes with a mail is stored with its request, shown with its notifications and brought by each claim."""

from domain.attachments import Attachment
from domain.events import DeliveryItem
from domain.notification import Channel
from tests.contracts.gateway_store import LEASE, Store

FILES = (
    Attachment(url="https://files.example/a.pdf", filename="Übersicht.pdf", content_type="application/pdf"),
    Attachment(url="https://files.example/b", filename="b"),
)


async def test_every_claim_of_the_request_brings_them_and_every_view_shows_them(store: Store) -> None:
    receipt = await store.accept(count=3, attachments=FILES)
    assert {one.attachments for one in receipt.notifications} == {FILES}
    ids = [one.id for one in receipt.notifications]
    assert {one.attachments for one in (await store.queries.notifications_by_id(ids)).values()} == {FILES}
    first = await store.claim(ids[0], 0)
    others = await store.claims.claim([DeliveryItem(id, 0) for id in ids[1:]], LEASE)
    assert [claim.attachments for claim in (first, *others) if claim is not None] == [FILES] * 3


async def test_without_any_there_are_none(store: Store) -> None:
    claim = await store.attempted()
    assert claim.attachments == ()
    view = await store.queries.notification(claim.id)
    assert view is not None
    assert view.attachments == ()


async def test_a_push_of_the_same_request_shows_none(store: Store) -> None:
    id = await store.accepted(channel=Channel.PUSH, attachments=FILES)
    view = await store.queries.notification(id)
    assert view is not None
    assert view.attachments == ()
