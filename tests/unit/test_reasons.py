"""What the log keeps of our decisions: enough to say why, nothing that belongs to somebody."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from domain.deliver import DatabaseClock, deliver
from domain.notification import Channel, Outcome, Priority, Status
from domain.outgoing import Delivered
from domain.ports import Settlement
from domain.preferences import ChannelPreference, Preferences, QuietHours, Rule
from domain.reasons import KEY, Acceptance, Attempted, Named, PassedOver, Route, Step, read, routes_of, written
from domain.recipient import Device, Quiet, Standing, Why
from domain.views import Draft
from tests.unit.send_fakes import BOTH, GIVEN, World, template
from tests.unit.test_deliver import CLAIMED_AT, MORNING, NIGHT, POLICY, FakeSender, FakeStandings, Monotonic, claim
from tests.unit.test_deliver import standing as standing_of

NOON = datetime(2030, 1, 31, 12, tzinfo=UTC)
ALWAYS_QUIET = QuietHours(start="00:00", end="23:59")
WHOLE = Acceptance(
    channel=Named.NOBODY,
    left_out={Channel.PUSH: Why.OPTED_OUT},
    version=Named.CALLER,
    locale=Named.RECIPIENT,
    rule=Rule.CATEGORY,
    quiet=Quiet(end="07:00", zone="Europe/Berlin", until=NOON),
)
TRIED = Attempted(
    at=NOON,
    rule=Rule.CHANNEL,
    suppressed=1,
    refused=2,
    routes=(Route(steps=(Step(provider="fcm", passed_over=PassedOver.PACE, until=NOON), Step(provider="onesignal"))),),
)


@pytest.fixture
def world() -> World:
    """Three users and one template."""
    return World()


def wish(world: World, **preferences: Any) -> None:
    """Ada's preferences."""
    ada = world.recipients.users["usr_ada"]
    world.recipients.users["usr_ada"] = msgspec.structs.replace(ada, preferences=Preferences(**preferences))


async def accepted(world: World, **given: Any) -> list[tuple[Draft, Acceptance]]:
    """What becomes of a request for Ada, and how each was decided."""
    order = await world.order(**{"to": [{"user_id": "usr_ada"}], "content": BOTH, **given})
    drafts = [(draft, read(draft.detail, Acceptance)) for draft in order.drafts]
    return [(draft, why) for draft, why in drafts if why is not None]


async def tried(**changes: Any) -> tuple[Status, Attempted | None]:
    """What an attempt comes to, and how it was gone about."""
    routes = (Route(steps=(Step(provider="smtp"),)),)
    standing: Standing = changes.pop("standing", standing_of())
    sender = FakeSender(Monotonic(), Delivered(outcome=Outcome.ACCEPTED, routes=routes))
    clock = DatabaseClock(CLAIMED_AT, 0.0, lambda: 0.0)
    result = await deliver(claim(**changes), FakeStandings(standing), sender, POLICY, clock, 10.0)
    assert isinstance(result, Settlement)
    return result.changes[-1].status, read(result.changes[-1].detail, Attempted)


@pytest.mark.parametrize("whole", [WHOLE, TRIED])
def test_what_is_written_is_read_again_through_json(whole: Any) -> None:
    kept = msgspec.json.decode(msgspec.json.encode({"code": "x"} | written(whole)))
    assert read(kept, type(whole)) == whole


@pytest.mark.parametrize(
    "detail", [None, {}, {KEY: 1}, {KEY: {"v": 2, "channel": "caller"}}, {KEY: {"v": 1}}, {KEY: {"v": 1, "channel": 1}}]
)
def test_what_is_not_there_or_not_known_here_is_nothing(detail: dict[str, Any] | None) -> None:
    assert read(detail, Acceptance) is None


class TestAcceptance:
    async def test_channels_that_were_asked_for(self, world: World) -> None:
        ((_, why),) = await accepted(world, channels=(Channel.PUSH,))
        assert why == Acceptance(channel=Named.CALLER, rule=Rule.DEFAULT)

    async def test_channels_that_were_not_and_why_others_are_left_out(self, world: World) -> None:
        wish(world, channels=(ChannelPreference(channel=Channel.EMAIL, category="news", enabled=False),))
        ((draft, why),) = await accepted(world, category="news")
        assert draft.channel is Channel.PUSH
        assert (why.channel, why.left_out) == (Named.NOBODY, {Channel.EMAIL: Why.OPTED_OUT})

    @pytest.mark.parametrize(
        ("chosen", "rule"),
        [((), Rule.DEFAULT), (((None, True),), Rule.CHANNEL), (((None, False), ("news", True)), Rule.CATEGORY)],
    )
    async def test_the_preference_that_allowed_it(self, world: World, chosen: Any, rule: Rule) -> None:
        channels = tuple(ChannelPreference(channel=Channel.PUSH, category=name, enabled=on) for name, on in chosen)
        wish(world, channels=channels)
        ((_, why),) = await accepted(world, category="news", channels=(Channel.PUSH,))
        assert why.rule is rule

    async def test_the_preference_that_refused_it(self, world: World) -> None:
        wish(world, channels=(ChannelPreference(channel=Channel.PUSH, enabled=False),))
        ((draft, why),) = await accepted(world, channels=(Channel.PUSH,))
        assert (draft.status, why.rule) == (Status.SKIPPED, Rule.CHANNEL)

    @pytest.mark.parametrize(
        ("asked", "user", "version", "locale"),
        [
            ({}, "usr_ada", Named.NOBODY, Named.RECIPIENT),
            ({"version": 3, "locale": "de"}, "usr_ada", Named.CALLER, Named.CALLER),
            ({}, None, Named.NOBODY, Named.NOBODY),
        ],
    )
    async def test_who_named_version_and_locale(
        self, world: World, asked: dict[str, Any], user: str | None, version: Named, locale: Named
    ) -> None:
        to = [{"user_id": user}] if user else [{"email": "ada@example.com"}]
        given = {"template": template(**asked), "content": None, "variables": GIVEN, "channels": (Channel.EMAIL,)}
        ((_, why),) = await accepted(world, to=to, **given)
        assert (why.version, why.locale) == (version, locale)

    @pytest.mark.parametrize("priority", list(Priority))
    async def test_quiet_hours_that_held_it_or_that_it_passed(self, world: World, priority: Priority) -> None:
        wish(world, quiet_hours=ALWAYS_QUIET)
        ((draft, why),) = await accepted(world, channels=(Channel.PUSH,), priority=priority)
        assert why.quiet is not None
        assert (why.quiet.end, why.quiet.zone) == ("23:59", "UTC")
        assert draft.status is (Status.ACCEPTED if priority is Priority.CRITICAL else Status.SCHEDULED)

    async def test_nothing_of_the_recipient_is_in_it(self, world: World) -> None:
        world.suppressions.points["ada@example.com"] = "hard bounce"
        wish(world, quiet_hours=ALWAYS_QUIET)
        kept = [msgspec.json.encode(draft.detail).decode() for draft, _ in await accepted(world)]
        assert kept
        assert not any(secret in text for text in kept for secret in ("ada@example.com", "token-1", "usr_ada"))


class TestAttempted:
    async def test_the_preference_is_that_of_now_and_the_way_is_the_senders(self) -> None:
        status, why = await tried()
        assert status is Status.SENT
        assert why == Attempted(at=CLAIMED_AT, rule=Rule.DEFAULT, routes=(Route(steps=(Step(provider="smtp"),)),))

    @pytest.mark.parametrize("priority", [Priority.NORMAL, Priority.CRITICAL])
    async def test_quiet_hours_that_began_since(self, priority: Priority) -> None:
        status, why = await tried(priority=priority, standing=standing_of(preferences=NIGHT))
        assert status is (Status.SENT if priority is Priority.CRITICAL else Status.SCHEDULED)
        assert why is not None
        assert why.quiet == Quiet(end="07:00", zone="UTC", until=MORNING)

    async def test_devices_that_were_left_out_are_counted_each_once(self) -> None:
        devices = tuple(Device(id=f"dev_{number}", token=f"token-{number}") for number in range(4))
        suppressed = {"token-0": "unregistered", "token-1": "unregistered"}
        refused = frozenset({"dev_1", "dev_2"})
        _, why = await tried(
            channel=Channel.PUSH,
            refused_devices=refused,
            standing=standing_of(devices=devices, suppressed=suppressed),
        )
        assert why is not None
        assert (why.suppressed, why.refused) == (2, 1)


def test_devices_that_went_the_same_way_are_one_route() -> None:
    def way(seconds: int, *called: str) -> tuple[Step, ...]:
        until = NOON + timedelta(seconds=seconds)
        passed = Step(provider="fcm", passed_over=PassedOver.BREAKER_OPEN, until=until)
        return (passed, *(Step(provider=name) for name in called))

    found = routes_of([way(1, "onesignal"), way(2), way(3, "onesignal")])
    assert found == (Route(steps=way(1, "onesignal"), devices=2), Route(steps=way(2), devices=1))
