"""Serving HTTP and WebSocket: uvicorn on our own event loop, with our own signals.

SIGTERM and SIGINT stop a process in order: no new connections, sockets closed with 1012, streams ended, what is in
flight finished within a bound. A second signal ends it at once.

A client that takes nothing of what it is sent is dropped: it would hold its answer for ever.
"""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Iterator
from functools import partial

import uvicorn
from starlette.types import ASGIApp

from api.connections import HttpConnection, SocketConnection
from api.stopping import STOPPING, Stopping
from api.turnstile import Turnstile
from domain.errors import ConfigurationError

MAX_SOCKET_MESSAGE = 64 * 1024
KEEP_ALIVE_SECONDS = 30
BACKLOG = 2048
STALLED_SECONDS = 30
"""How long a client may take nothing. It is the system that counts (Linux only; elsewhere TCP's own patience holds)."""


class Server:
    """Serves `app` on `host` and `port` (0 takes a free one)."""

    def __init__(self, app: ASGIApp, host: str, port: int, *, grace: int = 5) -> None:
        config = uvicorn.Config(
            app,
            host=host,
            port=port,
            loop="none",
            http=partial(HttpConnection, turnstile=Turnstile()),  # type: ignore[arg-type]  # only ever called
            ws=SocketConnection,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=grace,
            ws_max_size=MAX_SOCKET_MESSAGE,
            ws_per_message_deflate=False,
            ws_ping_interval=20.0,
            ws_ping_timeout=20.0,
            backlog=BACKLOG,
        )
        self._host, self._port = host, port
        self._server = _Quiet(config)
        self._socket: socket.socket | None = None
        self._serving: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """The real port once it was started."""
        return self._socket.getsockname()[1] if self._socket else self._port

    async def start(self) -> None:
        """Listen and serve. Raises `ConfigurationError` when the port is taken."""
        try:
            self._socket = socket.create_server((self._host, self._port), backlog=BACKLOG)
            # Connections inherit it. On a socket that it did not make itself, asyncio does not set it.
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if (user_timeout := getattr(socket, "TCP_USER_TIMEOUT", None)) is not None:
                self._socket.setsockopt(socket.IPPROTO_TCP, user_timeout, STALLED_SECONDS * 1000)
        except OSError as error:
            raise ConfigurationError(
                f"Port {self._port} on {self._host} cannot be listened on ({error.strerror}): set PORT to another one."
            ) from error
        self._serving = asyncio.create_task(self._server.serve([self._socket]), name="http")
        await self._server.ready.wait()

    async def stop(self) -> None:
        """Stop within the grace period. May be called twice."""
        if self._serving is None:
            return
        self._server.begin_stopping()
        await self._serving
        self._serving = None


class _Quiet(uvicorn.Server):
    """Leaves the signals to us, and says when it has started."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()
        self._stopping = Stopping()

    def begin_stopping(self) -> None:
        """Tell the answers that have no end, and stop. May be called twice."""
        self._stopping.begin()
        self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        # Each request has a copy of this state.
        self.lifespan.state[STOPPING] = self._stopping
        await super().startup(sockets)
        self.ready.set()


async def until_signalled() -> None:
    """Return at the first SIGTERM or SIGINT; the second one ends the process as usual."""
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()

    def stop(number: int) -> None:
        stopped.set()
        loop.remove_signal_handler(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)
    await stopped.wait()
