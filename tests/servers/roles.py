"""Heliograph's roles as processes, the way users start them, and what each of them costs."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

READY_SECONDS = 60.0
STOP_SECONDS = 15.0
API_KEY = "hg_9f3c1b7de24a60588c1d4e7fa3b2d9e1"


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Process:
    """One role, or one helper, as a process of its own."""

    def __init__(self, name: str, command: Sequence[str], env: Mapping[str, str], log: Path, port: int) -> None:
        self.name, self.port = name, port
        self._log = log.open("ab")
        self._process = subprocess.Popen(command, env={**os.environ, **env}, stdout=self._log, stderr=self._log)

    def wait_ready(self) -> None:
        """Return when `/health/ready` says 200; raises `RuntimeError` with the log's place otherwise."""
        ends_at = time.monotonic() + READY_SECONDS
        while time.monotonic() < ends_at and self._process.poll() is None:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health/ready", timeout=2):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        raise RuntimeError(f"{self.name} is not ready:\n{self.log_text()[-3000:]}")

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    def wait(self, seconds: float = READY_SECONDS) -> int:
        """Its exit status, once it has ended by itself."""
        return self._process.wait(seconds)

    @property
    def cpu_seconds(self) -> float:
        """User and system time so far."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def kill(self) -> None:
        """SIGKILL, as in a crash."""
        self._process.kill()
        self._process.wait()

    def log_text(self) -> str:
        """What it has said so far."""
        return Path(self._log.name).read_text(errors="replace")

    def stop(self) -> None:
        """SIGTERM, and SIGKILL when that takes too long. May be called twice, and after `kill`."""
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()


class Cluster:
    """A set of processes that are started together and stopped together."""

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        self._folder, self._env = folder, dict(env)
        self.processes: dict[str, Process] = {}

    def add(self, name: str, command: Sequence[str], port: int = 0, **env: str) -> Process:
        """Start a process; `port` is what its HTTP gets."""
        own = {**env, **self._env, "HELIOGRAPH_PORT": str(port)}
        process = Process(name, command, own, self._folder / f"{name}.log", port)
        self.processes[name] = process
        return process

    def add_role(self, name: str, *verb: str, port: int | None = None, **env: str) -> Process:
        """Start `heliograph <verb>`."""
        command = [sys.executable, "-c", "from api.cli import main; main()", *verb]
        return self.add(name, command, free_port() if port is None else port, **env)

    def stop(self) -> None:
        """Stop all, the last one first."""
        for process in reversed(self.processes.values()):
            process.stop()
