"""Node.js and packages from npm for tests: installed once, exactly as locked."""

import fcntl
import hashlib
import subprocess
from pathlib import Path

from tests.servers.install import NODE, programs

INSTALL_SECONDS = 110.0


def node() -> str:
    """The program. Raises `MissingServerError` where it is missing and cannot be installed."""
    return str(programs(NODE)["node"])


def install(folder: Path) -> None:
    """Bring the folder's `node_modules` to what its `package-lock.json` says. Raises `RuntimeError`.

    Quick when nothing is to be done. Tests run in several processes: one installs, the others wait.
    """
    with (folder / "package-lock.json").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        locked = hashlib.sha256(lock.read()).hexdigest()
        stamp = folder / "node_modules" / ".installed"
        if not stamp.is_file() or stamp.read_text() != locked:
            _npm_ci(folder)
            stamp.write_text(locked)


def _npm_ci(folder: Path) -> None:
    command = [str(programs(NODE)["npm"]), "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    done = subprocess.run(
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=INSTALL_SECONDS,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed in {folder}:\n{done.stdout}{done.stderr}")
