"""A local mailbox that keeps what it gets, so that the embedded default and the tests send real SMTP.

Addresses at `sandbox.heliograph.test` choose what becomes of a mail: `workers.sandbox.fates`.
"""

import asyncio
import logging
from collections import OrderedDict
from itertools import islice

from aiosmtpd.smtp import Envelope

from workers.sandbox.afterwards import Afterwards
from workers.sandbox.mail import KeptMail, SandboxMail
from workers.sandbox.smtp_server import Fates, MailConnection

CAPACITY = 1_000
MAX_BYTES = 64 * 1024 * 1024


class Mailbox:
    """Listens on `host` and `port` (0 takes a free one) and keeps the newest mails in memory.

    It keeps up to `capacity` of them, and up to `max_bytes` of them together: the oldest go first.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        capacity: int = CAPACITY,
        *,
        max_bytes: int = MAX_BYTES,
        afterwards: Afterwards | None = None,
    ) -> None:
        self._host = host
        self._port = port
        self._capacity, self._max_bytes = capacity, max_bytes
        self._kept: OrderedDict[str, KeptMail] = OrderedDict()
        self._bytes = 0
        self._handler = Fates(self._keep, afterwards or Afterwards())
        self._server: asyncio.Server | None = None
        self._connections: set[MailConnection] = set()
        self.count = 0
        """How many mails were taken since the start, those included that are no longer kept."""

    @property
    def port(self) -> int:
        """The port that it listens on; the real one once it was started."""
        return self._port

    @property
    def url(self) -> str:
        """What `SmtpProvider` wants to know."""
        return f"smtp://{f'[{self._host}]' if ':' in self._host else self._host}:{self._port}?starttls=never"

    async def start(self) -> None:
        """Listen. Raises `OSError` when the port is taken."""
        # At INFO aiosmtpd logs every command with its address; addresses do not belong in logs.
        logging.getLogger("mail.log").setLevel(logging.WARNING)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: MailConnection(self._handler, self._connections, loop), self._host, self._port
        )
        self._port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening and end all connections. What was kept stays readable. May be called twice."""
        if self._server is None:
            return
        self._server.close()
        for connection in list(self._connections):
            connection.abort()
        await self._server.wait_closed()
        self._server = None

    def messages(self, limit: int = 50) -> list[SandboxMail]:
        """The newest mails first, at most `limit`. A mail is parsed when it is first asked for."""
        return [kept.mail for kept in islice(reversed(self._kept.values()), limit)]

    @property
    def kept(self) -> list[KeptMail]:
        """The newest mails first, as they came. A copy."""
        return list(reversed(self._kept.values()))

    def find(self, id: str) -> KeptMail | None:
        """A mail that is still kept."""
        return self._kept.get(id)

    def clear(self) -> None:
        """Forget all mails."""
        self._kept.clear()
        self._bytes = 0

    def _keep(self, envelope: Envelope) -> None:
        self.count += 1
        mail = KeptMail(envelope)
        self._kept[mail.id] = mail
        self._bytes += len(mail.raw)
        while len(self._kept) > self._capacity or self._bytes > self._max_bytes:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= len(oldest.raw)
