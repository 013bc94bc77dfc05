"""Node.js and the clients from npm: installed once, exactly as locked."""

import fcntl
import hashlib
import subprocess
from pathlib import Path

from tests.servers.install import NODE, programs

HERE = Path(__file__).parent
RECIPES = HERE / "recipes"
_LOCK = HERE / "package-lock.json"
_INSTALLED = HERE / "node_modules" / ".installed"
INSTALL_SECONDS = 100.0


def node() -> str:
    """The program. Raises `MissingServerError` where it is missing and cannot be installed."""
    return str(programs(NODE)["node"])


def install_clients() -> None:
    """Bring `node_modules` to what the lock says. Quick when it is; one of several test processes at a time."""
    locked = hashlib.sha256(_LOCK.read_bytes()).hexdigest()
    with _LOCK.open() as alone:
        fcntl.flock(alone, fcntl.LOCK_EX)
        if not _INSTALLED.is_file() or _INSTALLED.read_text() != locked:
            _npm_ci()
            _INSTALLED.write_text(locked)


def _npm_ci() -> None:
    command = [str(programs(NODE)["npm"]), "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    done = subprocess.run(
        command,
        cwd=HERE,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=INSTALL_SECONDS,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed in {HERE}:\n{done.stdout}{done.stderr}")
