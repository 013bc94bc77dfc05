"""A notification: tell one recipient something on one channel. Its states, and what may follow what.

The table below is the whole state machine; `docs/states.md` draws it and `track` obeys it. SENT, DELIVERED and
BOUNCED are facts: a provider said so, and they hold whoever has the claim.
"""

from datetime import datetime
from enum import StrEnum

import msgspec


class Channel(StrEnum):
    """The ways to reach a recipient."""

    EMAIL = "EMAIL"
    PUSH = "PUSH"

    @property
    def routing_key(self) -> str:
        """The key in `notifications.direct`; the queue is `<key>.queue`."""
        return self.value.lower()


class Priority(StrEnum):
    """Who goes first when more is due than can be sent at once."""

    CRITICAL = "CRITICAL"
    NORMAL = "NORMAL"
    BULK = "BULK"

    @property
    def rank(self) -> int:
        """0 goes first. What is stored, so that an index can order by it."""
        return _RANKS[self]

    @classmethod
    def of_rank(cls, rank: int) -> "Priority":
        """The priority that `rank` stands for."""
        return _BY_RANK[rank]


_BY_RANK = (Priority.CRITICAL, Priority.NORMAL, Priority.BULK)
_RANKS = {priority: rank for rank, priority in enumerate(_BY_RANK)}


class Status(StrEnum):
    """Where a notification is on its way."""

    SCHEDULED = "SCHEDULED"
    ACCEPTED = "ACCEPTED"
    QUEUED = "QUEUED"
    SENDING = "SENDING"
    RETRYING = "RETRYING"
    SENT = "SENT"
    DELIVERED = "DELIVERED"
    BOUNCED = "BOUNCED"
    FAILED = "FAILED"
    SKIPPED = "SKIPPED"
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"


class Outcome(StrEnum):
    """What one delivery attempt came to."""

    ACCEPTED = "ACCEPTED"
    TRANSIENT = "TRANSIENT"
    PERMANENT = "PERMANENT"
    UNKNOWN = "UNKNOWN"


S = Status
FACTS = frozenset({S.SENT, S.DELIVERED, S.BOUNCED})
FINAL = frozenset({S.SENT, S.DELIVERED, S.BOUNCED, S.FAILED, S.SKIPPED, S.CANCELLED, S.EXPIRED})
CLAIMED_ONLY = frozenset({S.SENDING, S.RETRYING, S.FAILED, S.EXPIRED, S.SKIPPED, S.SCHEDULED})
"""What only the holder of the claim may say (rule R4)."""
BEFORE_QUEUED = frozenset({S.SCHEDULED, S.ACCEPTED, S.RETRYING})
"""What waits for its time; publishing it makes it QUEUED (rule R5)."""

TRANSITIONS: dict[Status, frozenset[Status]] = {
    S.SCHEDULED: frozenset({S.QUEUED, S.SENDING, S.CANCELLED, S.EXPIRED, S.SKIPPED, S.FAILED}) | FACTS,
    S.ACCEPTED: frozenset({S.QUEUED, S.SENDING, S.CANCELLED, S.EXPIRED, S.SKIPPED, S.FAILED}) | FACTS,
    S.QUEUED: frozenset({S.SENDING, S.RETRYING, S.SCHEDULED, S.FAILED, S.CANCELLED, S.EXPIRED, S.SKIPPED}) | FACTS,
    S.SENDING: frozenset({S.RETRYING, S.SCHEDULED, S.FAILED, S.SKIPPED, S.EXPIRED}) | FACTS,
    S.RETRYING: frozenset({S.QUEUED, S.SENDING, S.SCHEDULED, S.FAILED, S.CANCELLED, S.EXPIRED, S.SKIPPED}) | FACTS,
    S.SENT: frozenset({S.DELIVERED, S.BOUNCED}),
    S.DELIVERED: frozenset({S.BOUNCED}),
    S.FAILED: frozenset({S.QUEUED}),
    S.BOUNCED: frozenset(),
    S.SKIPPED: frozenset(),
    S.CANCELLED: frozenset(),
    S.EXPIRED: frozenset(),
}


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a notification's row that `track` reads and writes.

    `attempt` is a fence and only grows; `attempts_used` is what the retry policy counts. `token` names the holder of
    the claim; `next_at` says when the dispatcher must look at the row again and is null once the status is final.
    `uncertain` says that some attempt's outcome was never learned: from then on a further send may be a duplicate.
    `refused_devices` are the ids of devices that a provider refused for good: a retry leaves them out.
    """

    id: str
    status: Status
    sequence: int
    attempt: int = 0
    attempts_used: int = 0
    next_at: datetime | None = None
    token: str | None = None
    settled: bool = False
    uncertain: bool = False
    possible_duplicate: bool = False
    refused_devices: frozenset[str] = frozenset()
    provider: str | None = None
    provider_message_id: str | None = None
    reason: str | None = None
    deliver_by: datetime | None = None

    @property
    def final(self) -> bool:
        """Whether nothing more will be done by us (a confirmation or a bounce may still come)."""
        return self.status in FINAL
