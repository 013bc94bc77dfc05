"""The guard: a small process that cleans up after us, however we end.

It reads what to watch from a pipe that only we hold. When we end (SIGKILL included) the kernel closes the pipe, and the
guard kills every watched server and removes every watched directory. `PR_SET_PDEATHSIG` would not do: it fires when the
*thread* that started the server ends, and it reaches neither grandchildren nor directories.
"""

import shutil
import subprocess
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import IO

from tests.servers import tree

_ROOT = Path(__file__).parents[2]


def watch(directory: Path, pid: int | None = None) -> None:
    """From now on `directory`, and the process working in it, end with us."""
    _tell("watch", directory, pid)


def forget(directory: Path, pid: int | None = None) -> None:
    """The process has ended; without a `pid`: the directory is gone."""
    _tell("forget", directory, pid)


def _tell(verb: str, directory: Path, pid: int | None) -> None:
    pipe = _pipe()
    pipe.write(f"{verb}\t{directory}\t{pid or 0}\n")
    pipe.flush()


@cache
def _pipe() -> IO[str]:
    # A session of its own: Ctrl-C at the terminal must not end the guard before us.
    guard = subprocess.Popen(
        [sys.executable, "-m", "tests.servers.guard"],
        stdin=subprocess.PIPE,
        cwd=_ROOT,
        text=True,
        start_new_session=True,
    )
    assert guard.stdin is not None
    return guard.stdin


def _follow(lines: Iterable[str]) -> dict[Path, set[int]]:
    """What is left to clean up once there are no more lines: directories, each with its processes."""
    watched: dict[Path, set[int]] = {}
    for line in lines:
        verb, name, number = line.rstrip("\n").split("\t")
        directory, pid = Path(name), int(number)
        if verb == "watch":
            watched.setdefault(directory, set()).update({pid} - {0})
        elif pid:
            watched.get(directory, set()).discard(pid)
        else:
            watched.pop(directory, None)
    return watched


def _clean_up(watched: dict[Path, set[int]]) -> None:
    for directory, pids in watched.items():
        for pid in tree.alive(pids):
            tree.kill(pid)
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    _clean_up(_follow(sys.stdin))
