"""The one composition root: settings -> System. The only module of `api` that knows `workers`.

Each role is a function that adds its parts to a system; `up` adds them all, in one process, on the embedded defaults.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import httpx
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.types import ASGIApp

from api.database import Databases
from api.doors import BehindKeys, by_path
from api.embedded import Lock, development_key
from api.gateway.actions import Actions
from api.gateway.app import GatewayServices, gateway_app
from api.gateway.claims import SqlClaims
from api.gateway.feed import Follower
from api.gateway.outbox import SqlOutbox
from api.gateway.queries import Queries
from api.gateway.repository import SqlRequests
from api.gateway.statuslog import SqlStatusLog, SqlStatusStore
from api.health import health_routes
from api.security import ApiKeys, Scope
from api.settings import Settings
from api.system import System
from api.templates.app import templates_app
from api.templates.client import TemplatesClient
from api.templates.repository import TemplateRepository
from api.users.app import users_app
from api.users.client import UsersClient
from api.users.repository import UserRepository
from domain.channels import NUDGE_CHANNEL, STATUS_CHANNEL
from domain.concurrency import Tasks
from domain.doorbell import encode_rows
from domain.errors import ConfigurationError, Unavailable
from domain.notification import Channel
from domain.ports import Bell, Broker, EmailProvider, LogRow, PushProvider, Sender
from domain.send import SendPorts
from domain.template import Renderer
from workers.bell import BroadcastBell
from workers.broker.memory import MemoryBroker
from workers.broker.rabbitmq import RabbitBroker
from workers.consumer import Worker, WorkerSettings
from workers.dispatcher import Dispatcher
from workers.email.service import EmailSender, EmailSettings
from workers.email.smtp import SmtpProvider
from workers.push.fcm import FcmProvider
from workers.push.service import PushSender
from workers.relay import Relay
from workers.resilience import Breaker, ProviderChain
from workers.sandbox.app import sandbox_app
from workers.sandbox.fcm import FcmEndpoint, FcmStore
from workers.sandbox.mailbox import Mailbox

log = logging.getLogger(__name__)

Check = Callable[[], Awaitable[None]]
CLIENT_TIMEOUT = httpx.Timeout(2.0)
OPTIONAL = ("feed",)
"""Without these a role is degraded, not down."""


class Builder:
    """Adds parts to one system; what several roles share is made once."""

    def __init__(self, settings: Settings, system: System, *, embedded: bool = False) -> None:
        self.settings = settings
        self.system = system
        self.embedded = embedded
        self.metrics = CollectorRegistry()
        self.checks: dict[str, Check] = {"start": system.check}
        self.broker: Broker | None = None
        self.bell: Bell | None = None
        self.databases: Databases | None = None
        if not embedded:
            _refuse_embedded_parts(settings)

    async def open_databases(self, *names: str) -> Databases:
        """Connect to these databases and bring their tables up to date."""
        urls = {name: url for name, url in self.settings.database_urls.items() if name in names}
        self.databases = await Databases.open(urls, pool_size=self.settings.database_pool)
        self.system.add("databases", start=self.databases.migrate, stop=self.databases.close)
        for name in names:
            self.checks[f"{name}_database"] = self.databases[name].ping
        return self.databases

    def open_broker(self) -> Broker:
        """The broker of the settings; waited for in the background unless it is in this process."""
        if self.broker is None:
            url = self.settings.broker_url
            self.broker = broker = MemoryBroker() if url == "memory://" else RabbitBroker(url)
            self.system.add("broker", start=broker.connect, stop=broker.close)
            self.checks["broker"] = partial(_available, broker, "broker")
        return self.broker

    def open_bell(self) -> Bell:
        """The pub/sub of the settings."""
        if self.bell is None:
            self.bell = bell = BroadcastBell(self.settings.feed_url, [STATUS_CHANNEL, NUDGE_CHANNEL])
            self.system.add("feed", start=bell.connect, stop=bell.close)
            self.checks["feed"] = partial(_available, bell, "feed")
        return self.bell

    def http_client(self, url: str | None, app: ASGIApp | None, name: str) -> httpx.AsyncClient:
        """A client of another service: over the network, or straight into its application in this process."""
        if url is not None:
            client = httpx.AsyncClient(base_url=url, timeout=CLIENT_TIMEOUT)
        elif app is not None:
            transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
            client = httpx.AsyncClient(base_url=f"http://{name}", transport=transport)
        else:
            raise ConfigurationError(f"HELIOGRAPH_{name.upper()}_URL: this role needs to know where the service is.")
        self.system.add(f"{name} client", stop=client.aclose)
        return client

    def templates_client(self, app: ASGIApp | None = None) -> TemplatesClient:
        """What asks the Template Service."""
        client = self.http_client(self.settings.templates_url, app, "templates")
        return TemplatesClient(client, service_token=self.settings.service_token)

    def users_client(self, app: ASGIApp | None = None) -> UsersClient:
        """What asks the User Service."""
        client = self.http_client(self.settings.users_url, app, "users")
        return UsersClient(client, service_token=self.settings.service_token)

    def plain_app(self) -> ASGIApp:
        """What a role without an API of its own serves: its health and its metrics."""
        return Starlette(routes=health_routes(self.checks, optional=OPTIONAL, metrics=self.metrics))

    def announce(self, rows: list[LogRow]) -> None:
        """Tell the gateways what was committed."""
        if rows:
            self.open_bell().ring(STATUS_CHANNEL, encode_rows(rows))

    # ------------------------------------------------------------------------------------------------ the services

    def add_users(self, databases: Databases) -> ASGIApp:
        """The User Service."""
        repository = UserRepository(databases["users"])
        return users_app(
            repository, service_token=self.settings.service_token, checks=self.checks, metrics=self.metrics
        )

    def add_templates(self, databases: Databases) -> ASGIApp:
        """The Template Service."""
        repository = TemplateRepository(databases["templates"])
        return templates_app(repository, service_token=self.settings.service_token, metrics=self.metrics)

    def add_gateway(self, databases: Databases, users: UsersClient, templates: TemplatesClient) -> ASGIApp:
        """The API Gateway, with a dispatcher in its loop that acts right after each commit."""
        database, bell = databases["gateway"], self.open_bell()
        queries, status_log = Queries(database), SqlStatusLog(database)
        dispatcher = self.add_dispatcher(databases)

        def accepted(rows: list[LogRow]) -> None:
            dispatcher.nudge()
            bell.ring(NUDGE_CHANNEL)
            self.announce(rows)

        requests = SqlRequests(database, queries, accepted)
        feed = Follower(status_log, bell)
        keys = ApiKeys(database)
        if self.settings.api_key is not None:
            ensure = partial(keys.ensure_key, self.settings.api_key, name="HELIOGRAPH_API_KEY", client="default")
            self.system.add("api key", start=ensure)
        self.system.add("requests", stop=requests.drain)
        self.system.add("feed follower", start=feed.start, stop=feed.stop)
        return gateway_app(
            GatewayServices(
                send_ports=SendPorts(requests, users, templates, Renderer()),
                queries=queries,
                cancel=Actions(SqlStatusStore(database), queries, self.announce).cancel,
                users=users,
                templates=templates,
                feed=feed,
                api_keys=keys,
                checks=self.checks,
                metrics=self.metrics,
            )
        )

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
        )
        self.system.add("dispatcher", start=_started(dispatcher.start), stop=dispatcher.stop)
        return dispatcher

    def add_relay(self, databases: Databases) -> None:
        """The status relay."""
        database = databases["gateway"]
        relay = Relay(self.open_broker(), SqlStatusStore(database), SqlStatusLog(database), self.open_bell())
        self.system.add("relay", start=_started(relay.start), stop=relay.stop)

    def add_worker(self, channel: Channel, databases: Databases, templates: TemplatesClient) -> None:
        """The Email Service or the Push Service."""
        make = self.email_sender if channel is Channel.EMAIL else self.push_sender
        settings = WorkerSettings(
            lease=self.settings.lease_seconds,
            deadline=self.settings.delivery_deadline_seconds,
            concurrency=self.settings.worker_concurrency,
        )
        worker = Worker(
            channel,
            self.open_broker(),
            SqlClaims(databases["gateway"]),
            make(templates),
            self.settings.retry_policy,
            settings,
        )
        stop = partial(worker.stop, self.settings.drain_seconds)
        self.system.add(f"{channel.routing_key} worker", start=_started(worker.start), stop=stop)

    def email_sender(self, templates: TemplatesClient) -> Sender:
        """Email's way out."""
        if self.settings.smtp_url is None:
            raise ConfigurationError("HELIOGRAPH_SMTP_URL: the Email Service needs to know its mail server.")
        provider: EmailProvider = SmtpProvider(self.settings.smtp_url, pool_size=self.settings.smtp_pool)
        self.system.add("smtp", stop=provider.close)
        chain = ProviderChain([provider], self.breakers([provider.name]), clock=_now)
        settings = EmailSettings(sender=self.settings.email_from, sender_name=self.settings.email_from_name)
        return EmailSender(chain, templates, settings)

    def push_sender(self, templates: TemplatesClient) -> Sender:
        """Push's way out."""
        if self.settings.fcm_credentials is None and self.settings.fcm_url is None:
            raise ConfigurationError("HELIOGRAPH_FCM_CREDENTIALS: the Push Service needs its service account's file.")
        credentials, project = self.settings.fcm_credentials, self.settings.fcm_project
        provider: PushProvider = FcmProvider(credentials, project, url=self.settings.fcm_url)
        self.system.add("fcm", stop=provider.close)
        chain = ProviderChain([provider], self.breakers([provider.name]), clock=_now)
        return PushSender(chain, templates)

    def breakers(self, names: list[str]) -> Mapping[str, Breaker]:
        """One breaker a provider."""
        return {
            name: Breaker(
                name, fail_max=self.settings.breaker_failures, reset_after=self.settings.breaker_reset_seconds
            )
            for name in names
        }


# -------------------------------------------------------------------------------------------------------- the roles


async def build(role: str, settings: Settings) -> System:
    """The system of one role: a name of `ROLES`."""
    system = System(stop_seconds=settings.drain_seconds + 5)
    builder = Builder(settings, system)
    system.app = await ROLES[role](builder)
    return system


async def _gateway(builder: Builder) -> ASGIApp:
    databases = await builder.open_databases("gateway")
    return builder.add_gateway(databases, builder.users_client(), builder.templates_client())


async def _users(builder: Builder) -> ASGIApp:
    return builder.add_users(await builder.open_databases("users"))


async def _templates(builder: Builder) -> ASGIApp:
    return builder.add_templates(await builder.open_databases("templates"))


async def _worker(channel: Channel, builder: Builder) -> ASGIApp:
    databases = await builder.open_databases("gateway")
    builder.add_worker(channel, databases, builder.templates_client())
    return builder.plain_app()


async def _dispatch(builder: Builder) -> ASGIApp:
    databases, bell = await builder.open_databases("gateway"), builder.open_bell()
    dispatcher, ear = builder.add_dispatcher(databases), Tasks()
    start = partial(ear.supervise, "dispatcher: ear", partial(_heed, bell, dispatcher))
    builder.system.add("dispatcher's ear", start=_started(start), stop=ear.cancel)
    return builder.plain_app()


async def _relay(builder: Builder) -> ASGIApp:
    builder.add_relay(await builder.open_databases("gateway"))
    return builder.plain_app()


async def _sandbox(builder: Builder) -> ASGIApp:
    mailbox, pushes = Mailbox(builder.settings.host, builder.settings.sandbox_smtp_port), FcmStore()
    builder.system.add("mailbox", start=mailbox.start, stop=mailbox.stop)
    app = sandbox_app(mailbox, pushes)
    return by_path({"/v1/projects": app, "/sandbox": app}, builder.plain_app())


ROLES: dict[str, Callable[[Builder], Awaitable[ASGIApp]]] = {
    "gateway": _gateway,
    "users": _users,
    "templates": _templates,
    "email": partial(_worker, Channel.EMAIL),
    "push": partial(_worker, Channel.PUSH),
    "dispatch": _dispatch,
    "relay": _relay,
    "sandbox": _sandbox,
}


async def build_embedded(settings: Settings) -> System:
    """Everything in one process. What the settings name elsewhere (a broker, a database, a mail server) is used there.

    Starts the sandbox at once, for its addresses. Raises `ConfigurationError` when another process has the folder.
    """
    folder = Path(settings.var_dir)
    lock = Lock(folder)
    system = System(stop_seconds=settings.drain_seconds + 5)
    system.add("lock", stop=_started(lock.release))
    mailbox, endpoint = Mailbox(), FcmEndpoint()
    for part in (mailbox, endpoint):
        await part.start()
        system.add("sandbox", stop=part.stop)
    builder = Builder(_with_sandbox(settings, folder, mailbox, endpoint), system, embedded=True)
    databases = await builder.open_databases("gateway", "users", "templates")
    users_service, templates_service = builder.add_users(databases), builder.add_templates(databases)
    users, templates = builder.users_client(users_service), builder.templates_client(templates_service)
    gateway = builder.add_gateway(databases, users, templates)
    builder.add_relay(databases)
    for channel in Channel:
        builder.add_worker(channel, databases, templates)
    keys, token = ApiKeys(databases["gateway"]), builder.settings.service_token
    system.app = by_path(
        {
            "/v1/users": BehindKeys(users_service, keys, Scope.USERS_READ, Scope.USERS_WRITE, token),
            "/v1/templates": BehindKeys(templates_service, keys, Scope.TEMPLATES_READ, Scope.TEMPLATES_WRITE, token),
            "/sandbox": sandbox_app(mailbox, endpoint.store),
        },
        gateway,
    )
    return system


def _with_sandbox(settings: Settings, folder: Path, mailbox: Mailbox, endpoint: FcmEndpoint) -> Settings:
    """The settings with what an embedded system makes for itself where nothing else was named."""
    own = {"api_key": settings.api_key or development_key(folder), "smtp_url": settings.smtp_url or mailbox.url}
    if settings.fcm_credentials is None and settings.fcm_url is None:
        own["fcm_url"] = endpoint.url
    return settings.model_copy(update=own)


def _refuse_embedded_parts(settings: Settings) -> None:
    """What is in one process cannot be shared with others."""
    for name in ("broker_url", "feed_url"):
        if getattr(settings, name) == "memory://":
            raise ConfigurationError(f"HELIOGRAPH_{name.upper()}: memory:// works in `heliograph up` only.")


async def _heed(bell: Bell, dispatcher: Dispatcher) -> None:
    async with bell.listen(NUDGE_CHANNEL) as rings:
        async for _ in rings:
            dispatcher.nudge()


async def _available(part: Broker | Bell, name: str) -> None:
    if not part.available:
        raise Unavailable(f"The {name} is not connected.")


async def _take_over(outbox: SqlOutbox) -> None:
    """The lock says that we are alone: whatever was published or claimed died with the process before us."""
    for channel in Channel:
        if count := await outbox.expedite(channel, revoke=True):
            log.info("%d unfinished %s notifications are taken up again", count, channel.routing_key)


def _started(call: Callable[[], object]) -> Callable[[], Awaitable[object]]:
    async def step() -> object:
        return call()

    return step


def _now() -> datetime:
    return datetime.now(UTC)
