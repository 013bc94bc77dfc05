"""One switch for each rule of docs/protocol.md: how to take it away, and which promise that breaks.

A rule that is SQL is taken out of the statement's text, one that is code by replacing the function or the constant
that it is. Both fail when the code is not what they expect, so that no switch becomes a switch of nothing.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import msgspec

import domain.deliver
import domain.track
from domain.events import StatusChanged
from domain.notification import CLAIMED_ONLY, Progress, Status
from domain.track import Entry

if TYPE_CHECKING:
    from tests.model.store import Store

Tracking = tuple[Progress, list[Entry], str | None]
Track = Callable[[Progress, StatusChanged, datetime], Tracking]

_track: Track = domain.track.track
_queued_refusal = domain.track._queued_refusal


class Switch(msgspec.Struct, frozen=True, kw_only=True):
    """A rule that is off, and the `promise` that breaks without it; `trace`: its number in docs/protocol.md.

    `rewrites`: part and statement, and which of its words become which. `code`: what stands in for the real thing.
    `clock_after`: the clock is moved after publishing. `dispatcher_expires`: EXPIRED is said without a claim, and the
    worker does not look. `locks` false: `record` reads, and writes some time later. `prunes`: messages that the rules
    say are over may be left out.
    """

    name: str
    trace: int | None = None
    promise: str | None = None
    rewrites: tuple[tuple[str, str, str, str], ...] = ()
    code: Mapping[str, Any] = {}
    clock_after: bool = False
    dispatcher_expires: bool = False
    locks: bool = True
    prunes: bool = True

    def rewrite(self, store: "Store") -> None:
        """Take the rule out of the statements."""
        for part, statement, old, new in self.rewrites:
            statements = getattr(store, part)._sql
            text = getattr(statements, statement)
            assert old in text, f"{part}.{statement} does not say {old!r}"
            setattr(statements, statement, text.replace(old, new))

    @contextmanager
    def off(self) -> Iterator[None]:
        """Take the rule out of the code for a while."""
        with ExitStack() as stack:
            for name, value in self.code.items():
                stack.enter_context(patch(name, value))
            yield


def _cancel_anyway(row: Progress, change: StatusChanged, now: datetime) -> Tracking:
    if change.status is not Status.CANCELLED:
        return _track(row, change, now)
    after, entries, why = _track(msgspec.structs.replace(row, token=None, uncertain=False), change, now)
    return (row, [], why) if why else (msgspec.structs.replace(after, uncertain=row.uncertain), entries, None)


def _cancel_uncertain(row: Progress, change: StatusChanged, now: datetime) -> Tracking:
    if change.status is not Status.CANCELLED or row.token is not None:
        return _track(row, change, now)
    return _cancel_anyway(row, change, now)


def _bounce_after_sent(row: Progress, change: StatusChanged, now: datetime) -> Tracking:
    if change.status is Status.BOUNCED and row.status not in (Status.SENT, Status.DELIVERED):
        return row, [], "only what was sent bounces"
    return _track(row, change, now)


def _queued_always(row: Progress, change: StatusChanged, now: datetime) -> str | None:
    return _queued_refusal(row, change, now) if change.replay else None


def _queued_of_any_attempt(row: Progress, change: StatusChanged, now: datetime) -> str | None:
    if not change.replay:
        change = msgspec.structs.replace(change, attempt=row.attempt)
    return _queued_refusal(row, change, now)


ALL_RULES = Switch(name="all rules")

_TOKEN, _ATTEMPT = "held.token IS NULL AND ", " AND held.attempt = item.attempt"
_REVOKE = "token = CASE WHEN due.settled IS NULL THEN NULL ELSE notifications.token END"
_COUNT = "CASE WHEN due.revoked THEN 1 ELSE 0 END"

SWITCHES = (
    Switch(
        name="R2: the lease that ended is revoked",
        trace=1,
        promise="finishes",
        rewrites=(
            ("outbox", "write", _REVOKE, "token = notifications.token"),
            ("outbox", "write", _COUNT, "0"),
        ),
    ),
    Switch(
        name="R3: the outcome is stored before it is reported",
        trace=2,
        promise="bound",
        rewrites=(("claims", "settle", "held.unsettled", "false"),),
    ),
    Switch(
        name="R7: no cancellation under a claim",
        trace=3,
        promise="cancelled",
        code={"domain.track.track": _cancel_anyway},
    ),
    Switch(
        name="R5: QUEUED only of what waits",
        trace=4,
        promise="endings",
        code={"domain.track._queued_refusal": _queued_always},
        prunes=False,
    ),
    Switch(
        name="R4: tokens",
        trace=5,
        promise="exclusive",
        code={"domain.track.CLAIMED_ONLY": frozenset()},
        prunes=False,
    ),
    Switch(
        name="R1: the item's attempt is the row's",
        trace=6,
        promise="time",
        rewrites=(("claims", "claim", _ATTEMPT, ""),),
        prunes=False,
    ),
    Switch(
        name="R8: a claim that closes",
        trace=7,
        promise="finishes",
        rewrites=(("claims", "claim", _ATTEMPT, f"{_ATTEMPT} AND notifications.attempts_used < 2"),),
    ),
    Switch(
        name="R2: the clock is moved before publishing",
        trace=8,
        promise="clock",
        # The take writes its clock where nobody looks.
        rewrites=(("outbox", "write", "next_at = (strftime", "reason = (strftime"),),
        clock_after=True,
        prunes=False,
    ),
    Switch(name="R6: locks", trace=9, promise="endings", locks=False),
    Switch(
        name="R4: BOUNCED is a fact",
        trace=10,
        promise="facts",
        code={"domain.track.track": _bounce_after_sent},
    ),
    Switch(
        name="R8: EXPIRED under a claim",
        trace=11,
        promise="no call after an ending",
        code={"domain.track.CLAIMED_ONLY": CLAIMED_ONLY - {Status.EXPIRED}},
        dispatcher_expires=True,
    ),
    Switch(
        name="R2: a clock is given back only where it is the one that was written",
        promise="clock",
        rewrites=(("outbox", "give_back", "AND next_at = item.written", ""),),
        prunes=False,
    ),
    Switch(
        name="R3: what is settled is not sent again",
        promise="settled",
        rewrites=(("outbox", "look", "SELECT id, attempt, settled,", "SELECT id, attempt, NULL AS settled,"),),
    ),
    Switch(
        name="R4: SENT is a fact",
        promise="facts",
        code={"domain.track.CLAIMED_ONLY": CLAIMED_ONLY | {Status.SENT}},
    ),
    Switch(
        name="R5: QUEUED only of the row's attempt",
        promise="time",
        code={"domain.track._queued_refusal": _queued_of_any_attempt},
        prunes=False,
    ),
    Switch(
        name="R7: no cancellation of what is uncertain",
        promise="cancelled",
        code={"domain.track.track": _cancel_uncertain},
    ),
    Switch(
        name="R7: no call on a lease that is too short",
        promise="no call after an ending",
        code={"domain.deliver.LEASE_MARGIN": -1e6},
    ),
    Switch(
        name="Bound: a claim of what is uncertain is flagged",
        promise="flagged",
        rewrites=(("claims", "claim", " OR notifications.uncertain", ""),),
    ),
)

SECOND_FENCE = Switch(
    name="R1: nobody holds the claim",
    rewrites=(("claims", "claim", _TOKEN, ""),),
)
"""With equal attempts alone nothing breaks: no item speaks of an attempt that is claimed."""
