"""Single programs out of Debian's packages: fetched and unpacked into a folder of ours, never installed.

So no root is needed, and no service of the system's is started. What is on PATH is used first.
"""

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from tests.servers.install import MissingServerError

PACKAGES = {"promtool": "prometheus", "caddy": "caddy"}
"""The program, and the package that has it."""
SECONDS = 110.0


@cache
def program(name: str) -> Path:
    """The path of one of `PACKAGES`. Raises `MissingServerError`, which says what to install."""
    if (found := shutil.which(name)) is not None:
        return Path(found)
    package = PACKAGES[name]
    with _alone(package) as folder:
        path = folder / "usr/bin" / name
        if not path.is_file() and shutil.which("apt-get") and shutil.which("dpkg-deb"):
            _unpack(package, folder)
    if not path.is_file():
        raise MissingServerError(
            f"{name} is needed for these tests. Install it (Debian, Ubuntu: apt-get install {package}; "
            f"macOS: brew install {package})."
        )
    return path


def _unpack(package: str, folder: Path) -> None:
    """Best effort: whether it worked shows when the program is looked for again."""
    with tempfile.TemporaryDirectory(dir=folder) as fresh:
        command = ["apt-get", "-qq", "download", package]
        subprocess.run(command, cwd=fresh, stdin=subprocess.DEVNULL, timeout=SECONDS, check=False)
        for archive in Path(fresh).glob("*.deb"):
            subprocess.run(["dpkg-deb", "--extract", archive, folder], timeout=SECONDS, check=False)


@contextmanager
def _alone(package: str) -> Iterator[Path]:
    """The folder of a package's programs; one of several test processes at a time has it."""
    folder = Path(tempfile.gettempdir()) / f"heliograph-tests-{os.getuid()}-{package}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise MissingServerError(f"{folder} belongs to somebody else.")
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder
