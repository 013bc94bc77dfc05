"""What only the embedded system needs: the folder of its data, its lock, its key and its secret."""

import fcntl
import os
import secrets
from collections.abc import Callable
from pathlib import Path

from api.security import PREFIX
from domain.errors import ConfigurationError

KEY_FILE = "development.key"
HASHING_FILE = "hashing.key"
LOCK_FILE = "heliograph.lock"


class Lock:
    """One process per folder: SQLite and the in-process broker are not shared. Ends with the process, however."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / LOCK_FILE
        self._file = self._path.open("a+")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.close()
            raise ConfigurationError(
                f"Another Heliograph runs on {folder}: stop it, or set HELIOGRAPH_VAR_DIR to another folder."
            ) from error

    def release(self) -> None:
        """Let others in. May be called twice."""
        self._file.close()


def development_key(folder: Path) -> str:
    """The API key of this folder, made when first asked for and readable by its owner only."""
    return _kept(folder / KEY_FILE, lambda: PREFIX + "dev_" + secrets.token_urlsafe(24))


def own_secret(folder: Path) -> str:
    """What suppressed contact points are hashed with in this folder; likewise."""
    return _kept(folder / HASHING_FILE, lambda: secrets.token_hex(32))


def _kept(path: Path, make: Callable[[], str]) -> str:
    if path.exists() and (kept := path.read_text().strip()):
        return kept
    made = make()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(made + "\n")
    return made
