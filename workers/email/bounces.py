"""The bounce listener: takes the mail that comes back to our return paths and reports what it says.

A mail is answered with 250 once what it says is recorded, so that until then its sender keeps it. Mail that says
nothing (an answering machine's, somebody's), and mail to return paths that are not ours or too old, is taken and
dropped: refusing it would only make bounces of bounces.
"""

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry, Counter

from domain.callbacks import Callback, Callbacks
from domain.concurrency import shielded
from domain.errors import ConfigurationError, Unavailable
from domain.metrics import BOUNCE_MAILS
from workers.email.bounce_connection import BounceConnection
from workers.email.dsn import Report, reports_in
from workers.email.return_path import Doubt, ReturnPaths

log = logging.getLogger(__name__)

PROVIDER = "smtp"
"""Whom the reports are of: the provider whose mail has return paths."""
MAX_CONNECTIONS = 100
PARSED_AT_ONCE = 2
_RECORD_SECONDS = 15.0
_TAKEN = "250 2.0.0 OK"
_LATER = "451 4.3.0 It cannot be recorded now: try again later"
_NOBODY = "550 5.1.1 There is no such mailbox here"


class BounceListener:
    """Listens on `address` (host and port; 0 takes a free one) for mail to `paths`. `clock` gives aware times.

    `heliograph_bounce_mails_total` of `metrics` counts the mails by what became of each.
    """

    def __init__(
        self,
        address: tuple[str, int],
        paths: ReturnPaths,
        callbacks: Callbacks,
        *,
        metrics: CollectorRegistry | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._host, self._port = address
        self._paths = paths
        self._callbacks = callbacks
        self._clock = clock
        self._mails = Counter(BOUNCE_MAILS.name, BOUNCE_MAILS.help, BOUNCE_MAILS.labels, registry=metrics)
        self._connections: set[BounceConnection] = set()
        self._empty = asyncio.Event()
        self._parsing = asyncio.Semaphore(PARSED_AT_ONCE)
        self._server: asyncio.Server | None = None
        self._stopping = False

    @property
    def port(self) -> int:
        """The port that it listens on; the real one once it was started."""
        return self._port

    async def start(self) -> None:
        """Listen. Raises `ConfigurationError` when the address cannot be had."""
        # At INFO aiosmtpd logs every command with its address; addresses do not belong in logs.
        logging.getLogger("mail.log").setLevel(logging.WARNING)
        hostname = await asyncio.to_thread(socket.getfqdn)
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(lambda: BounceConnection(self, hostname), self._host, self._port)
        except OSError as error:
            what = f"cannot listen on {self._host}:{self._port} ({error.strerror})"
            raise ConfigurationError(f"HELIOGRAPH_BOUNCE_LISTEN: {what}.") from error
        self._port = self._server.sockets[0].getsockname()[1]

    async def stop(self, seconds: float = 10.0) -> None:
        """Take no more connections; mails that are on their way get their answer. May be called twice."""
        self._stopping = True
        if self._server is None:
            return
        self._server.close()
        for connection in list(self._connections):
            connection.say_goodbye()
        await self._emptied(seconds)
        for connection in list(self._connections):
            connection.abort()
        await self._server.wait_closed()
        self._server = None

    async def check(self) -> None:
        """Raises `Unavailable` unless it listens."""
        if self._server is None:
            raise Unavailable("The bounce listener does not listen.")

    async def receive(self, recipients: Sequence[str], content: bytes) -> str:
        """Record what a mail says; the SMTP reply to it."""
        async with self._parsing:
            named, reports = await asyncio.to_thread(self._understood, recipients, content)
        now = self._clock()
        callbacks = [_callback(id, report, now) for id in named for report in reports]
        if not callbacks:
            if named:
                self._count("nothing_said")
            return _TAKEN
        return await self._record(callbacks)

    async def _record(self, callbacks: Sequence[Callback]) -> str:
        try:
            async with asyncio.timeout(_RECORD_SECONDS):
                await shielded(self._callbacks.record(callbacks))
        except (Unavailable, TimeoutError) as error:
            log.warning("a bounce is put off, the database is away (%s)", type(error).__name__)
            return self._put_off()
        except Exception:
            log.exception("what %d bounces say could not be recorded", len(callbacks))
            return self._put_off()
        self._count("recorded")
        return _TAKEN

    def _put_off(self) -> str:
        self._count("put_off")
        return _LATER

    def _understood(self, recipients: Sequence[str], content: bytes) -> tuple[Sequence[str], Sequence[Report]]:
        named = self._named(recipients, content)
        return named, reports_in(content) if named else ()

    def _named(self, recipients: Sequence[str], content: bytes) -> tuple[str, ...]:
        """The notifications that a mail is about, each once."""
        now = self._clock()
        found: dict[str, None] = {}
        for recipient in dict.fromkeys(map(str.lower, recipients)):
            read = self._paths.read(recipient, now)
            if read is Doubt.PLAIN:
                read = self._paths.find(content, now)
            if isinstance(read, Doubt):
                self._count(read.value)
                log.info("a mail to a %s return path is dropped", read.value)
            else:
                found[read] = None
        return tuple(found)

    def _count(self, result: str) -> None:
        self._mails.labels(result).inc()

    async def _emptied(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                while self._connections:
                    self._empty.clear()
                    await self._empty.wait()
        except TimeoutError:
            log.warning("%d connections of the bounce listener did not end by themselves", len(self._connections))

    # ------------------------------------------------------------------------------------ what a connection asks for

    def enter(self, connection: BounceConnection) -> bool:
        """Whether there is room for it."""
        self._connections.add(connection)
        return not self._stopping and len(self._connections) <= MAX_CONNECTIONS

    def leave(self, connection: BounceConnection) -> None:
        """It has ended."""
        self._connections.discard(connection)
        if not self._connections:
            self._empty.set()

    def refusal(self, recipient: str) -> str | None:
        """We take mail for our own bounce address only, whatever follows its plus sign."""
        return _NOBODY if self._paths.read(recipient, self._clock()) is Doubt.STRANGE else None


def _callback(notification_id: str, report: Report, now: datetime) -> Callback:
    return Callback(
        notification_id=notification_id,
        kind=report.kind,
        occurred_at=now,
        provider=PROVIDER,
        permanent=report.permanent,
        code=report.code,
        reason=report.reason,
    )
