"""Fetching a file from a URL that a stranger chose: from the public internet only, so much and no more, in time.

httpcore, which httpx is made of, is asked directly, because it lets us choose whom a name leads to. A name is looked up
once, what it leads to is looked at, and the connection goes to the very address that was looked at: no second look-up
is left for which the name could mean something else (DNS rebinding). TLS still checks the certificate for the name.
There are no redirects, proxies, cookies or compressed answers here.
"""

import asyncio
import socket
import ssl
import time
from collections.abc import Collection, Iterable
from concurrent.futures import ThreadPoolExecutor

import httpcore
import httpx
import msgspec

from domain.attachments import served_type, url_problem
from domain.notification import Outcome
from domain.urls import is_public_address
from workers.http_answer import asked_to_wait

CONNECTIONS = 8
"""Files that are fetched at once, by all mails of a worker."""
CONNECT_SECONDS = 5.0
IDLE_SECONDS = 30.0
_ADDRESSES = 3
_GONE = frozenset({404, 410})
_LATER = frozenset({408, 425, 429})


class Fetched(msgspec.Struct, frozen=True):
    """A file as it came."""

    content: bytes
    content_type: str


class FetchError(Exception):
    """It did not come. `what` ends a sentence that begins with the file; with TRANSIENT it may come another time."""

    def __init__(self, outcome: Outcome, code: str, what: str, retry_after: float | None = None) -> None:
        self.outcome, self.code, self.what, self.retry_after = outcome, code, what, retry_after
        super().__init__(what)


class NotPublicError(Exception):
    """A name leads to somebody's own network."""


class PublicOnly(httpcore.AsyncNetworkBackend):
    """Connects to addresses of the public internet, and to wherever `hosts` (each a host, or `host:port`) lead."""

    def __init__(self, hosts: Collection[str]) -> None:
        self._hosts = hosts
        self._inner = httpcore.AnyIOBackend()
        self._resolver = ThreadPoolExecutor(max_workers=4, thread_name_prefix="attachments:dns")

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's interface
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """As httpcore wants it. Raises `NotPublicError`, or what httpcore raises."""
        failure: Exception | None = None
        for address in (await self._addresses(host, port))[:_ADDRESSES]:
            try:
                return await self._inner.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure or httpcore.ConnectError("the name has no address")

    async def _addresses(self, host: str, port: int) -> list[str]:
        """Where the name leads to. One private address among public ones is one too many."""
        loop = asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(self._resolver, _looked_up, host, port)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError("the name could not be looked up") from error
        if host in self._hosts or f"{host}:{port}" in self._hosts or all(map(is_public_address, found)):
            return found
        raise NotPublicError

    def close(self) -> None:
        """Let go of the threads. May be called twice."""
        self._resolver.shutdown(wait=False, cancel_futures=True)


class Fetcher:
    """Fetches files. `hosts` may be anywhere and need no TLS. `tls` replaces the default context.

    Opens no socket before the first file.
    """

    def __init__(self, hosts: Collection[str] = (), *, tls: ssl.SSLContext | None = None) -> None:
        self._hosts = hosts
        self._network = PublicOnly(hosts)
        self._tls = tls
        self._pool: httpcore.AsyncConnectionPool | None = None

    async def fetch(self, url: str, limit: int, deadline: float) -> Fetched:
        """The file, of `limit` bytes at most, within `deadline` seconds. Raises `FetchError`, and nothing else."""
        if (problem := url_problem(url, self._hosts)) is not None:
            raise _refused(f"has a URL that {problem}")
        try:
            async with asyncio.timeout(deadline):
                return await self._fetch(_core_url(url), limit)
        except (TimeoutError, httpcore.TimeoutException):
            raise _unavailable("did not come in time") from None
        except NotPublicError:
            raise _refused("is at a host that is not on the public internet") from None
        except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
            raise _unavailable("could not be fetched: the connection failed") from error
        except (httpcore.UnsupportedProtocol, httpx.InvalidURL, UnicodeError) as error:
            raise _refused("has a URL that cannot be fetched") from error

    async def close(self) -> None:
        """Let go of connections. May be called twice."""
        self._network.close()
        if self._pool is not None:
            await self._pool.aclose()

    async def _fetch(self, url: httpcore.URL, limit: int) -> Fetched:
        headers = {"accept": "*/*", "accept-encoding": "identity", "user-agent": "Heliograph"}
        extensions = {"timeout": {"connect": CONNECT_SECONDS}}
        async with self._connections().stream(
            "GET", url, headers=list(headers.items()), extensions=extensions
        ) as reply:
            said = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in reply.headers}
            _check(reply.status, said, limit)
            content = bytearray()
            async for chunk in reply.aiter_stream():
                content += chunk
                if len(content) > limit:
                    raise _too_large(limit)
        return Fetched(bytes(content), served_type(said.get("content-type", "")))

    def _connections(self) -> httpcore.AsyncConnectionPool:
        if self._pool is None:
            self._pool = httpcore.AsyncConnectionPool(
                ssl_context=self._tls or ssl.create_default_context(),
                max_connections=CONNECTIONS,
                keepalive_expiry=IDLE_SECONDS,
                network_backend=self._network,
            )
        return self._pool


def _looked_up(host: str, port: int) -> list[str]:
    """In the resolver's order, each once; IPv6 only where this machine has it."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    return list(dict.fromkeys(str(one[4][0]) for one in found))


def _core_url(url: str) -> httpcore.URL:
    """With its host in ASCII (IDNA) and its path percent-encoded."""
    parsed = httpx.URL(url)
    return httpcore.URL(scheme=parsed.raw_scheme, host=parsed.raw_host, port=parsed.port, target=parsed.raw_path)


def _check(status: int, headers: dict[str, str], limit: int) -> None:
    """Raises `FetchError` for an answer that is no file, or one that says that it is too long."""
    if status in _GONE:
        raise FetchError(Outcome.PERMANENT, "attachment_gone", f"is not there any more ({status})")
    if status in _LATER or status >= 500:
        wait = asked_to_wait(headers, time.time())
        raise _unavailable(f"cannot be had now: its server answered {status}", wait)
    if 300 <= status < 400:
        raise _refused(f"is somewhere else ({status}), and redirects are not followed")
    if status != 200:
        raise _refused(f"is not given to us: its server answered {status}")
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise _refused("comes compressed though that was not asked for")
    length = headers.get("content-length", "")
    if length.isascii() and length.isdigit() and (len(length) > 15 or int(length) > limit):
        raise _too_large(limit)


def _too_large(limit: int) -> FetchError:
    return FetchError(Outcome.PERMANENT, "attachment_too_large", f"is larger than {limit:,} bytes")


def _refused(what: str) -> FetchError:
    return FetchError(Outcome.PERMANENT, "attachment_refused", what)


def _unavailable(what: str, retry_after: float | None = None) -> FetchError:
    return FetchError(Outcome.TRANSIENT, "attachment_unavailable", what, retry_after)
