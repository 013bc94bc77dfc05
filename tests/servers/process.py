"""`ServerProcess`: the life of one private server."""

import atexit
import os
import shutil
import signal
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from tests.servers import guard, tree


class ServerError(RuntimeError):
    """A server did not start or stop; the message ends with the last lines of its log."""


class ServerProcess(ABC):
    """A server on loopback with its data in a directory of its own, removed by `close`.

    `start` returns when the server answers. After `stop` (in order) or `kill` (SIGKILL to every process of it, as in a
    crash) `start` brings it back on the same ports with the same data. `pause` and `resume` freeze and thaw all of it:
    connections stay open and nobody answers.
    """

    name: ClassVar[str]
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix=f"heliograph-{self.name}-"))
        self.log_file = self.directory / "server.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._paused = False
        guard.watch(self.directory)
        atexit.register(self.close)

    @property
    @abstractmethod
    def url(self) -> str:
        """Where clients connect."""

    @abstractmethod
    def prepare(self) -> None:
        """Write the configuration and make the data directory. Called before each start; keeps existing data."""

    @abstractmethod
    def command(self) -> list[str]:
        """The command line that runs the server in the foreground."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Whether the server, which runs, answers clients by now. Quick, and never raises."""

    def environment(self) -> Mapping[str, str]:
        """Variables for the server, on top of ours."""
        return {}

    def account(self) -> str | None:
        """The user to run as; None: whoever we are."""
        return None

    @property
    def pid(self) -> int | None:
        """The server's first process, while it runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self, *, timeout: float = 60.0) -> Self:
        """Start the server and wait until it answers. Does nothing to a running one."""
        if self.pid is None:
            self.prepare()
            self._launch()
            self.wait_ready(timeout=timeout)
        return self

    def wait_ready(self, *, timeout: float = 60.0) -> None:
        """Wait until the server answers; `ServerError` when it ends instead, or takes longer than `timeout`."""
        deadline = time.monotonic() + timeout
        while not self.is_ready():
            if self.pid is None:
                raise self._error("ended while starting")
            if time.monotonic() > deadline:
                raise self._error(f"does not answer after {timeout:g} s")
            time.sleep(0.02)

    def stop(self, *, timeout: float = 30.0) -> None:
        """Shut down in order. A server that takes longer than `timeout` is killed and reported."""
        pid = self.pid
        if pid is None:
            return
        self.resume()
        family = tree.descendants(pid)
        os.kill(pid, self.stop_signal)
        overdue = not self._ends_within(timeout)
        self._bury(family)
        if overdue:
            raise self._error(f"had to be killed: it did not stop within {timeout:g} s")

    def kill(self) -> None:
        """End every process of the server at once, as a crash would."""
        if self.pid is not None:
            self._bury([])

    def pause(self) -> None:
        """Freeze every process of the server."""
        if self.pid is not None:
            tree.freeze(self.pid)
            self._paused = True

    def resume(self) -> None:
        """Undo `pause`."""
        if self._paused and self.pid is not None:
            tree.thaw(self.pid)
        self._paused = False

    def close(self) -> None:
        """End the server, if it runs, and remove its directory. Its data is thrown away, so there is no shutdown."""
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)
        guard.forget(self.directory)
        atexit.unregister(self.close)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _launch(self) -> None:
        account = self.account()
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                self.command(),
                cwd=self.directory,
                env={**os.environ, **self.environment()},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C at the terminal is for us alone
                user=account,
                group=account,
                extra_groups=None if account is None else [],
            )
        guard.watch(self.directory, self._process.pid)

    def _ends_within(self, timeout: float) -> bool:
        assert self._process is not None
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout)
        return self.pid is None

    def _bury(self, family: list[int]) -> None:
        """Kill what is left of the server and of `family`, and take note of its end."""
        assert self._process is not None
        pid = self._process.pid
        running = [] if self.pid is None else tree.freeze(pid)
        tree.kill_all({*running, *family})
        self._process.wait()
        self._process, self._paused = None, False
        guard.forget(self.directory, pid)

    def _error(self, problem: str) -> ServerError:
        lines = self.log_file.read_text(errors="replace").splitlines() if self.log_file.exists() else []
        return ServerError("\n  ".join([f"{self.name} {problem}. The end of its log:", *(lines[-40:] or ["(empty)"])]))
