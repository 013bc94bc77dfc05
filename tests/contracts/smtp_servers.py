"""A mail server on a raw socket that keeps to a script: by the book, except where a test says otherwise."""

import asyncio
import ssl
from base64 import b64decode
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from domain.outgoing import Answer, File, OutgoingEmail
from workers.email.mime_files import base64_lines
from workers.email.smtp import SmtpProvider

DEADLINE = 10.0
LONGEST_MAIL = 32 * 1024 * 1024
DOT = "CONTENT"
HANG = b"hang"
DROP = b"drop"
BY_THE_BOOK = {
    "GREETING": b"220 script ESMTP",
    "MAIL": b"250 2.1.0 OK",
    "RCPT": b"250 2.1.5 OK",
    "DATA": b"354 go on",
    "CONTENT": b"250 2.0.0 queued",
    "RSET": b"250 2.0.0 OK",
    "AUTH": b"235 2.7.0 welcome",
    "STARTTLS": b"220 go on",
    "QUIT": b"221 bye",
}


class ScriptedServer:
    """Answers each command as `script` says: one reply, or a list of replies in turn, the last one for ever.

    A reply is bytes without the last CRLF; HANG says nothing more, DROP ends the connection. CONTENT is the reply to
    the final dot. `extensions` are offered after EHLO; with PIPELINING the server says nothing about a mail until
    MAIL, RCPT and DATA are all there, so that a client that waits in between would wait for ever.
    """

    def __init__(
        self,
        script: Mapping[str, bytes | list[bytes]] | None = None,
        *,
        extensions: tuple[str, ...] = (),
        tls: ssl.SSLContext | None = None,
        implicit_tls: bool = False,
    ) -> None:
        self.commands: list[str] = []
        self.mails: list[bytes] = []
        self.logins: list[bytes] = []
        self.connections = 0
        self.encrypted = 0
        self.port = 0
        self.heard: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._script = {verb: [reply] for verb, reply in BY_THE_BOOK.items()}
        for verb, replies in (script or {}).items():
            self._script[verb] = [replies] if isinstance(replies, bytes) else list(replies)
        self._extensions = extensions
        self._tls = tls
        self._implicit_tls = implicit_tls
        self._open: dict[asyncio.WriteTransport, asyncio.Event] = {}

    @asynccontextmanager
    async def running(self) -> AsyncIterator["ScriptedServer"]:
        """Listens on a free port for as long as the context lasts."""
        tls = self._tls if self._implicit_tls else None
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=tls, limit=LONGEST_MAIL)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for transport in list(self._open):
                transport.abort()
            await self.all_gone()

    def url(self, options: str = "", login: str = "", scheme: str = "smtp") -> str:
        """Where it is."""
        return f"{scheme}://{login}127.0.0.1:{self.port}{options}"

    def say(self, line: bytes) -> None:
        """Speak out of turn on every connection."""
        for transport in self._open:
            transport.write(line + b"\r\n")

    def hang_up(self) -> None:
        """End every connection."""
        for transport in self._open:
            transport.close()

    async def all_gone(self) -> None:
        """Wait until no connection is left."""
        await asyncio.gather(*(gone.wait() for gone in list(self._open.values())))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        transport = writer.transport
        self._open[transport] = asyncio.Event()
        try:
            await self._answer("GREETING", reader, writer)
            while await self._converse(reader, writer) == "STARTTLS":
                reader, writer = await self._encrypt(transport)
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass  # the client has gone
        finally:
            writer.close()
            transport.close()
            self._open.pop(transport).set()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
        """Answer commands up to one after which nothing is as before, which is returned."""
        held: list[str] = []
        while True:
            line = (await reader.readuntil(b"\r\n")).decode().rstrip("\r\n")
            verb = line.partition(" ")[0].upper()
            self.commands.append(line)
            self.heard[verb].set()
            if verb == "EHLO":
                offers = "".join(f"250-{name}\r\n" for name in ("script", *self._extensions))
                writer.write(f"{offers}250 HELP\r\n".encode())
                continue
            if verb == "AUTH":
                self.logins.append(b64decode(line.split(" ")[2]))
            held.append(verb)
            if "PIPELINING" in self._extensions and verb in {"RSET", "MAIL", "RCPT"}:
                continue
            for waiting in held:
                await self._act(waiting, reader, writer)
            held.clear()
            if verb in {"QUIT", "STARTTLS"}:
                return verb

    async def _act(self, verb: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reply = await self._answer(verb, reader, writer)
        if verb == "DATA" and reply.startswith(b"354"):
            mail = await reader.readuntil(b"\r\n.\r\n")
            self.mails.append(mail.removesuffix(b".\r\n"))
            await self._answer("CONTENT", reader, writer)

    async def _encrypt(self, plain: asyncio.WriteTransport) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Streams over TLS. `StreamWriter.start_tls` cannot cope with a client that refuses (Python 3.11)."""
        assert self._tls is not None
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=LONGEST_MAIL)
        protocol = asyncio.StreamReaderProtocol(reader)
        encrypted = await loop.start_tls(plain, protocol, self._tls, server_side=True)
        if encrypted is None:
            raise ConnectionResetError("the client refused")
        protocol.connection_made(encrypted)
        self.encrypted += 1
        return reader, asyncio.StreamWriter(encrypted, protocol, reader, loop)

    async def _answer(self, verb: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        replies = self._script[verb]
        reply = replies.pop(0) if len(replies) > 1 else replies[0]
        if reply == HANG:
            await reader.read()  # until the client gives up
        if reply in (HANG, DROP):
            raise ConnectionResetError("by the script")
        writer.write(reply + b"\r\n")
        await writer.drain()
        return reply


def self_signed(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The server's TLS context with a fresh certificate for 127.0.0.1, and a client's that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    chain = folder / "server.pem"
    chain.write_bytes(secret + pem)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(chain)
    return server, ssl.create_default_context(cadata=pem.decode())


def mail(to: str = "ada.lovelace@example.com", number: int = 1, **changes: Any) -> OutgoingEmail:
    fields: dict[str, Any] = {
        "to": to,
        "to_name": "Ada Lovelace",
        "sender": "no-reply@heliograph.test",
        "sender_name": "Heliograph",
        "subject": "Grüße",
        "html": "<p>Hello</p>\n",
        "text": "Hello\n.\n..dots\n",
        "message_id": f"<ntf_{number}@heliograph.test>",
        "notification_id": f"ntf_{number}",
    }
    return OutgoingEmail(**(fields | changes))


def file(filename: str, content: bytes = b"%PDF-1.7\r\n.\r\n", content_type: str = "application/pdf") -> File:
    """A file as the Email Service hands it to a provider."""
    return File(filename=filename, content_type=content_type, content=content, lines=tuple(base64_lines(content)))


def provider_for(url: str, **settings: Any) -> SmtpProvider:
    return SmtpProvider(url, greeting_name="client.test", **settings)


async def send_to(server: ScriptedServer, *, deadline: float = DEADLINE, scheme: str = "smtp") -> Answer:
    """One mail through a provider of its own."""
    provider = provider_for(server.url(scheme=scheme))
    try:
        return await provider.send(mail(), deadline)
    finally:
        await provider.close()
