"""What is explained, and what comes of it."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec

from domain.events import Attempt
from domain.notification import Channel
from domain.ports import LogRow


class DecisionKind(StrEnum):
    """What was decided about."""

    CHANNEL = "CHANNEL"
    TEMPLATE = "TEMPLATE"
    LOCALE = "LOCALE"
    RECIPIENT = "RECIPIENT"
    PREFERENCE = "PREFERENCE"
    SUPPRESSION = "SUPPRESSION"
    QUIET_HOURS = "QUIET_HOURS"
    SCHEDULE = "SCHEDULE"
    PROVIDER = "PROVIDER"
    RETRY = "RETRY"


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """One decision: one sentence for people, `detail` for programs. Neither holds a contact point.

    `attempt` is the delivery attempt that it was made for; null at acceptance.
    """

    kind: DecisionKind
    sentence: str
    at: datetime
    attempt: int | None = None
    detail: dict[str, Any] | None = None


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one notification. `timeline` is its status log, `attempts` every call to a provider."""

    channel: Channel
    category: str
    send_at: datetime | None
    deliver_by: datetime | None
    timeline: Sequence[LogRow]
    attempts: Sequence[Attempt]

    @property
    def from_the_start(self) -> bool:
        """Whether the log still has its first entry."""
        return bool(self.timeline) and self.timeline[0].sequence == 1


def explain(kind: DecisionKind, sentence: str, at: datetime, attempt: int | None = None, **detail: Any) -> Explanation:
    """A decision; of `detail` what is None is left out, and the rest is as JSON knows it."""
    kept = {name: value for name, value in detail.items() if value is not None}
    return Explanation(
        kind=kind, sentence=sentence, at=at, attempt=attempt, detail=msgspec.to_builtins(kept) if kept else None
    )
