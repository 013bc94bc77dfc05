"""What the signs of life of all instances come to: who lives, rates, answers, breakers."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, cast

import msgspec
import pytest

from api.gateway.figures import Figures, ProviderFigures
from api.gateway.instances import FORGOTTEN, SILENT, Instances
from api.gateway.queue_watch import Level, QueueWatch
from domain.ports import Bell
from domain.vitals import Sample, Vitals, encode

NOON = datetime(2030, 1, 31, 12, tzinfo=UTC)
PUBLISHED, CONSUMED = "heliograph_queue_published_total", "heliograph_queue_consumed_total"
ATTEMPTS, BUCKET = "heliograph_attempts_total", "heliograph_attempt_seconds_bucket"
BREAKER = "heliograph_breaker_state"


class World:
    """Instances that are heard at times that a test sets."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.instances = Instances(cast(Bell, None), clock=lambda: self.time)
        level = Level(name="email.queue", depth=2, consumers=1, waiting=3, lag_seconds=1.5)
        self.levels = {"email.queue": level}
        self.figures = Figures(cast(QueueWatch, self), self.instances)

    def hear(self, id: str, *samples: Sample, status: str = "ok", roles: tuple[str, ...] = ("email",)) -> None:
        """A sign of life, now."""
        alive = Vitals(
            id=id, roles=roles, version="1", started_at=NOON, seen_at=NOON, status=status, samples=list(samples)
        )
        self.instances.hear(encode(alive))

    def statuses(self, role: str) -> tuple[str, list[str]]:
        """What is shown of a role and of its instances."""
        (service,) = [service for service in self.figures.now().services if service.name == role]
        return service.status, [instance.status for instance in service.instances]

    def provider(self, name: str) -> ProviderFigures:
        """What is shown of a provider."""
        return next(provider for provider in self.figures.now().providers if provider.name == name)


@pytest.fixture
def world() -> World:
    return World()


def sample(name: str, value: float, **labels: str) -> Sample:
    """One number."""
    return Sample(name, labels, value)


def answers(accepted: int, permanent: int) -> tuple[Sample, ...]:
    """What a provider answered so far."""
    counts: Mapping[str, int] = {"accepted": accepted, "permanent": permanent}
    return tuple(
        sample(ATTEMPTS, count, channel="EMAIL", provider="smtp", outcome=outcome) for outcome, count in counts.items()
    )


class TestInstances:
    def test_a_role_that_nobody_has_is_down(self, world: World) -> None:
        assert world.statuses("relay") == ("down", [])

    def test_one_that_is_heard_is_what_its_health_says(self, world: World) -> None:
        world.hear("ins_1", status="degraded")
        assert world.statuses("email") == ("degraded", ["degraded"])

    def test_a_role_is_ok_only_while_all_of_its_instances_are(self, world: World) -> None:
        world.hear("ins_1")
        assert world.statuses("email") == ("ok", ["ok"])
        world.hear("ins_2", status="down")
        assert world.statuses("email") == ("degraded", ["ok", "down"])

    def test_one_process_may_have_many_roles(self, world: World) -> None:
        world.hear("ins_1", roles=("gateway", "relay", "bounces"))
        assert world.statuses("relay") == world.statuses("gateway") == world.statuses("bounces") == ("ok", ["ok"])

    def test_who_says_nothing_is_silent_and_then_forgotten(self, world: World) -> None:
        world.hear("ins_1")
        world.time += SILENT + 1
        assert world.statuses("email") == ("down", ["silent"])
        world.time += FORGOTTEN
        assert world.statuses("email") == ("down", [])

    def test_who_says_goodbye_is_gone_at_once(self, world: World) -> None:
        world.hear("ins_1")
        world.hear("ins_1", status="stopped")
        assert world.statuses("email") == ("down", [])

    def test_what_is_no_sign_of_life_changes_nothing(self, world: World) -> None:
        world.hear("ins_1")
        world.instances.hear(b"")
        world.instances.hear(b"nonsense")
        assert world.statuses("email") == ("ok", ["ok"])


class TestQueues:
    def shown(self, world: World) -> dict[str, Any]:
        (queue,) = world.figures.now().queues
        return msgspec.structs.asdict(queue)

    def test_what_was_seen_is_shown(self, world: World) -> None:
        shown = self.shown(world)
        assert (shown["depth"], shown["consumers"], shown["waiting"], shown["lag_seconds"]) == (2, 1, 3, 1.5)

    def test_rates_are_over_all_instances_and_the_last_ten_seconds(self, world: World) -> None:
        for id in ("ins_1", "ins_2"):
            world.hear(id, sample(PUBLISHED, 100, queue="email.queue"), sample(PUBLISHED, 5, queue="push.queue"))
        world.time += 2
        for id in ("ins_1", "ins_2"):
            world.hear(
                id,
                sample(PUBLISHED, 150, queue="email.queue"),
                sample(PUBLISHED, 55, queue="push.queue"),
                sample(CONSUMED, 20, queue="email.queue", settled="ack"),
                sample(CONSUMED, 7, queue="email.queue", settled="requeue"),
            )
        assert (self.shown(world)["publish_rate"], self.shown(world)["deliver_rate"]) == (10.0, 4.0)
        world.time += 11
        assert (self.shown(world)["publish_rate"], self.shown(world)["deliver_rate"]) == (0.0, 0.0)

    def test_what_was_counted_before_somebody_listened_is_no_rate(self, world: World) -> None:
        world.hear("ins_1", sample(PUBLISHED, 1_000_000, queue="email.queue"))
        assert self.shown(world)["publish_rate"] == 0.0

    def test_an_instance_that_starts_again_counts_from_zero(self, world: World) -> None:
        world.hear("ins_1", sample(PUBLISHED, 1_000, queue="email.queue"))
        world.time += 2
        world.hear("ins_2", sample(PUBLISHED, 0, queue="email.queue"))
        world.time += 2
        world.hear("ins_2", sample(PUBLISHED, 30, queue="email.queue"))
        assert self.shown(world)["publish_rate"] == 3.0


class TestProviders:
    def test_the_worst_breaker_counts_while_its_instance_lives(self, world: World) -> None:
        world.hear("ins_1", sample(BREAKER, 0, breaker="smtp", channel="EMAIL"))
        world.hear("ins_2", sample(BREAKER, 2, breaker="smtp", channel="EMAIL"))
        assert world.provider("smtp").breaker == "OPEN"
        world.time += SILENT + 1
        world.hear("ins_1", sample(BREAKER, 1, breaker="smtp", channel="EMAIL"))
        assert world.provider("smtp").breaker == "HALF_OPEN"

    def test_a_breaker_of_a_service_is_no_provider(self, world: World) -> None:
        world.hear("ins_1", sample(BREAKER, 2, breaker="users service", channel=""))
        assert world.figures.now().providers == []

    def test_one_that_was_not_called_has_no_rate(self, world: World) -> None:
        world.hear("ins_1", sample(BREAKER, 0, breaker="smtp", channel="EMAIL"))
        assert (world.provider("smtp").success_rate, world.provider("smtp").p95_ms) == (None, None)

    def test_the_success_rate_is_the_share_of_what_was_accepted(self, world: World) -> None:
        state = sample(BREAKER, 0, breaker="smtp", channel="EMAIL")
        world.hear("ins_1", state, *answers(10, 10))
        world.time += 2
        world.hear("ins_1", state, *answers(10 + 9, 10 + 3))
        assert world.provider("smtp").success_rate == 0.75

    def test_the_95th_percentile_is_interpolated_within_its_bucket(self, world: World) -> None:
        def buckets(*counts: float) -> list[Sample]:
            bounds = ("0.1", "0.2", "+Inf")
            labels = {"channel": "EMAIL", "provider": "smtp"}
            return [Sample(BUCKET, {**labels, "le": bound}, n) for bound, n in zip(bounds, counts, strict=True)]

        state = sample(BREAKER, 0, breaker="smtp", channel="EMAIL")
        world.hear("ins_1", state, *buckets(0, 0, 0))
        world.time += 2
        world.hear("ins_1", state, *buckets(90, 100, 100))
        assert world.provider("smtp").p95_ms == 150.0
        world.time += 2
        world.hear("ins_1", state, *buckets(90, 100, 200))
        assert world.provider("smtp").p95_ms == 200.0  # longer than the last bound is all that is known
