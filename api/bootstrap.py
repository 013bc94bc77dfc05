"""The one composition root: settings -> System. What each role is made of; `api.builder` makes the parts.

`up` adds all parts, in one process, on the embedded defaults.
"""

import socket
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from importlib import metadata
from pathlib import Path

from starlette.types import ASGIApp

from api.access import allow_templates_path, allow_users_path
from api.builder import EVERYTHING, Builder, started
from api.discovery import Instance, Registration
from api.doors import BehindKeys, by_path
from api.embedded import Lock, development_key, own_secret
from api.gateway.app import OPTIONAL_CHECKS
from api.gateway_builder import GatewayBuilder
from api.identity import open_identity
from api.secrets_check import refuse_weak_secrets
from api.settings import Settings
from api.system import System
from domain.channels import CHANGES_CHANNEL, NUDGE_CHANNEL
from domain.concurrency import Tasks
from domain.errors import ConfigurationError
from domain.ids import INSTANCE, new_id
from domain.notification import Channel
from domain.ports import Bell
from workers.dispatcher import Dispatcher
from workers.sandbox.afterwards import Afterwards
from workers.sandbox.app import sandbox_app
from workers.sandbox.fcm import FcmEndpoint, FcmStore
from workers.sandbox.mailbox import Mailbox

# -------------------------------------------------------------------------------------------------------- the roles


async def build(role: str, settings: Settings) -> System:
    """The system of one role: a name of `ROLES`. Raises `ConfigurationError` for what it cannot run with."""
    refuse_weak_secrets(settings, SECRETS.get(role, ()))
    system = System(stop_seconds=settings.drain_seconds + 5)
    builder = Builder(settings, system, hears=HEARS.get(role, (CHANGES_CHANNEL,)))
    system.app = builder.traced(builder.timed(await ROLES[role](builder)))
    me = _instance(role, settings)
    if settings.discovery_url is not None:
        # Among the last parts to be started: who finds it there finds it running.
        registration = Registration(settings.discovery_url, me)
        system.add("registration", start=registration.start, stop=registration.stop)
    if role == "gateway":
        builder.add_pulse((role, "dispatch"), me, OPTIONAL_CHECKS)
    else:
        builder.add_pulse((role,), me)
    return system


def _instance(role: str, settings: Settings) -> Instance:
    now = datetime.now(UTC)
    url = settings.advertise_url or f"http://{socket.gethostname()}:{settings.port}"
    version = metadata.version("heliograph")
    return Instance(service=role, id=new_id(INSTANCE), url=url, version=version, started_at=now, last_seen=now)


async def _gateway(builder: Builder) -> ASGIApp:
    databases, peers = await builder.open_databases("gateway"), builder.peers()
    identity = open_identity(builder.settings, builder.system, databases["gateway"], builder.open_changes())
    return GatewayBuilder(builder, databases, identity, peers.users(), peers.templates()).app()


async def _users(builder: Builder) -> ASGIApp:
    return builder.add_users(await builder.open_databases("users"))


async def _templates(builder: Builder) -> ASGIApp:
    return builder.add_templates(await builder.open_databases("templates"))


async def _worker(channel: Channel, builder: Builder) -> ASGIApp:
    databases, peers = await builder.open_databases("gateway"), builder.peers()
    builder.add_worker(channel, databases, peers.users(), peers.templates())
    return builder.plain_app()


async def _dispatch(builder: Builder) -> ASGIApp:
    databases, bell = await builder.open_databases("gateway"), builder.open_bell()
    dispatcher, ear = builder.add_dispatcher(databases), Tasks()
    start = partial(ear.supervise, "dispatcher: ear", partial(_heed, bell, dispatcher))
    builder.system.add("dispatcher's ear", start=started(start), stop=ear.cancel)
    return builder.plain_app()


async def _relay(builder: Builder) -> ASGIApp:
    builder.add_relay(await builder.open_databases("gateway"))
    return builder.plain_app()


async def _bounces(builder: Builder) -> ASGIApp:
    if builder.settings.bounce_listen is None:
        raise ConfigurationError("HELIOGRAPH_BOUNCE_LISTEN: the bounce listener needs to know where to listen.")
    databases, peers = await builder.open_databases("gateway"), builder.peers()
    builder.add_bounces(databases, peers.users())
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
    "bounces": _bounces,
    "sandbox": _sandbox,
}


HEARS = {"gateway": EVERYTHING, "dispatch": (NUDGE_CHANNEL, CHANGES_CHANNEL)}
"""The channels of the feed that a role listens to, where these are more than what has changed."""


SECRETS = {
    "gateway": (
        "service_token",
        "secret",
        "api_key",
        "jwt_secret",
        "jwks_url",
        "mailgun_signing_key",
        "onesignal_webhook_secret",
    ),
    "users": ("service_token",),
    "templates": ("service_token",),
    "email": ("service_token", "secret"),
    "push": ("service_token", "secret"),
    "relay": ("service_token", "secret"),
    "bounces": ("service_token", "secret"),
}
"""The settings of each role that nobody may guess."""


async def build_embedded(settings: Settings) -> System:
    """Everything in one process. What the settings name elsewhere (a broker, a database, a mail server) is used there.

    Starts the sandbox at once, for its addresses. Raises `ConfigurationError` when another process has the folder.
    """
    folder = Path(settings.var_dir)
    lock = Lock(folder)
    system = System(stop_seconds=settings.drain_seconds + 5)
    system.add("lock", stop=started(lock.release))
    afterwards = Afterwards()
    mailbox, endpoint = Mailbox(afterwards=afterwards), FcmEndpoint(afterwards=afterwards)
    for part in (mailbox, endpoint):
        await part.start()
        system.add("sandbox", stop=part.stop)
    builder = Builder(_with_sandbox(settings, folder, mailbox, endpoint), system, embedded=True)
    databases = await builder.open_databases("gateway", "users", "templates")
    services = {"users": builder.add_users(databases), "templates": builder.add_templates(databases)}
    beside = {f"/v1/{name}": service for name, service in services.items()}
    peers = builder.peers()
    users, templates = peers.users(services["users"]), peers.templates(services["templates"])
    if settings.bounce_listen is not None:
        builder.add_bounces(databases, users)
    afterwards.tell(builder.callbacks(databases, users))
    system.add("sandbox's callbacks", stop=afterwards.stop)
    identity = open_identity(builder.settings, system, databases["gateway"], builder.open_changes())
    gateway = GatewayBuilder(builder, databases, identity, users, templates).app(beside)
    builder.add_relay(databases)
    for channel in Channel:
        builder.add_worker(channel, databases, users, templates)
    allow = {"users": allow_users_path, "templates": allow_templates_path}
    doors = {
        f"/v1/{name}": BehindKeys(
            builder.timed(service), identity.credentials, identity.limiter, allow[name], builder.settings.service_token
        )
        for name, service in services.items()
    }
    paths: dict[str, ASGIApp] = {**doors, "/sandbox": sandbox_app(mailbox, endpoint.store)}
    system.app = builder.traced(by_path(paths, builder.timed(gateway)))
    roles = ("gateway", "dispatch", "users", "templates", "email", "push", "relay", "sandbox")
    hears_bounces = ("bounces",) if settings.bounce_listen is not None else ()
    builder.add_pulse((*roles, *hears_bounces), _instance("up", settings), OPTIONAL_CHECKS)
    return system


def _with_sandbox(settings: Settings, folder: Path, mailbox: Mailbox, endpoint: FcmEndpoint) -> Settings:
    """The settings with what an embedded system makes for itself where nothing else was named."""
    own = {
        "api_key": settings.api_key or development_key(folder),
        "secret": settings.secret or own_secret(folder),
        "smtp_url": settings.smtp_url or mailbox.url,
        "sandbox_smtp_url": settings.sandbox_smtp_url or mailbox.url,
        "sandbox_fcm_url": settings.sandbox_fcm_url or endpoint.url,
    }
    if settings.fcm_credentials is None and settings.fcm_url is None:
        own["fcm_url"] = endpoint.url
    return settings.model_copy(update=own)


async def _heed(bell: Bell, dispatcher: Dispatcher) -> None:
    async with bell.listen(NUDGE_CHANNEL) as rings:
        async for _ in rings:
            dispatcher.nudge()
