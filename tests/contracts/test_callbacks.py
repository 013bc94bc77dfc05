"""What is promised of what providers, devices and recipients say after sending, on both engines."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from api.database import Databases
from api.gateway.suppressions import BOUNCED_OFTEN
from domain.callbacks import DEVICE, Callback, CallbackKind
from domain.errors import UpstreamUnavailable
from domain.ids import NOTIFICATION, new_id
from domain.notification import Channel, Status
from domain.preferences import ChannelPreference
from domain.recipient import Device, Recipient
from tests.contracts.gateway_store import Store, cancelled, change

ADA = "ada@example.com"
AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
TO_ADA = Recipient(email=ADA)
K = CallbackKind


def said(id: str, kind: CallbackKind, **more: Any) -> Callback:
    return Callback(notification_id=id, kind=kind, **{"occurred_at": AT, "provider": "sendgrid", **more})


async def why(store: Store, category: str | None = None) -> Mapping[str, str]:
    return await store.suppressions.among(Channel.EMAIL, [ADA], category)


async def suppression(store: Store) -> Any:
    (found,), _ = await store.suppressions.page(None, 1, 10)
    return found


async def bounced(store: Store, times: int, since: datetime = AT) -> None:
    """As many mails to Ada come back for now, an hour after the other."""
    for number in range(times):
        id = await store.sent(recipient=TO_ADA)
        await store.callbacks.record([said(id, K.BOUNCED, occurred_at=since + timedelta(hours=number))])


class TestStatus:
    async def test_a_confirmation_is_delivered_and_is_announced(self, store: Store) -> None:
        id = await store.sent()
        await store.callbacks.record([said(id, K.DELIVERED, provider_message_id="<a@b>")])
        assert await store.status_of(id) is Status.DELIVERED
        last = store.announced[-1]
        assert (last.status, last.provider, last.occurred_at) == (Status.DELIVERED, "sendgrid", AT)

    async def test_a_bounce_says_why(self, store: Store) -> None:
        id = await store.sent()
        reason = f"550 5.1.1 <{ADA}>: no such\0 user"
        await store.callbacks.record([said(id, K.BOUNCED, permanent=True, code="5.1.1", reason=reason)])
        row = (await store.queries.timeline([id]))[id][-1]
        assert (row.status, row.detail) == (Status.BOUNCED, {"permanent": True, "code": "5.1.1"})
        assert row.reason == "550 5.1.1 <(address)>: no such\ufffd user"

    async def test_one_that_beats_our_own_sent_applies(self, store: Store) -> None:
        claim = await store.attempted()
        await store.callbacks.record([said(claim.id, K.BOUNCED)])
        assert await store.record(change(claim, Status.SENT)) != []
        assert await store.status_of(claim.id) is Status.BOUNCED

    async def test_the_same_again_changes_nothing(self, store: Store) -> None:
        id = await store.sent()
        everything = [said(id, kind) for kind in K]
        for _ in range(2):
            await store.callbacks.record([*everything, *everything])
        assert [row.status for row in (await store.queries.timeline([id]))[id]][-2:] == ["DELIVERED", "BOUNCED"]
        assert sorted(one.kind for one in (await store.queries.callbacks([id]))[id]) == sorted(K)

    async def test_nothing_can_be_said_of_what_is_not_ours_or_was_never_tried(self, store: Store) -> None:
        waiting, gone = await store.accepted(recipient=TO_ADA), await store.accepted(recipient=TO_ADA)
        await store.record(cancelled(gone))
        ids = [waiting, gone, new_id(NOTIFICATION), "other"]
        await store.callbacks.record([said(id, kind, permanent=True) for id in ids for kind in K])
        assert [await store.status_of(id) for id in (waiting, gone)] == [Status.ACCEPTED, Status.CANCELLED]
        assert await store.queries.callbacks(ids) == {}
        assert await why(store) == {}

    @pytest.mark.parametrize("kind", [K.DELAYED, K.OPENED, K.CLICKED, K.COMPLAINED, K.UNSUBSCRIBED])
    async def test_what_changes_no_status_is_kept_with_the_notification(self, store: Store, kind: K) -> None:
        id = await store.sent()
        await store.callbacks.record([said(id, kind, code="4.2.2", reason="Mailbox full.")])
        assert await store.status_of(id) is Status.SENT
        (kept,) = (await store.queries.callbacks([id]))[id]
        assert (kept.kind, kept.code, kept.reason, kept.occurred_at) == (kind, "4.2.2", "Mailbox full.", AT)

    async def test_what_a_device_says_leaves_the_provider_as_it_is(self, store: Store) -> None:
        id = await store.sent()
        await store.callbacks.record([said(id, K.DELIVERED, provider=DEVICE)])
        view = await store.queries.notification(id)
        assert view is not None
        assert (view.status, view.provider) == (Status.DELIVERED, "smtp")

    async def test_a_thousand_at_once_by_two_who_say_the_same(self, store: Store) -> None:
        await store.accept(count=1_000)
        ids = [row["id"] for row in await store.database.query("UPDATE notifications SET attempt = 1 RETURNING id")]
        callbacks = [said(id, K.BOUNCED, permanent=True) for id in ids]
        await asyncio.gather(store.callbacks.record(callbacks), store.callbacks.record(callbacks[::-1]))
        assert {await store.status_of(id) for id in ids[::100]} == {Status.BOUNCED}
        assert (await store.suppressions.page(None, 1, 1))[1] == 1_000


class TestSuppressions:
    async def test_a_permanent_bounce_suppresses_with_its_code(self, store: Store) -> None:
        await store.callbacks.record(
            [said(await store.sent(recipient=TO_ADA), K.BOUNCED, permanent=True, code="5.1.1")]
        )
        assert await why(store) == {ADA: "hard bounce (5.1.1)"}

    async def test_a_complaint_suppresses(self, store: Store) -> None:
        await store.callbacks.record([said(await store.sent(recipient=TO_ADA), K.COMPLAINED)])
        assert await why(store) == {ADA: "complaint"}

    async def test_said_again_after_the_suppression_was_lifted_it_does_not_come_back(self, store: Store) -> None:
        callback = said(await store.sent(recipient=TO_ADA), K.BOUNCED, permanent=True)
        await store.callbacks.record([callback])
        await store.suppressions.lift((await suppression(store)).id)
        await store.callbacks.record([callback])
        assert await why(store) == {}

    async def test_a_bounce_and_its_suppression_are_one(self, store: Store, databases: Databases) -> None:
        id = await store.sent(recipient=TO_ADA)
        await store.database.query("ALTER TABLE suppressions RENAME TO away")
        with pytest.raises(Exception, match="suppressions"):
            await store.callbacks.record([said(id, K.BOUNCED, permanent=True)])
        assert await store.status_of(id) is Status.SENT
        await store.database.query("ALTER TABLE away RENAME TO suppressions")
        await store.callbacks.record([said(id, K.BOUNCED, permanent=True)])
        assert (await store.status_of(id), await why(store)) == (Status.BOUNCED, {ADA: "hard bounce"})

    async def test_of_several_devices_nobody_knows_which_one_it_was(self, store: Store) -> None:
        both = Recipient(user_id="u", devices=tuple(Device(id=f"dev_{n}", token=f"token-{n}-token") for n in "12"))
        id = await store.sent(recipient=both, channel=Channel.PUSH)
        await store.callbacks.record([said(id, K.BOUNCED, permanent=True)])
        assert await store.status_of(id) is Status.SENT
        assert [one.kind for one in (await store.queries.callbacks([id]))[id]] == [K.BOUNCED]
        assert (await store.suppressions.page(None, 1, 10))[1] == 0


class TestBouncesForNow:
    async def test_two_in_a_row_are_accidents_and_the_third_suppresses(self, store: Store) -> None:
        await bounced(store, 2)
        assert await why(store) == {}
        await bounced(store, 1, AT + timedelta(hours=2))
        assert await why(store) == {ADA: BOUNCED_OFTEN}

    async def test_those_that_are_far_apart_are_not_in_a_row(self, store: Store) -> None:
        await bounced(store, 2)
        await bounced(store, 2, AT + timedelta(days=9))
        assert await why(store) == {}

    async def test_three_at_once_are_three(self, store: Store) -> None:
        ids = [await store.sent(recipient=TO_ADA) for _ in range(3)]
        await store.callbacks.record([said(id, K.BOUNCED) for id in ids])
        assert await why(store) == {ADA: BOUNCED_OFTEN}

    async def test_a_delivery_in_between_ends_the_row(self, store: Store) -> None:
        await bounced(store, 2)
        later = AT + timedelta(hours=2)
        await store.callbacks.record([said(await store.sent(recipient=TO_ADA), K.DELIVERED, occurred_at=later)])
        await bounced(store, 2, later)
        assert await why(store) == {}

    async def test_a_later_delivery_lifts_the_block_and_an_earlier_one_does_not(self, store: Store) -> None:
        await bounced(store, 3)
        early, late = await store.sent(recipient=TO_ADA), await store.sent(recipient=TO_ADA)
        await store.callbacks.record([said(early, K.DELIVERED, occurred_at=AT - timedelta(hours=1))])
        assert await why(store) == {ADA: BOUNCED_OFTEN}
        await store.callbacks.record([said(late, K.DELIVERED, occurred_at=AT + timedelta(hours=3))])
        assert await why(store) == {}

    @pytest.mark.parametrize("kind", [K.COMPLAINED, K.BOUNCED])
    async def test_a_delivery_lifts_nothing_that_is_worse(self, store: Store, kind: K) -> None:
        await bounced(store, 3)
        await store.callbacks.record([said(await store.sent(recipient=TO_ADA), kind, permanent=kind is K.BOUNCED)])
        worse = await why(store)
        assert worse[ADA] != BOUNCED_OFTEN
        later = said(await store.sent(recipient=TO_ADA), K.DELIVERED, occurred_at=AT + timedelta(days=1))
        await store.callbacks.record([later])
        assert await why(store) == worse

    async def test_once_lifted_by_hand_they_are_counted_anew(self, store: Store) -> None:
        await bounced(store, 3)
        await store.suppressions.lift((await suppression(store)).id)
        await bounced(store, 2, AT + timedelta(hours=3))
        assert await why(store) == {}


class TestUnsubscribing:
    async def test_a_users_wish_is_a_preference_for_the_category_and_leaves_the_others(self, store: Store) -> None:
        await store.people.create(id="u", email=ADA, name=None, locale=None, time_zone=None)
        await store.people.choose("u", ChannelPreference(channel=Channel.PUSH, enabled=False))
        id = await store.sent(recipient=Recipient(user_id="u", email=ADA))
        await store.callbacks.record([said(id, K.UNSUBSCRIBED)])
        assert await why(store, "general") == {}
        preferences = store.people.users["u"].preferences
        assert preferences.refusal(Channel.EMAIL, "general") == "email for 'general'"
        assert preferences.refusal(Channel.EMAIL, "other") is None
        assert preferences.refusal(Channel.PUSH, "other") == "push"

    async def test_a_given_address_is_suppressed_for_the_category_only(self, store: Store) -> None:
        await store.callbacks.record([said(await store.sent(recipient=TO_ADA), K.UNSUBSCRIBED)])
        assert await why(store, "general") == {ADA: "unsubscribed from 'general'"}
        assert (await why(store, "other"), await why(store)) == ({}, {})
        assert (await suppression(store)).category == "general"

    async def test_what_blocks_everything_is_the_reason_where_both_do(self, store: Store) -> None:
        id = await store.sent(recipient=TO_ADA)
        await store.callbacks.record([said(id, K.UNSUBSCRIBED), said(id, K.COMPLAINED)])
        assert await why(store, "general") == {ADA: "complaint"}

    async def test_a_provider_that_repeats_itself_does_not_undo_a_change_of_mind(self, store: Store) -> None:
        await store.people.create(id="u", email=ADA, name=None, locale=None, time_zone=None)
        callback = said(await store.sent(recipient=Recipient(user_id="u", email=ADA)), K.UNSUBSCRIBED)
        await store.callbacks.record([callback])
        back = ChannelPreference(channel=Channel.EMAIL, category="general", enabled=True)
        await store.people.choose("u", back)
        await store.callbacks.record([callback])
        assert store.people.users["u"].preferences.channels == (back,)
        assert await store.callbacks.unsubscribe(callback) == "general"  # they click once more themselves
        assert store.people.users["u"].preferences.refusal(Channel.EMAIL, "general") is not None

    async def test_an_erased_user_is_asked_nothing(self, store: Store) -> None:
        id = await store.sent(recipient=Recipient(user_id="gone", email=ADA))
        assert await store.callbacks.unsubscribe(said(id, K.UNSUBSCRIBED)) == "general"
        assert (await store.suppressions.page(None, 1, 10))[1] == 0

    async def test_while_the_user_service_is_away_nothing_is_recorded(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def away(*_: object) -> None:
            raise UpstreamUnavailable("The User Service does not answer.")

        id = await store.sent(recipient=Recipient(user_id="u", email=ADA))
        with monkeypatch.context() as patch:
            patch.setattr(store.people, "choose", away)
            with pytest.raises(UpstreamUnavailable):
                await store.callbacks.record([said(id, K.DELIVERED), said(id, K.UNSUBSCRIBED)])
        assert await store.queries.callbacks([id]) == {}

    async def test_there_is_nothing_to_unsubscribe_from_what_does_not_exist(self, store: Store) -> None:
        assert await store.callbacks.unsubscribe(said(new_id(NOTIFICATION), K.UNSUBSCRIBED)) is None

    async def test_erasing_takes_the_address_out_of_a_block_for_a_category_too(self, store: Store) -> None:
        await store.suppressions.add(Channel.EMAIL, "Ada@Example.com", "unsubscribed from 'news'", "news")
        await store.suppressions.forget(Channel.EMAIL, [ADA])
        assert (await suppression(store)).contact_point == "(erased)"
        assert list(await why(store, "news")) == [ADA]
