"""Finding the programs that tests need, above all the servers', or installing them.

Looked for in the usual places, then on PATH. If missing, Debian and Ubuntu install them (as root, or with a sudo that
asks nothing). Otherwise `MissingServerError` says exactly what to install: no test is skipped for want of a server.
"""

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path


class MissingServerError(RuntimeError):
    """Programs are neither here nor installable by us; the message says what to do."""


@dataclass(frozen=True)
class Software:
    """Software as packages: its programs, and where they are when not on PATH (newest version first).

    `variable` is where the environment names what is used instead: a running server, or for Chromium a program.
    `answers` is what Debian's package is told instead of asking (debconf).
    """

    title: str
    package: str
    programs: tuple[str, ...]
    places: tuple[str, ...] = ()
    variable: str = ""
    answers: str = ""

    def find(self) -> dict[str, Path] | None:
        """The path of each program, all from places that belong together; None if one is missing."""
        for place in (*self._places(), None):
            found = {program: shutil.which(program, path=place) for program in self.programs}
            paths = {program: Path(path) for program, path in found.items() if path is not None}
            if len(paths) == len(self.programs):
                return paths
        return None

    def _places(self) -> Iterator[str]:
        path = os.environ.get("PATH", os.defpath)
        for pattern in self.places:
            for place in sorted(Path("/").glob(pattern.removeprefix("/")), key=_version, reverse=True):
                yield f"{place}{os.pathsep}{path}"


POSTGRESQL = Software(
    title="PostgreSQL 14 or newer",
    package="postgresql",
    programs=("initdb", "postgres"),
    places=("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql*/bin"),
    variable="HELIOGRAPH_TEST_POSTGRES_URL",
)
REDIS = Software(
    title="Redis 6 or newer",
    package="redis-server",
    programs=("redis-server",),
    places=("/opt/homebrew/bin",),
    variable="HELIOGRAPH_TEST_REDIS_URL",
)
RABBITMQ = Software(
    title="RabbitMQ 3.10 or newer",
    package="rabbitmq-server",
    programs=("rabbitmq-server", "rabbitmqctl", "epmd"),
    # Debian's /usr/sbin/rabbitmq-server, found on PATH, insists on the system's own user and directories.
    places=("/usr/lib/rabbitmq/bin", "/opt/homebrew/opt/rabbitmq/sbin"),
    variable="HELIOGRAPH_TEST_RABBITMQ_URL",
)
NODE = Software(
    title="Node.js 20 or newer, with npm,",
    package="nodejs npm",
    programs=("node", "npm"),
    places=("/opt/homebrew/bin",),
)
POSTFIX = Software(
    title="Postfix 3.5 or newer",
    package="postfix",
    programs=("postfix",),
    places=("/usr/sbin",),
    answers="postfix postfix/main_mailer_type select No configuration",  # so that no server of the system's is started
)
CHROMIUM = Software(
    title="Chromium",
    package="chromium",
    programs=("chromium",),
    variable="HELIOGRAPH_TEST_CHROMIUM",
)


@cache
def programs(software: Software) -> dict[str, Path]:
    """The path of each program of `software`, installed first if need be."""
    found = software.find()
    if found is None:
        _install(software)
        found = software.find()
    if found is None:
        instead = f", or name another one in {software.variable}" if software.variable else ""
        raise MissingServerError(
            f"{software.title} is needed for these tests. Install it (Debian, Ubuntu: apt-get install "
            f"{software.package}; macOS: brew install {software.package.removesuffix('-server')}){instead}."
        )
    return found


def _install(software: Software) -> None:
    """Best effort: whether it worked shows when the programs are looked for again."""
    prefix = _privileged()
    if prefix is None or shutil.which("apt-get") is None:
        return
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    apt_get = [*prefix, "apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300"]
    with _alone():
        if software.answers:
            told = software.answers.encode()
            subprocess.run([*prefix, "debconf-set-selections"], input=told, env=environment, check=False)
        for arguments in (
            ["update"],
            ["install", "--yes", "--no-install-recommends", "--no-remove", *software.package.split()],
        ):
            subprocess.run([*apt_get, *arguments], env=environment, stdin=subprocess.DEVNULL, check=False)


@contextmanager
def _alone() -> Iterator[None]:
    """One of several test processes at a time: apt's own lock does not cover the lists that `update` brings."""
    with (Path(tempfile.gettempdir()) / f"heliograph-tests-install-{os.getuid()}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _privileged() -> list[str] | None:
    """What to put before a command to run it as root; None if we may not."""
    if os.geteuid() == 0:
        return []
    sudo = ["sudo", "--non-interactive"]
    if shutil.which("sudo") and subprocess.run([*sudo, "true"], capture_output=True, check=False).returncode == 0:
        return [*sudo, "--preserve-env=DEBIAN_FRONTEND"]
    return None


def _version(place: Path) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", str(place))]
