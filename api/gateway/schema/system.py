"""The system as operators see it: queues, providers and instances; asked for once, or watched."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import datetime
from enum import Enum
from typing import Annotated, Self

import strawberry

from api.gateway.figures import InstanceFigures, ProviderFigures, QueueFigures, ServiceFigures, SystemFigures
from api.gateway.schema.context import Info
from api.gateway.schema.enums import describe
from api.gateway.schema.envelope import Answers, Response
from api.security import Scope
from domain.errors import ValidationFailed
from domain.notification import Channel

field = strawberry.field
LEAST_MS, MOST_MS = 250, 60_000


class BreakerState(Enum):
    """Whether a provider is called."""

    CLOSED = "CLOSED"
    OPEN = "OPEN"
    HALF_OPEN = "HALF_OPEN"


describe(
    BreakerState,
    "Whether a provider is called.",
    {
        "CLOSED": "It is called.",
        "OPEN": "It failed several times in a row and is left alone for a while.",
        "HALF_OPEN": "One call is let through to see whether it is well again.",
    },
)


@strawberry.type(description="A queue of the broker.")
class Queue:
    """A queue of the broker."""

    name: str = field(description="As the broker calls it.")
    depth: int = field(description="Messages that wait in it; a message carries up to 50 notifications.")
    consumers: int = field(description="How many consume it; of status.queue only one at a time does.")
    waiting: int = field(
        description="Notifications that are due and wait in the database to be put there, counted to 10,000."
    )
    publish_rate: float = field(description="Messages a second that were put there, over the last ten seconds.")
    deliver_rate: float = field(description="Messages a second that were done with, over the last ten seconds.")
    lag_seconds: float = field(
        description="Age of the oldest that waits, in seconds: in the queue, or in the database for its turn."
    )

    @classmethod
    def of(cls, figures: QueueFigures) -> Self:
        """From the gateway."""
        return cls(
            name=figures.name,
            depth=figures.depth,
            consumers=figures.consumers,
            waiting=figures.waiting,
            publish_rate=figures.publish_rate,
            deliver_rate=figures.deliver_rate,
            lag_seconds=figures.lag_seconds,
        )


@strawberry.type(description="A provider, over all workers that call it.")
class Provider:
    """A provider, over all workers."""

    name: str = field(description="smtp, sendgrid, mailgun, fcm, onesignal; sandbox for what test keys send.")
    channel: Channel = field(description="What it sends.")
    breaker: BreakerState = field(description="Its circuit breaker; where workers differ, the worst.")
    success_rate: float | None = field(
        description="The share of calls in the last five minutes that it accepted, from 0 to 1; null: none was made."
    )
    p95_ms: float | None = field(
        description="95 % of these calls were answered within so many milliseconds; null: none was made."
    )

    @classmethod
    def of(cls, figures: ProviderFigures) -> Self:
        """From the gateway."""
        return cls(
            name=figures.name,
            channel=figures.channel,
            breaker=BreakerState(figures.breaker),
            success_rate=figures.success_rate,
            p95_ms=figures.p95_ms,
        )


@strawberry.type(description="A running process with this role.")
class ServiceInstance:
    """A running process."""

    id: strawberry.ID = field(description="New each time that it starts.")
    url: str | None = field(description="Where its HTTP is: its health and its metrics.")
    version: str = field(description="The version of Heliograph that it runs.")
    started_at: datetime = field(description="When it was started, by its own clock.")
    last_seen_at: datetime = field(description="When it last gave a sign of life, by its own clock.")
    status: str = field(
        description="ok, degraded or down, as its /health says; silent when it gave no sign of life for ten seconds."
    )

    @classmethod
    def of(cls, figures: InstanceFigures) -> Self:
        """From the gateway."""
        return cls(
            id=strawberry.ID(figures.id),
            url=figures.url,
            version=figures.version,
            started_at=figures.started_at,
            last_seen_at=figures.last_seen_at,
            status=figures.status,
        )


@strawberry.type(description="A role, and who has it.")
class Service:
    """A role, and who has it."""

    name: str = field(description="gateway, users, templates, email, push, dispatch, relay, bounces or sandbox.")
    status: str = field(description="ok: all of its instances are; down: none is well; else degraded.")
    instances: list[ServiceInstance] = field(description="Those that were heard of in the last two minutes.")

    @classmethod
    def of(cls, figures: ServiceFigures) -> Self:
        """From the gateway."""
        instances = [ServiceInstance.of(each) for each in figures.instances]
        return cls(name=figures.name, status=figures.status, instances=instances)


@strawberry.type(description="The system in figures, as this gateway sees and hears of it; some seconds old.")
class System:
    """The system in figures."""

    queues: list[Queue] = field(description="The broker's queues.")
    providers: list[Provider] = field(description="The providers that workers call.")
    services: list[Service] = field(description="The roles, and who has them.")

    @classmethod
    def of(cls, figures: SystemFigures) -> Self:
        """From the gateway."""
        return cls(
            queues=[Queue.of(each) for each in figures.queues],
            providers=[Provider.of(each) for each in figures.providers],
            services=[Service.of(each) for each in figures.services],
        )


@strawberry.type(description="The system in figures.")
class SystemPayload(Response):
    """The system in figures."""

    data: System | None = field(default=None, description="The figures; null on failure.")


@strawberry.type
class SystemQueries:
    """Mixed into `Query`."""

    @field(
        description="How the system does: queues, providers, and the instances of every role.",
        extensions=[Answers(SystemPayload, Scope.OPERATIONS)],
    )
    async def system(self, info: Info) -> SystemPayload:
        """Asks nobody: what is heard anyhow is put together."""
        return SystemPayload.ok(System.of(info.context.services.figures.now()))


@strawberry.type
class SystemSubscriptions:
    """Mixed into `Subscription`."""

    @strawberry.subscription(description="The same, again and again; never ends by itself.")
    async def system_status(
        self,
        info: Info,
        interval_ms: Annotated[
            int, strawberry.argument(description=f"Milliseconds between two, {LEAST_MS} to {MOST_MS:,}.")
        ] = 1000,
    ) -> AsyncGenerator[System, None]:
        """VALIDATION_FAILED, FORBIDDEN."""
        await info.context.admit(Scope.OPERATIONS)
        if not LEAST_MS <= interval_ms <= MOST_MS:
            raise ValidationFailed.of("interval_ms", "range", f"takes {LEAST_MS} to {MOST_MS:,}")
        while True:
            yield System.of(info.context.services.figures.now())
            await asyncio.sleep(interval_ms / 1000)
