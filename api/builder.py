"""What the roles are put together from: the parts of one system, made from its settings.

With `api.bootstrap`, which says what belongs to which role, and `api.providers`, which makes what the channels send by,
the only module of `api` that knows `workers`.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from functools import partial

from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.types import ASGIApp

from api.changes import Changes
from api.database import Databases
from api.discovery import Instance
from api.gateway.callbacks import SqlCallbacks
from api.gateway.claims import SqlClaims
from api.gateway.logreader import SqlStatusLog
from api.gateway.opt_outs import OptOuts
from api.gateway.outbox import SqlOutbox
from api.gateway.refused_addresses import RefusedAddresses
from api.gateway.statuslog import SqlStatusStore
from api.gateway.suppressions import SqlSuppressions
from api.health import OPTIONAL, health_routes
from api.meters import Meters
from api.peers import Peers
from api.providers import fcm, mails_at_once
from api.senders import Senders, return_paths
from api.settings import Settings
from api.system import System
from api.templates.app import templates_app
from api.templates.client import TemplatesClient
from api.templates.repository import TemplateRepository
from api.timing import Timing
from api.tracing import TracedRequests, tracer_of
from api.users.app import users_app
from api.users.client import UsersClient
from api.users.repository import UserRepository
from api.watching import add_pulse
from domain.channels import CHANGES_CHANNEL, NUDGE_CHANNEL, STATUS_CHANNEL, VITALS_CHANNEL
from domain.doorbell import encode_parts
from domain.errors import ConfigurationError, Unavailable
from domain.life import tell_recorded
from domain.notification import Channel, Status
from domain.ports import Bell, Broker, Cache, LogRow
from domain.telemetry import role
from domain.tracing import UNTRACED
from domain.vitals import Vitals
from workers.bell import BroadcastBell
from workers.broker.memory import MemoryBroker
from workers.broker.metered import MeteredBroker
from workers.broker.rabbitmq import RabbitBroker
from workers.cache import MemoryCache, RedisCache
from workers.consumer import Worker, WorkerSettings
from workers.dispatcher import Dispatcher
from workers.email.bounces import BounceListener
from workers.push.dry_run import DryRun
from workers.relay import Relay
from workers.resilience import Breaker, only_errors
from workers.sandbox.apart import Apart
from workers.standing import CurrentStandings

log = logging.getLogger(__name__)

Check = Callable[[], Awaitable[None]]
CACHE_SIZE = 20_000
EVERYTHING = (STATUS_CHANNEL, NUDGE_CHANNEL, CHANGES_CHANNEL, VITALS_CHANNEL)
SERVICE_FAILURES, SERVICE_PAUSE = 3, 2.0
"""Calls of another service that fail in a row until it is left alone, and for how many seconds."""


class Builder:
    """Adds parts to one system; what several roles share is made once."""

    def __init__(
        self, settings: Settings, system: System, *, embedded: bool = False, hears: Sequence[str] = EVERYTHING
    ) -> None:
        """`hears`: the channels of the feed that somebody in this process listens to. What is rung there comes to it,
        whether it listens or not, and the status log is much of it."""
        self.settings = settings
        self.system = system
        self.embedded = embedded
        self._hears = tuple(hears)
        self.meters = Meters()
        self.metrics = self.meters.registry
        self.tracer = tracer_of(settings, role.get() or "heliograph", system)
        self.checks: dict[str, Check] = {"start": system.check}
        self.broker: Broker | None = None
        self.bell: Bell | None = None
        self.cache: Cache | None = None
        self.changes: Changes | None = None
        self._suppressions: SqlSuppressions | None = None

    async def open_databases(self, *names: str) -> Databases:
        """Connect to these databases and bring their tables up to date."""
        urls = {name: url for name, url in self.settings.database_urls.items() if name in names}
        databases = await Databases.open(urls, pool_size=self.settings.database_pool)
        self.system.add("databases", start=databases.migrate, stop=databases.close)
        for name in names:
            self.checks[f"{name}_database"] = databases[name].ping
        return databases

    def open_broker(self) -> Broker:
        """The broker of the settings; waited for in the background unless it is in this process."""
        if self.broker is None:
            self._refuse_in_process("broker_url")
            url = self.settings.broker_url
            real = MemoryBroker() if url == "memory://" else RabbitBroker(url)
            self.broker = broker = MeteredBroker(real, self.meters.queues)
            self.system.add("broker", start=broker.connect, stop=broker.close)
            self.checks["broker"] = partial(_available, broker, "broker")
        return self.broker

    def open_bell(self, *, needed: bool = True) -> Bell:
        """The pub/sub of the settings. A role by which it is not `needed` may ring where nobody hears it."""
        if self.bell is None:
            if needed:
                self._refuse_in_process("feed_url")
            self.bell = bell = BroadcastBell(self.settings.feed_url, self._hears)
            self.system.add("feed", start=bell.connect, stop=bell.close)
            self.checks["feed"] = partial(_available, bell, "feed")
        return self.bell

    def open_cache(self) -> Cache | None:
        """What all processes remember together; None where they have nothing in common."""
        if self.cache is None:
            url = self.settings.cache_url
            if url != "memory://":
                self.cache = RedisCache(url)
            elif self.embedded:
                self.cache = MemoryCache(CACHE_SIZE)
            if self.cache is not None:
                self.system.add("cache", stop=self.cache.close)
        return self.cache

    def open_changes(self, *, needed: bool = True) -> Changes:
        """How others are told that something has changed, and how it is heard."""
        if self.changes is None:
            self.changes = changes = Changes(self.open_bell(needed=needed), self.open_cache())
            self.system.add("changes", start=changes.start, stop=changes.stop)
        return self.changes

    def peers(self) -> Peers:
        """The clients of our other services."""
        changes = self.open_changes()
        called = self.meters.calls.called
        return Peers(self.settings, self.system, changes, self.open_cache(), self._service_breaker, called, self.tracer)

    def _service_breaker(self, name: str) -> Breaker:
        title = f"{name} service"
        breaker = Breaker(title, fail_max=SERVICE_FAILURES, reset_after=SERVICE_PAUSE, counts=only_errors)
        self.meters.breakers.watch(title, None, lambda: breaker.state)
        return breaker

    def suppressions(self, databases: Databases) -> SqlSuppressions:
        """Our blocks on contact points. One for the process: what it adds counts at once for all that ask here."""
        if self._suppressions is None:
            self._suppressions = SqlSuppressions(databases["gateway"], self._secret())
        return self._suppressions

    def _secret(self) -> str:
        """What is hashed with."""
        secret = self.settings.secret or self.settings.service_token
        assert secret is not None, "secrets are checked before anything is built"
        return secret

    def _refuse_in_process(self, name: str) -> None:
        """What is in one process cannot be shared with others."""
        if not self.embedded and getattr(self.settings, name) == "memory://":
            raise ConfigurationError(f"HELIOGRAPH_{name.upper()}: memory:// works in `heliograph up` only.")

    def add_pulse(self, roles: Sequence[str], me: Instance, optional: tuple[str, ...] = OPTIONAL) -> None:
        """Who tells the gateways of this instance; the last part. `optional`: what it can do without."""
        told = Vitals(
            id=me.id,
            roles=tuple(roles),
            version=me.version,
            started_at=me.started_at,
            seen_at=me.last_seen,
            status="ok",
            url=me.url,
        )
        add_pulse(self.system, self.meters, self.open_bell(needed=False), self.checks, optional, told)

    def timed(self, app: ASGIApp) -> ASGIApp:
        """An application whose answers are measured."""
        return Timing(app, self.meters.http.answered)

    def plain_app(self) -> ASGIApp:
        """What a role without an API of its own serves: its health and its metrics."""
        return Starlette(routes=health_routes(self.checks, optional=OPTIONAL, metrics=self.metrics))

    def traced(self, app: ASGIApp) -> ASGIApp:
        """What a process serves, with its requests as spans where there is tracing."""
        return app if self.tracer is UNTRACED else TracedRequests(app, self.tracer)

    def announce(self, rows: list[LogRow]) -> None:
        """Say what was committed, and tell the gateways. That a request was accepted has been said."""
        tell_recorded([row for row in rows if row.status is not Status.ACCEPTED])
        for payload in encode_parts(rows):
            self.open_bell().ring(STATUS_CHANNEL, payload)
        self.meters.statuses.recorded(rows)

    # ------------------------------------------------------------------------------------------------ the services

    def add_users(self, databases: Databases) -> FastAPI:
        """The User Service."""
        repository = UserRepository(databases["users"], self.open_changes(needed=False).tell)
        settings = self.settings
        verify = (
            DryRun(fcm(self.settings)).problem if settings.verify_tokens and "fcm" in settings.push_providers else None
        )
        return users_app(
            repository,
            service_token=settings.service_token,
            checks=self.checks,
            metrics=self.metrics,
            verify=verify,
        )

    def add_templates(self, databases: Databases) -> FastAPI:
        """The Template Service."""
        repository = TemplateRepository(databases["templates"], self.open_changes(needed=False).tell)
        token = self.settings.service_token
        return templates_app(repository, service_token=token, checks=self.checks, metrics=self.metrics)

    # ------------------------------------------------------------------------------------------------- the workers

    def add_dispatcher(self, databases: Databases) -> Dispatcher:
        """A dispatcher; in the embedded system it first takes over what a killed process left behind."""
        outbox = SqlOutbox(databases["gateway"])
        if self.embedded:
            self.system.add("recovery", start=partial(_take_over, outbox))
        dispatcher = Dispatcher(
            outbox,
            self.open_broker(),
            redrive=self.settings.redrive_seconds,
            poll=self.settings.dispatch_poll_seconds,
            window=self.settings.dispatch_window,
            tracer=self.tracer,
        )
        self.system.add("dispatcher", start=started(dispatcher.start), stop=dispatcher.stop)
        return dispatcher

    def add_relay(self, databases: Databases) -> None:
        """The status relay."""
        database = databases["gateway"]
        store = SqlStatusStore(database, RefusedAddresses(database, self.suppressions(databases)))
        relay = Relay(
            self.open_broker(),
            store,
            SqlStatusLog(database),
            self.open_bell(),
            tracer=self.tracer,
            on_recorded=self.meters.statuses.recorded,
        )
        self.system.add("relay", start=started(relay.start), stop=relay.stop)

    def add_worker(
        self, channel: Channel, databases: Databases, users: UsersClient, templates: TemplatesClient
    ) -> None:
        """The Email Service or the Push Service."""
        senders = Senders(self.settings, self.system, self.meters, self.tracer)
        live, tests = (
            (senders.email, senders.email_sandbox) if channel is Channel.EMAIL else (senders.push, senders.push_sandbox)
        )
        settings = WorkerSettings(
            lease=self.settings.lease_seconds,
            deadline=self.settings.delivery_deadline_seconds,
            concurrency=self._in_hand(channel),
        )
        worker = Worker(
            channel,
            self.open_broker(),
            SqlClaims(databases["gateway"]),
            CurrentStandings(users, self.suppressions(databases)),
            Apart(live(templates), tests(templates)),
            self.settings.retry_policy,
            settings,
            tracer=self.tracer,
        )
        self.meters.deliveries.watch(channel, lambda: worker.in_hand)
        stop = partial(worker.stop, self.settings.drain_seconds)
        self.system.add(f"{channel.routing_key} worker", start=started(worker.start), stop=stop)

    def _in_hand(self, channel: Channel) -> int:
        return mails_at_once(self.settings) if channel is Channel.EMAIL else self.settings.worker_concurrency

    def add_bounces(self, databases: Databases, users: UsersClient) -> None:
        """The bounce listener, where the settings say."""
        paths, endpoint = return_paths(self.settings), self.settings.bounce_endpoint
        assert paths is not None, "the settings refuse a listener without an address"
        assert endpoint is not None, "without one there is no listener"
        listener = BounceListener(endpoint, paths, self.callbacks(databases, users), metrics=self.metrics)
        stop = partial(listener.stop, self.settings.drain_seconds)
        self.system.add("bounce listener", start=listener.start, stop=stop)
        self.checks["bounces"] = listener.check

    def callbacks(self, databases: Databases, users: UsersClient) -> SqlCallbacks:
        """What takes in what is said after we have sent."""
        database, suppressions = databases["gateway"], self.suppressions(databases)
        opt_outs = OptOuts(users, suppressions)
        return SqlCallbacks(database, SqlStatusStore(database), suppressions, opt_outs, self.announce, self.tracer)


async def _available(part: Broker | Bell, name: str) -> None:
    if not part.available:
        raise Unavailable(f"The {name} is not connected.")


async def _take_over(outbox: SqlOutbox) -> None:
    """The lock says that we are alone: whatever was published or claimed died with the process before us."""
    for channel in Channel:
        if count := await outbox.expedite(channel, revoke=True):
            log.info("%d unfinished %s notifications are taken up again", count, channel.routing_key)


def started(call: Callable[[], object]) -> Callable[[], Awaitable[object]]:
    """A step of the system that does not wait."""

    async def step() -> object:
        return call()

    return step


def _now() -> datetime:
    return datetime.now(UTC)
