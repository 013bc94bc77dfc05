"""What push providers are tested against: servers on the loopback interface, certificates and keys."""

import asyncio
import datetime
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from starlette.applications import Starlette

from domain.outgoing import OutgoingPush, PushOptions
from domain.recipient import Device
from workers.sandbox.server import LocalServer

DEADLINE = 10.0
SHORT = 0.3
"""For calls that are meant to run out of time."""

OK = b'HTTP/1.1 200 OK\r\ncontent-length: 17\r\n\r\n{"name": "p/m/1"}'


def push(token: str = "a-device-token", id: str = "ntf_1", **options: Any) -> OutgoingPush:
    device = Device(id="dev_1", token=token)
    return OutgoingPush(device=device, title="Hello", body="Grüße", options=PushOptions(**options), notification_id=id)


class RawServer:
    """A server that plays a handler, and counts."""

    def __init__(self, handler: "Callable[[RawServer, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]"):
        self._handler = handler
        self._writers: set[asyncio.StreamWriter] = set()
        self.url = ""
        self.connections = 0
        self.requests = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.connections += 1
        self._writers.add(writer)
        try:
            await self._handler(self, reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    def drop_connections(self) -> None:
        """As a server does with idle connections."""
        for writer in self._writers:
            writer.close()


def canned(answer: bytes, *, close: bool = False) -> Any:
    """A handler that gives the same answer to every request; an empty one never comes."""

    async def handler(server: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]))
            server.requests += 1
            writer.write(answer)
            await writer.drain()
            if close or b"connection: close" in answer:
                return

    return handler


@asynccontextmanager
async def raw_server(handler: Any, tls: ssl.SSLContext | None = None) -> AsyncIterator[RawServer]:
    raw = RawServer(handler)
    listening = await asyncio.start_server(raw.serve, "127.0.0.1", 0, ssl=tls)
    raw.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    async with listening:
        yield raw
        raw.drop_connections()


@asynccontextmanager
async def served(app: Starlette) -> AsyncIterator[LocalServer]:
    server = LocalServer(app, "127.0.0.1", 0)
    await server.start()
    yield server
    await server.stop()


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what other tasks bring about."""
    async with asyncio.timeout(DEADLINE):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.005)


def service_account(folder: Path, token_uri: str) -> str:
    """The path of a service account's key, as the Firebase console hands it out."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    content = {
        "type": "service_account",
        "project_id": "demo",
        "private_key_id": "1",
        "private_key": pem(key),
        "client_email": "push@demo.example",
        "token_uri": token_uri,
    }
    path = folder / "service-account.json"
    path.write_text(json.dumps(content))
    return str(path)


def self_signed(folder: Path) -> tuple[str, str]:
    """The paths of a certificate for localhost and of its key."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "tls.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "tls.key").write_text(pem(key))
    return str(folder / "tls.pem"), str(folder / "tls.key")


def pem(key: rsa.RSAPrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
