"""Accepting: one order, with every decision explained, and the same answer however often it is asked for."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from domain.errors import Conflict, ValidationFailed
from domain.notification import Channel, Priority, Status
from domain.outgoing import Pinned, PushOptions
from domain.preferences import ChannelPreference, Preferences, QuietHours
from domain.template import Content
from tests.unit.send_fakes import ADA, BOTH, GIVEN, LATER, MAIL, World, submission, template


@pytest.fixture
def world() -> World:
    return World()


class TestChannels:
    async def drafts(self, world: World, **given: Any) -> list[tuple[Channel, Status]]:
        return [(draft.channel, draft.status) for draft in (await world.order(**given)).drafts]

    async def test_left_out_they_are_those_that_have_a_body_and_reach_the_recipient(self, world: World) -> None:
        both = await self.drafts(world, to=[{"user_id": "usr_ada"}], content=BOTH)
        assert both == [(Channel.EMAIL, Status.ACCEPTED), (Channel.PUSH, Status.ACCEPTED)]

    @pytest.mark.parametrize(
        ("user", "content", "channel"),
        [
            ("usr_ada", MAIL, Channel.EMAIL),
            ("usr_ada", Content(title="T"), Channel.PUSH),
            ("usr_bob", BOTH, Channel.EMAIL),
        ],
    )
    async def test_one_without_a_body_or_a_contact_point_is_left_out(
        self, world: World, user: str, content: Content, channel: Channel
    ) -> None:
        assert await self.drafts(world, to=[{"user_id": user}], content=content) == [(channel, Status.ACCEPTED)]

    async def test_a_device_token_is_reached_by_push_only(self, world: World) -> None:
        assert await self.drafts(world, to=[{"device_token": "token-12345"}], content=BOTH) == [
            (Channel.PUSH, Status.ACCEPTED)
        ]

    async def test_given_there_is_one_notification_for_each_and_what_cannot_be_reached_is_skipped(
        self, world: World
    ) -> None:
        given = {"to": [{"user_id": "usr_bob"}], "content": BOTH, "channels": (Channel.PUSH, Channel.EMAIL)}
        order = await world.order(**given)
        assert [(draft.channel, draft.status, draft.reason) for draft in order.drafts] == [
            (Channel.PUSH, Status.SKIPPED, "The recipient has no device that push can reach."),
            (Channel.EMAIL, Status.ACCEPTED, None),
        ]
        assert (await world.send(**given)).accepted == 1

    async def test_who_cannot_be_reached_at_all_is_one_skipped_notification_with_the_reason(self, world: World) -> None:
        receipt = await world.send(to=[{"user_id": "usr_eve"}], content=BOTH)
        (notification,) = receipt.notifications
        assert (notification.status, notification.reason) == (Status.SKIPPED, "The recipient has no email address.")
        assert (receipt.accepted, receipt.request.finished) == (0, True)

    async def test_a_skipped_recipient_needs_no_variables(self, world: World) -> None:
        assert (await world.send(to=[{"user_id": "usr_eve"}], template=template())).accepted == 0

    async def test_notifications_come_in_the_order_of_the_recipients(self, world: World) -> None:
        order = await world.order(to=[{"user_id": "usr_bob"}, {"email": "x@y.example"}, {"user_id": "usr_ada"}])
        assert [draft.recipient.email for draft in order.drafts] == [
            "bob@example.com",
            "x@y.example",
            "ada@example.com",
        ]
        assert len({draft.id for draft in order.drafts}) == 3


class TestTemplates:
    async def pinned(self, world: World, **given: Any) -> Pinned | None:
        order = await world.order(variables=GIVEN, **given)
        (pinned,) = {draft.template for draft in order.drafts}
        return pinned

    async def test_the_published_version_is_pinned_with_the_locale_and_how_it_was_found(self, world: World) -> None:
        pinned = await self.pinned(world, template=template(), to=[{"user_id": "usr_ada"}])
        assert pinned == Pinned(key="welcome", version=3, locale="pt", locale_fallback=("pt-BR", "pt"))

    @pytest.mark.parametrize(
        ("asked", "locale", "tried"),
        [
            ("de-AT", "de", ("de-AT", "de")),
            ("fr", "en", ("fr", "en")),
            ("PT", "pt", ("pt",)),
        ],
    )
    async def test_the_locale_that_is_asked_for_wins_over_the_recipients(
        self, world: World, asked: str, locale: str, tried: tuple[str, ...]
    ) -> None:
        pinned = await self.pinned(world, template=template(locale=asked), to=[{"user_id": "usr_ada"}])
        assert pinned is not None
        assert (pinned.locale, pinned.locale_fallback) == (locale, tried)

    async def test_without_any_locale_it_is_the_templates_default(self, world: World) -> None:
        pinned = await self.pinned(world, template=template())
        assert pinned is not None
        assert pinned.locale == "en"

    async def test_a_version_may_be_asked_for(self, world: World) -> None:
        pinned = await self.pinned(world, template=template(version=4))
        assert pinned is not None
        assert pinned.version == 4

    async def test_content_pins_nothing(self, world: World) -> None:
        assert await self.pinned(world, content=MAIL) is None

    async def test_each_locale_needs_its_own_variables_only(self, world: World) -> None:
        assert (await world.send(template=template(), to=[{"user_id": "usr_bob"}])).accepted == 1

    async def test_a_channel_that_is_not_used_needs_no_variables(self, world: World) -> None:
        given = {"template": template(), "to": [{"user_id": "usr_ada"}], "variables": {"name": "Ada"}}
        assert (await world.send(channels=(Channel.EMAIL,), **given)).accepted == 1

    async def test_a_recipients_variables_win(self, world: World) -> None:
        own = {"name": "Eve"}
        order = await world.order(
            template=template(),
            to=[{"email": "a@x.example", "variables": own}, {"email": "b@x.example"}],
            variables={"name": "Ada", "code": 7},
        )
        assert order.variables == {"name": "Ada", "code": 7}
        assert [draft.variables for draft in order.drafts] == [own, None]

    async def test_a_variable_may_come_from_the_recipient_alone(self, world: World) -> None:
        to = [{"email": f"{code}@x.example", "variables": {"code": code}} for code in (1, 2)]
        assert (await world.send(template=template(), to=to, variables={"name": "Ada"})).accepted == 2


class TestTimes:
    async def test_a_time_to_come_is_scheduled(self, world: World) -> None:
        order = await world.order(send_at=LATER, deliver_by=LATER + timedelta(hours=1))
        assert [draft.status for draft in order.drafts] == [Status.SCHEDULED]
        assert order.send_at == LATER

    async def test_now_is_at_once(self, world: World) -> None:
        order = await world.order(send_at=datetime.now(UTC))
        assert [draft.status for draft in order.drafts] == [Status.ACCEPTED]

    async def test_another_offset_is_the_same_moment(self, world: World) -> None:
        order = await world.order(send_at=datetime.fromisoformat(LATER.isoformat()).astimezone())
        assert order.send_at == LATER


class TestOnce:
    async def test_the_same_request_again_is_answered_the_same(self, world: World) -> None:
        first = await world.send()
        second = await world.send(correlation_id="cor_2", traceparent="00-x")
        assert second.duplicate
        assert [one.id for one in second.notifications] == [one.id for one in first.notifications]

    async def test_even_when_the_template_has_gone(self, world: World) -> None:
        first = await world.send(template=template(), variables=GIVEN)
        world.templates.gone = True
        second = await world.send(template=template(), variables=GIVEN)
        assert second.duplicate
        assert second.request.id == first.request.id

    async def test_even_when_the_user_has_gone(self, world: World) -> None:
        given = {"to": [{"user_id": "usr_ada"}], "template": template(), "variables": GIVEN}
        await world.send(**given)
        world.recipients.users.clear()
        assert (await world.send(**given)).duplicate

    async def test_another_input_conflicts_whether_it_is_good_or_bad(self, world: World) -> None:
        await world.send()
        for given in ({"category": "other"}, {"category": ""}):
            with pytest.raises(Conflict) as caught:
                await world.send(**given)
            assert caught.value.request_id == "r1"

    async def test_another_client_may_use_the_same_id(self, world: World) -> None:
        await world.send()
        assert not (await world.send(client="other", category="other")).duplicate

    async def test_without_a_request_id_nothing_is_a_duplicate(self, world: World) -> None:
        receipts = [await world.send(request_id=None) for _ in range(2)]
        assert [receipt.duplicate for receipt in receipts] == [False, False]
        assert receipts[0].request.request_id == receipts[0].request.id

    async def test_an_input_that_cannot_be_hashed_is_told_what_is_wrong_with_it(self, world: World) -> None:
        await world.send()
        with pytest.raises(ValidationFailed):
            await world.send(variables={"a": "\ud800"})


class TestFingerprint:
    def test_it_does_not_depend_on_the_order_of_keys_at_any_depth(self) -> None:
        one = {"a": {"x": 1, "y": [{"p": 1, "q": 2}]}, "b": 2}
        other = {"b": 2, "a": {"y": [{"q": 2, "p": 1}], "x": 1}}
        for field in ("variables", "metadata"):
            assert submission(**{field: one}).fingerprint() == submission(**{field: other}).fingerprint()

    @pytest.mark.parametrize(
        "given",
        [
            {"client": "other"},
            {"request_id": "other"},
            {"correlation_id": "other"},
            {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
        ],
    )
    def test_it_does_not_depend_on_who_asks_and_how_it_is_traced(self, given: dict[str, Any]) -> None:
        assert submission(**given).fingerprint() == submission().fingerprint()

    @pytest.mark.parametrize(
        "given",
        [
            {"to": [{"email": "eve@example.com"}]},
            {"to": [{"email": "ada@example.com", "variables": {"a": 1}}]},
            {"variables": {"a": 1}},
            {"metadata": {"a": [1, 2]}},
            {"metadata": {"a": [2, 1]}},
            {"category": "other"},
            {"priority": Priority.BULK},
            {"channels": (Channel.EMAIL,)},
            {"send_at": LATER},
            {"deliver_by": LATER},
            {"push": PushOptions(badge=1)},
            {"content": Content(subject="Hello", text="world")},
            {"template": template()},
            {"template": template(version=3)},
            {"test": True},
        ],
    )
    def test_it_depends_on_everything_that_is_meant(self, given: dict[str, Any]) -> None:
        assert submission(**given).fingerprint() != submission().fingerprint()


def test_the_fingerprints_of_before_there_were_test_keys_still_hold() -> None:
    assert b'"test"' not in msgspec.json.encode(submission())


@pytest.mark.parametrize("given", [{}, {"test": True}])
async def test_what_a_test_key_sends_says_so_in_the_first_entry_of_its_log(world: World, given: dict[str, Any]) -> None:
    order = await world.order(**given)
    assert order.test is bool(given)
    assert [draft.detail.get("test") for draft in order.drafts] == [given.get("test")]


async def test_an_order_carries_the_whole_submission(world: World) -> None:
    given: dict[str, Any] = {
        "category": "billing",
        "priority": Priority.CRITICAL,
        "metadata": {"invoice": 7},
        "push": PushOptions(badge=1),
        "traceparent": "00-x",
        "content": BOTH,
        "variables": {"a": 1},
    }
    order = await world.order(**given)
    assert {name: getattr(order, name) for name in given} == given
    assert (order.client, order.request_id, order.correlation_id) == ("client", "r1", "cor_1")
    assert order.fingerprint == submission(**given).fingerprint()


class TestWishes:
    """Preferences, quiet hours and suppressions, as they are when a request is accepted."""

    OPTED_OUT = Preferences(channels=(ChannelPreference(channel=Channel.EMAIL, category="news", enabled=False),))
    START, END = (f"{datetime.now(UTC) + timedelta(hours=hours):%H:%M}" for hours in (-2, 2))
    QUIET = Preferences(quiet_hours=QuietHours(start=START, end=END))

    def wish(self, world: World, preferences: Preferences) -> None:
        """Ada has these preferences."""
        world.recipients.users["usr_ada"] = msgspec.structs.replace(ADA, preferences=preferences)

    async def test_a_channel_that_is_not_wanted_is_left_out_where_none_was_asked_for(self, world: World) -> None:
        self.wish(world, self.OPTED_OUT)
        order = await world.order(to=[{"user_id": "usr_ada"}], content=BOTH, category="news")
        assert [draft.channel for draft in order.drafts] == [Channel.PUSH]

    async def test_a_channel_that_was_asked_for_is_skipped_and_says_why(self, world: World) -> None:
        self.wish(world, self.OPTED_OUT)
        channels = (Channel.EMAIL, Channel.PUSH)
        order = await world.order(to=[{"user_id": "usr_ada"}], content=BOTH, category="news", channels=channels)
        email, push = order.drafts
        assert (email.status, push.status) == (Status.SKIPPED, Status.ACCEPTED)
        assert email.reason == "The recipient opted out of email for 'news'."
        assert email.detail["code"] == "opted_out"

    async def test_quiet_hours_hold_until_their_end_and_send_at_stays_the_callers(self, world: World) -> None:
        self.wish(world, self.QUIET)
        order = await world.order(to=[{"user_id": "usr_ada"}], channels=(Channel.EMAIL,))
        (draft,) = order.drafts
        assert draft.status is Status.SCHEDULED
        assert draft.due_at is not None
        assert f"{draft.due_at:%H:%M}" == self.END
        assert (draft.detail["code"], draft.detail["held_until"]) == ("quiet_hours", draft.due_at.isoformat())
        assert order.send_at is None

    async def test_what_expires_before_they_end_is_looked_at_when_it_expires(self, world: World) -> None:
        self.wish(world, self.QUIET)
        soon = datetime.now(UTC) + timedelta(seconds=5)
        order = await world.order(to=[{"user_id": "usr_ada"}], channels=(Channel.EMAIL,), deliver_by=soon)
        assert [draft.due_at for draft in order.drafts] == [soon]

    async def test_critical_is_accepted_in_quiet_hours(self, world: World) -> None:
        self.wish(world, self.QUIET)
        order = await world.order(to=[{"user_id": "usr_ada"}], channels=(Channel.EMAIL,), priority=Priority.CRITICAL)
        assert [draft.status for draft in order.drafts] == [Status.ACCEPTED]

    async def test_a_suppressed_address_is_skipped_without_being_named(self, world: World) -> None:
        world.suppressions.points["ada@example.com"] = "hard bounce"
        order = await world.order(to=[{"email": "ada@example.com"}])
        (draft,) = order.drafts
        assert (draft.status, draft.detail["code"]) == (Status.SKIPPED, "suppressed")
        assert draft.reason == "Every email address of the recipient is suppressed: hard bounce."

    async def test_what_was_only_remembered_is_said_so(self, world: World) -> None:
        world.recipients.stale = world.templates.stale = True
        given = {"to": [{"user_id": "usr_bob"}], "template": template(), "variables": GIVEN}
        order = await world.order(**given)
        assert [draft.detail["stale"] for draft in order.drafts] == [["user", "template"]]
