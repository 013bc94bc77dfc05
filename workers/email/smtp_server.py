"""Which mail server, and how a session with it comes about."""

import asyncio
import logging
import ssl
from typing import cast
from urllib.parse import parse_qsl, unquote, urlsplit

import aiosmtplib
import msgspec

from domain.errors import ConfigurationError
from workers.email.smtp_connection import ConnectError, Connection
from workers.email.smtp_limits import is_rate_limit

log = logging.getLogger(__name__)

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_START_TLS = {"if-offered": None, "required": True, "never": False}


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """Where the mail server is and how to talk to it. `start_tls` None: if it is offered."""

    host: str
    port: int
    username: str | None = None
    password: str | None = None
    implicit_tls: bool = False
    start_tls: bool | None = None
    verify: bool = True

    @classmethod
    def from_url(cls, url: str) -> "Server":
        """Read `smtp[s]://[user:password@]host[:port][?starttls=required|never][&verify=never]`.

        Certificates are verified unless `verify=never`, and a password is not sent in the clear to another machine
        unless `starttls=never`. Raises `ConfigurationError`, which does not repeat the password.
        """
        try:
            parts = urlsplit(url)
            port, options = parts.port, dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
            start_tls = _START_TLS[options.pop("starttls", "if-offered")]
            verify = {"required": True, "never": False}[options.pop("verify", "required")]
        except (ValueError, KeyError) as error:
            raise ConfigurationError("SMTP_URL has a port or an option that cannot be read.") from error
        if parts.scheme not in {"smtp", "smtps"} or not parts.hostname or options:
            raise ConfigurationError("SMTP_URL must look like smtp[s]://[user:password@]host[:port][?option=value].")
        if parts.username and start_tls is None and parts.hostname not in _LOOPBACK:
            start_tls = True
        secure = parts.scheme == "smtps"
        return cls(
            host=parts.hostname,
            port=port or (465 if secure else 25),
            username=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password else None,
            implicit_tls=secure,
            start_tls=False if secure else start_tls,
            verify=verify,
        )

    def tls_context(self) -> ssl.SSLContext | None:
        """The client context for all connections (making one takes longer than sending a mail); None without TLS."""
        if self.start_tls is False and not self.implicit_tls:
            return None
        context = ssl.create_default_context()
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


async def open_connection(
    server: Server, tls: ssl.SSLContext | None, *, greeting_name: str, patience: float
) -> Connection:
    """Connect, say EHLO, upgrade to TLS and log in as `server` says. Raises `ConnectError`.

    `patience` (seconds) is for each reply; the caller sets the deadline for all of it.
    """
    client = aiosmtplib.SMTP(
        hostname=server.host,
        port=server.port,
        username=server.username,
        password=server.password,
        local_hostname=greeting_name,
        timeout=patience,
        use_tls=server.implicit_tls,
        start_tls=server.start_tls,
        tls_context=tls,
    )
    try:
        await client.connect()
        if client.is_ehlo_or_helo_needed:
            await _greet(client)
        return _taken_over(client)
    except (aiosmtplib.SMTPException, OSError) as error:
        failure = _explained(error)
        log.info("no session with the mail server: %s %s (%s)", failure.code, failure, type(error).__name__)
        client.close()
        raise failure from error
    except BaseException:
        client.close()
        raise


async def _greet(client: aiosmtplib.SMTP) -> None:
    try:
        await client.ehlo()
    except aiosmtplib.SMTPHeloError:
        if not client.is_connected:
            raise
        await client.helo()


def _taken_over(client: aiosmtplib.SMTP) -> Connection:
    transport = client.transport
    if transport is None or transport.is_closing():
        raise aiosmtplib.SMTPServerDisconnected("closed after the greeting")
    opened_at = asyncio.get_running_loop().time()
    extensions = client.esmtp_extensions
    size = extensions.get("size", "").strip()
    max_size = int(size) if size.isascii() and size.isdigit() and len(size) < 20 else 0  # 0 is no limit at all
    connection = Connection(cast(asyncio.Transport, transport), frozenset(extensions), opened_at, max_size or None)
    transport.set_protocol(connection)
    return connection


def _explained(error: Exception) -> ConnectError:
    """Whatever goes wrong here is between us and our server, never the recipient's fault."""
    code = getattr(error, "code", None)
    match error:
        case aiosmtplib.SMTPAuthenticationError():
            return ConnectError("authentication_failed", f"The mail server refused our login ({code}).")
        case aiosmtplib.SMTPResponseException(code=-1):
            return ConnectError("malformed_reply", "The mail server's reply was not SMTP.")
        case aiosmtplib.SMTPResponseException():
            limited = code is not None and is_rate_limit(code, getattr(error, "message", ""))
            return ConnectError("connection_refused", f"The mail server turned us away ({code}).", rate_limited=limited)
        case aiosmtplib.SMTPTimeoutError():
            return ConnectError("timeout", "The mail server did not answer in time.")
        case _ if isinstance(error, ssl.SSLError) or isinstance(error.__cause__, ssl.SSLError):
            return ConnectError("tls_failed", "No trusted encryption could be agreed on with the mail server.")
        case OSError():
            return ConnectError("connect_failed", "The mail server could not be reached.")
        case _:
            return ConnectError("not_offered", "The mail server does not offer the encryption or login that we need.")
