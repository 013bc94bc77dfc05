"""Families of processes: find, freeze, thaw and kill a process with all its descendants.

Process groups are not enough: PostgreSQL's backends and Erlang's helpers each make a group of their own, so a signal to
the server's group would miss the very processes that hold the connections.
"""

import os
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_PROC = Path("/proc")


class _Entry(NamedTuple):
    pid: int
    parent: int
    state: str


def descendants(root: int) -> list[int]:
    """All living descendants of `root`, parents before their children; `root` itself is not among them."""
    children: dict[int, list[int]] = {}
    for entry in _processes():
        children.setdefault(entry.parent, []).append(entry.pid)
    found = list(children.get(root, ()))
    for pid in found:  # grows while we walk: breadth first
        found.extend(children.get(pid, ()))
    return found


def alive(pids: Iterable[int]) -> set[int]:
    """Those of `pids` that still run. A zombie has ended; only its parent has not looked yet."""
    return set(pids) & {entry.pid for entry in _processes()}


def freeze(root: int) -> list[int]:
    """Stop the family and return it. The root goes first, so that it cannot have more children meanwhile."""
    frozen: list[int] = []
    fresh = [root]
    while fresh:
        _send(fresh, signal.SIGSTOP)
        frozen += fresh
        fresh = [pid for pid in descendants(root) if pid not in frozen]
    return frozen


def thaw(root: int) -> None:
    """Let a frozen family run again, the root last: it finds its children at work."""
    _send([*reversed(descendants(root)), root], signal.SIGCONT)


def kill(root: int) -> None:
    """SIGKILL the family and return when the last one is gone."""
    kill_all(freeze(root))


def kill_all(pids: Iterable[int], *, timeout: float = 10.0) -> None:
    """SIGKILL these processes and return when the last one is gone. Those that have ended already do not matter."""
    doomed = set(pids)
    _send(doomed, signal.SIGKILL)
    deadline = time.monotonic() + timeout
    while left := alive(doomed):
        if time.monotonic() > deadline:
            raise TimeoutError(f"processes {sorted(left)} outlived SIGKILL by {timeout:g} s")
        time.sleep(0.005)


def _send(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _processes() -> Iterator[_Entry]:
    entries = _from_proc() if (_PROC / "self" / "stat").exists() else _from_ps()
    return (entry for entry in entries if not entry.state.startswith("Z"))


def _from_proc() -> Iterator[_Entry]:
    for directory in _PROC.glob("[0-9]*"):
        # The process may end between the listing and the reading.
        with suppress(FileNotFoundError, ProcessLookupError):
            # "pid (command) state parent …": only the last parenthesis is sure to be the command's end.
            state, parent, *_ = (directory / "stat").read_text(errors="replace").rpartition(")")[2].split()
            yield _Entry(int(directory.name), int(parent), state)


def _from_ps() -> Iterator[_Entry]:
    listing = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,stat="], check=True, capture_output=True, text=True)
    for line in listing.stdout.splitlines():
        pid, parent, state = line.split()
        yield _Entry(int(pid), int(parent), state)
