"""Providers that fail as told, and the whole way to them: from an accepted row to a real SMTP or HTTP connection."""

import asyncio
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from api.database import Databases
from domain.ids import NOTIFICATION, REQUEST, new_id
from domain.notification import FINAL, Channel, Status
from domain.ports import Broker, EmailProvider, Known, PushProvider, Sender
from domain.recipient import Device, Recipient
from domain.retry import RetryPolicy
from domain.template import Content, Template, TemplateVersion
from domain.views import NotificationView, Order
from tests.contracts.push_servers import RawServer, raw_server
from tests.contracts.smtp_servers import DOT, ScriptedServer, provider_for
from tests.faults.invariants import Checked, check
from tests.services.worker_world import REDRIVE, World, order_of_one
from workers.consumer import Worker, WorkerSettings
from workers.dispatcher import Dispatcher
from workers.email.service import EmailSender, EmailSettings
from workers.pacing import Pace
from workers.push.fcm import FcmProvider
from workers.push.service import PushSender
from workers.relay import Relay
from workers.resilience import Breaker, ProviderChain

NEVER_OPENS = 1_000_000
SOON = WorkerSettings(deadline=1.0)
"""For providers that say nothing. With all others a call is never cut off, however busy the machine is."""
CONTENT = Content(subject="Hello", text="World", title="Hello", body="World")
_OUR_ID = re.compile(rb"^Message-ID:\s*<(ntf_[^@]+)@", re.IGNORECASE | re.MULTILINE)


class Inbox(ScriptedServer):
    """A scripted mail server that knows which mails it took: those it said yes to, and those it never answered."""

    def __init__(self, script: Mapping[str, bytes | list[bytes]] | None = None, **settings: Any) -> None:
        super().__init__(script, **settings)
        self.taken: Counter[str] = Counter()
        self.at_once = self.most_at_once = 0

    def answer_from_now_on(self, verb: str, reply: bytes) -> None:
        """Change the script."""
        self._script[verb] = [reply]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await super()._serve(reader, writer)
        finally:
            self.at_once -= 1

    async def _answer(self, verb: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        if verb == DOT and (found := _OUR_ID.search(self.mails[-1])):
            reply = self._script[DOT][0]
            self.taken[found[1].decode()] += not reply.startswith((b"4", b"5"))
        return await super()._answer(verb, reader, writer)


class Reply(msgspec.Struct, frozen=True):
    """An HTTP answer of FCM's; `status` 0 says nothing, -1 ends the connection."""

    status: int
    body: dict[str, Any] = {}
    headers: dict[str, str] = {}

    def on_the_wire(self) -> bytes:
        content = json.dumps(self.body).encode()
        head = [f"HTTP/1.1 {self.status} x", f"content-length: {len(content)}"]
        head += [f"{name}: {value}" for name, value in self.headers.items()]
        return "\r\n".join([*head, "", ""]).encode() + content


NO_ANSWER, CUT_OFF, TAKEN, NAMELESS = Reply(0), Reply(-1), Reply(200, {"name": "projects/p/messages/1"}), Reply(200)


class Fcm:
    """An FCM that answers in turn as scripted, the last answer for ever; knows which notifications it took."""

    def __init__(self, *script: Reply) -> None:
        self.script = list(script) or [TAKEN]
        self.taken: Counter[str] = Counter()
        self.called: list[str] = []
        """The device tokens, in the order of the calls."""
        self.url = ""

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Fcm"]:
        """Listens on a free port for as long as the context lasts."""
        async with raw_server(self._serve) as server:
            self.url = server.url
            yield self

    async def _serve(self, server: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
            message = json.loads(await reader.readexactly(length))["message"]
            id = message["data"]["notification_id"]
            self.called.append(message["token"])
            reply = self.script.pop(0) if len(self.script) > 1 else self.script[0]
            self.taken[id] += reply.status <= 200
            if reply.status <= 0:
                if reply == NO_ANSWER:
                    await reader.read()  # until the client gives up
                return
            writer.write(reply.on_the_wire())


class NoTemplates:
    """Nobody asks: the content comes with the request."""

    async def published(self, key: str) -> Known[Template]:
        raise AssertionError(key)

    async def version(self, key: str, version: int) -> TemplateVersion:
        raise AssertionError(key)


def mail_sender(*providers: EmailProvider, paces: Mapping[str, Pace] | None = None, **breaker: Any) -> EmailSender:
    """The Email Service's way out, over these providers; their breakers never open unless told otherwise."""
    settings = EmailSettings(sender="no-reply@heliograph.test")
    return EmailSender(_chain(providers, breaker, paces), NoTemplates(), settings)


def push_sender(provider: PushProvider, **breaker: Any) -> PushSender:
    """The Push Service's, likewise."""
    return PushSender(_chain([provider], breaker), NoTemplates())


def _chain(
    providers: Sequence[Any], breaker: Mapping[str, Any], paces: Mapping[str, Pace] | None = None
) -> ProviderChain[Any]:
    settings = {"fail_max": NEVER_OPENS, **breaker}
    breakers = {provider.name: Breaker(provider.name, **settings) for provider in providers}
    return ProviderChain(providers, breakers, clock=lambda: datetime.now(UTC), paces=paces)


class Deliveries(World):
    """Dispatcher, relay and a worker a channel. `url` is that of the gateway database.

    `wrap` may put something around each port; without `senders` a scripted one takes everything.
    """

    def __init__(
        self,
        url: str,
        databases: Databases,
        senders: Mapping[Channel, Sender] | None = None,
        *,
        broker: Broker | None = None,
        wrap: Callable[[Any], Any] = lambda port: port,
        policy: RetryPolicy | None = None,
        settings: WorkerSettings | None = None,
    ) -> None:
        settings = settings or WorkerSettings()
        super().__init__(databases, settings)
        self.url = url
        self.broker = wrap(broker or self.broker)
        self.outbox, self.claims, self.status = wrap(self.outbox), wrap(self.claims), wrap(self.status)
        self.dispatcher = Dispatcher(self.outbox, self.broker, redrive=REDRIVE, poll=0.02)
        self.relay = Relay(self.broker, self.status, self.log, self.bell)
        policy = policy or RetryPolicy(schedule=(0.01, 0.01), jitter=0.0)
        self.workers = [
            Worker(channel, self.broker, self.claims, self.standings, sender, policy, settings)
            for channel, sender in (senders or dict.fromkeys(Channel, self.sender)).items()
        ]

    async def start(self) -> None:
        """Everything runs."""
        await self.broker.connect()
        self.relay.start()
        for worker in self.workers:
            worker.start()
        self.dispatcher.start()

    async def stop(self) -> None:
        """In the order in which a process stops its roles."""
        await self.dispatcher.stop()
        for worker in self.workers:
            await worker.stop(1.0)
        await self.relay.stop(1.0)
        await self.broker.close()

    async def accept_on(self, channel: Channel, count: int = 1, devices: int = 1, **changes: Any) -> list[str]:
        """Accept so many notifications to somebody with so many devices; their ids."""
        orders = [order_on(channel, devices, **changes) for _ in range(count)]
        await asyncio.gather(*(self.requests.accept(order) for order in orders))
        self.dispatcher.nudge()
        return [order.drafts[0].id for order in orders]

    async def ended(self, ids: Iterable[str]) -> dict[str, NotificationView]:
        """Wait until all have a final status; how they stand."""
        wanted = list(ids)
        await self.changes.until(lambda: all(FINAL.intersection(self.bell.rung.get(id, ())) for id in wanted))
        views = [await self.queries.notification(id) for id in wanted]
        return {view.id: view for view in views if view is not None}

    async def attempts_of(self, id: str) -> list[tuple[str, str | None]]:
        """Outcome and code of each attempt, the first one first."""
        return [(one.outcome.value, one.code) for one in (await self.queries.attempts([id])).get(id, [])]

    async def providers_of(self, id: str) -> list[tuple[int, str, str]]:
        """Number, provider and outcome of each call, the first one first."""
        calls = (await self.queries.attempts([id])).get(id, [])
        return [(one.number, one.provider, one.outcome.value) for one in calls]

    async def outcomes(self) -> Counter[str]:
        """How often each outcome is on record."""
        rows = await self.database.query("SELECT outcome, count(*) AS n FROM attempts GROUP BY outcome")
        return Counter({row["outcome"]: row["n"] for row in rows})

    async def until_failed(self, calls: int) -> None:
        """Wait until so many calls have failed."""
        await self.changes.until(lambda: sum(each.count(Status.RETRYING) for each in self.bell.rung.values()) >= calls)

    async def used(self, id: str) -> int:
        """How many attempts the retry policy has counted."""
        rows = await self.database.query("SELECT attempts_used FROM notifications WHERE id = $1", [id])
        return int(rows[0]["attempts_used"])


@asynccontextmanager
async def path_to(
    folder: Path, *servers: Inbox | Fcm, breaker: Mapping[str, Any] | None = None, **given: Any
) -> AsyncIterator[Deliveries]:
    """A whole path to these servers, one a channel, at work; its database is in `folder`.

    `breaker` is how the providers' breakers are set.
    """
    async with AsyncExitStack() as stack:
        senders: dict[Channel, Sender] = {}
        for server in servers:
            _ = await stack.enter_async_context(server.running())
            if isinstance(server, Inbox):
                mailer = provider_for(server.url(), pool_size=50)
                stack.push_async_callback(mailer.close)
                senders[Channel.EMAIL] = mail_sender(mailer, **breaker or {})
            else:
                fcm = FcmProvider(None, "p", url=server.url)
                stack.push_async_callback(fcm.close)
                senders[Channel.PUSH] = push_sender(fcm, **breaker or {})
        yield await stack.enter_async_context(path_by(folder, senders, **given))


@asynccontextmanager
async def path_by(folder: Path, senders: Mapping[Channel, Sender], **given: Any) -> AsyncIterator[Deliveries]:
    """A whole path by these senders, at work; its database is in `folder`."""
    url = f"sqlite://{folder}/gateway.db"
    async with migrated(url) as databases, running(Deliveries(url, databases, senders, **given)) as path:
        yield path


@asynccontextmanager
async def running(path: Deliveries) -> AsyncIterator[Deliveries]:
    """At work for as long as the context lasts."""
    try:
        await path.start()
        yield path
    finally:
        await path.stop()


@asynccontextmanager
async def migrated(url: str) -> AsyncIterator[Databases]:
    """A new gateway database."""
    databases = await Databases.open({"gateway": url})
    try:
        await databases.migrate()
        yield databases
    finally:
        await databases.close()


async def check_path(path: Deliveries, taken: Mapping[str, int]) -> Checked:
    """Every invariant holds, seen from the database and from those who took what was sent."""
    checked = await check(path.url, {id: count for id, count in taken.items() if count})
    assert checked.breaches == []
    return checked


def order_on(channel: Channel, devices: int = 1, **changes: Any) -> Order:
    """An order for one notification to somebody with an address and devices."""
    order = order_of_one()
    owned = tuple(Device(id=f"dev_{n}", token=f"token-of-dev_{n}") for n in range(1, devices + 1))
    recipient = Recipient(email="ada@example.com", devices=owned)
    draft = msgspec.structs.replace(
        order.drafts[0], id=new_id(NOTIFICATION), channel=channel, recipient=recipient, status=Status.ACCEPTED
    )
    id = new_id(REQUEST)
    return msgspec.structs.replace(order, id=id, request_id=id, content=CONTENT, drafts=(draft,), **changes)
