"""SMTP (RFC 5321) as a provider: one recipient a mail, pooled connections, every reply classified."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from datetime import UTC, datetime

from domain.notification import Outcome
from domain.outgoing import Answer, OutgoingEmail
from workers.email.smtp_connection import Connection, SmtpError
from workers.email.smtp_delivery import Delivery, Envelope, Sign
from workers.email.smtp_pool import ConnectionPool
from workers.email.smtp_server import Server, open_connection


class _StaleConnectionError(Exception):
    """A pooled connection had died while it was idle; nothing of this mail was heard by anybody."""


class SmtpProvider:
    """Sends mail through the server that `url` names (see `Server.from_url`). Opens no socket until it must.

    `pool_size` connections at most: with a server that takes 20 ms a reply, each carries about 12 mails a second. A
    connection is given up after `max_messages` mails or `max_age` seconds. `connect_timeout` (seconds) is for each
    reply while a session is set up. `tls_context` replaces the default one, `greeting_name` what we call ourselves.
    `sign` puts a signature on a mail (see `DkimSigner.signed`); it runs in a thread.
    """

    def __init__(
        self,
        url: str,
        *,
        name: str = "smtp",
        pool_size: int = 10,
        max_messages: int = 100,
        max_age: float = 60.0,
        connect_timeout: float = 10.0,
        tls_context: ssl.SSLContext | None = None,
        greeting_name: str | None = None,
        sign: Sign | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.name = name
        self._server = Server.from_url(url)
        self._tls = tls_context or self._server.tls_context()
        self._greeting_name = greeting_name
        self._sign = sign
        self._connect_timeout = connect_timeout
        self._clock = clock
        self._pool = ConnectionPool(self._connect, size=pool_size, max_messages=max_messages, max_age=max_age)

    async def send(self, mail: OutgoingEmail, deadline: float) -> Answer:
        """One mail to one recipient within `deadline` seconds. The Message-ID is the provider's id for it."""
        ends_at = asyncio.get_running_loop().time() + deadline
        try:
            envelope = await self._written(mail)
        except ValueError as error:
            return Answer(outcome=Outcome.PERMANENT, code="unsendable", detail=f"It cannot be mailed: {error}")
        delivery = Delivery(mail, envelope)
        try:
            async with asyncio.timeout_at(ends_at):
                return await self._deliver(delivery)
        except TimeoutError:
            return delivery.broken_off(SmtpError("timeout", "The mail server did not answer in time."))
        except SmtpError as failure:
            return delivery.broken_off(failure)

    async def close(self) -> None:
        """Let go of the connections; a mail that is under way still gets its answer. May be called twice."""
        await self._pool.close()

    async def _written(self, mail: OutgoingEmail) -> Envelope:
        """Writing takes microseconds; signing takes milliseconds, and so do files."""
        if self._sign is None and not mail.files:
            return Envelope.of(mail, self._clock())
        return await asyncio.to_thread(Envelope.of, mail, self._clock(), self._sign)

    async def _deliver(self, delivery: Delivery) -> Answer:
        try:
            return await self._attempt(delivery)
        except _StaleConnectionError:
            return await self._attempt(delivery, fresh=True)

    async def _attempt(self, delivery: Delivery, *, fresh: bool = False) -> Answer:
        async with self._pool.lease(fresh=fresh) as connection:
            try:
                return await delivery.over(connection)
            except SmtpError as failure:
                if connection.mails and not delivery.answered:
                    raise _StaleConnectionError from failure
                raise

    async def _connect(self) -> Connection:
        if self._greeting_name is None:
            self._greeting_name = await asyncio.to_thread(socket.getfqdn)
        return await open_connection(
            self._server, self._tls, greeting_name=self._greeting_name, patience=self._connect_timeout
        )
