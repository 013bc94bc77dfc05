"""An ASGI application on a port of its own, on our event loop: uvicorn without its hold on the process."""

import asyncio
import contextlib
import socket
from collections.abc import Generator

import uvicorn
from starlette.types import ASGIApp

from domain.concurrency import Tasks

GRACE_SECONDS = 1


class _Server(uvicorn.Server):
    """Leaves the signals to the process that it runs in, and says when it has started."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # A request that hangs then sees its client go, instead of being cancelled with a traceback in the log.
        dropping = asyncio.get_running_loop().call_later(GRACE_SECONDS, self._drop_connections)
        try:
            await super().shutdown(sockets)
        finally:
            dropping.cancel()

    def _drop_connections(self) -> None:
        for connection in list(self.server_state.connections):
            connection.transport.abort()


class LocalServer:
    """Serves `app` until it is stopped. `host` is an address to listen on; port 0 takes a free one."""

    def __init__(self, app: ASGIApp, host: str, port: int) -> None:
        self._app = app
        self._host = host
        self._port = port
        self._server: _Server | None = None
        self._tasks = Tasks()

    @property
    def port(self) -> int:
        """The port that it listens on; the real one once it was started."""
        return self._port

    @property
    def url(self) -> str:
        """Where it is to be found, without a slash at the end."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    async def start(self) -> None:
        """Listen. Returns when connections are answered; raises `OSError` when the port is taken."""
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        listener = socket.create_server((self._host, self._port), family=family)
        # asyncio sets it only on sockets that name their protocol; without it an answer may wait 40 ms for an ACK.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._port = listener.getsockname()[1]
        config = uvicorn.Config(
            self._app,
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            timeout_graceful_shutdown=2 * GRACE_SECONDS,
        )
        self._server = _Server(config)
        serving = self._tasks.start("local-server", self._server.serve(sockets=[listener]))
        serving.add_done_callback(lambda _: listener.close())
        await self._server.ready.wait()

    async def stop(self) -> None:
        """Stop listening; what is not answered within a second is dropped. May be called twice."""
        if self._server is not None:
            self._server.should_exit = True
            await self._tasks.drain(4 * GRACE_SECONDS)
            self._server = None
