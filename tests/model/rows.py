"""What the model knows of a notification's row, and of the reports that speak of it.

A row is what the protocol compares, and nothing else. Its clock is due, still to come, or not there; its token is the
number of the attempt whose claim it is, since each claim has an attempt of its own.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

import msgspec

from domain.events import StatusChanged
from domain.notification import CLAIMED_ONLY, FACTS, FINAL, Status

NEVER_LEFT = FINAL - {Status.FAILED}
"""Only a fact follows these, if anything."""

NOTHING = -1
"""In the place of a report: there is none."""


class Clock(StrEnum):
    """Where a row's `next_at` stands; None where it has none."""

    DUE = "due"
    LATER = "later"


class Row(NamedTuple):
    """A row of `notifications`. `token` and `settled` are the number of an attempt and of a report."""

    status: Status
    attempt: int
    used: int
    driven: bool
    clock: Clock | None
    token: int
    settled: int
    uncertain: bool
    possible_duplicate: bool
    expired: bool

    def __str__(self) -> str:
        words = [f"{self.status} {self.attempt}, used {self.used}, clock {self.clock}, claim {self.token or None}"]
        words += [name for name in ("uncertain", "possible_duplicate", "expired") if getattr(self, name)]
        words += ["settled"] if self.settled != NOTHING else []
        return ", ".join(words)


class Reports:
    """The reports of a model by number, each number standing for one list of changes."""

    def __init__(self) -> None:
        self.changes: list[tuple[StatusChanged, ...]] = []
        self._numbers: dict[bytes, int] = {}

    def number(self, changes: Sequence[StatusChanged]) -> int:
        """The number of this list; `NOTHING` for an empty one."""
        if not changes:
            return NOTHING
        key = msgspec.json.encode(changes)
        if key not in self._numbers:
            self._numbers[key] = len(self.changes)
            self.changes.append(tuple(changes))
        return self._numbers[key]

    def text(self, number: int) -> str:
        """What it says, to be read."""
        changes = self.changes[number]
        return f"[{', '.join(change.status for change in changes)}] of attempt {changes[-1].attempt}"

    def says(self, number: int, status: Status) -> bool:
        """Whether it ends in this status."""
        return self.changes[number][-1].status is status

    def is_fact(self, number: int) -> bool:
        """Whether it ends in what a provider said."""
        return self.changes[number][-1].status in FACTS

    def is_over(self, number: int, row: Row) -> bool:
        """Whether the rules say that it changes neither this row nor any that can follow it.

        The attempts of a row only grow, and what is not the row's claim never becomes it again.
        """
        last = self.changes[number][-1]
        if self.is_fact(number):
            return last.status is Status.SENT and row.status in FACTS
        if row.status in NEVER_LEFT:
            return True
        if last.status in CLAIMED_ONLY and last.token is not None:
            return row.attempt >= last.attempt and row.token != last.attempt
        return last.status is Status.QUEUED and row.attempt > last.attempt
