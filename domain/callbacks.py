"""What providers, mail servers, devices and recipients say after we have sent: confirmations, bounces, complaints."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Protocol

import msgspec


class CallbackKind(StrEnum):
    """What it says of one notification."""

    DELIVERED = "DELIVERED"
    BOUNCED = "BOUNCED"
    DELAYED = "DELAYED"
    COMPLAINED = "COMPLAINED"
    OPENED = "OPENED"
    CLICKED = "CLICKED"
    UNSUBSCRIBED = "UNSUBSCRIBED"


class Acknowledgement(StrEnum):
    """What whoever received it says of it; each is a `CallbackKind` too."""

    DELIVERED = "DELIVERED"
    OPENED = "OPENED"
    CLICKED = "CLICKED"


DEVICE = "device"
"""The `provider` of what no provider said, but the recipient's own device or page."""


class Callback(msgspec.Struct, frozen=True, kw_only=True):
    """One thing said of one notification, found by our own id and not by the provider's.

    `permanent` is for BOUNCED: this contact point takes nothing, today or ever. `code` is the enhanced status code
    (RFC 3463) or the provider's word. `reason` is a sentence fit to be shown: no contact point.
    """

    notification_id: str
    kind: CallbackKind
    occurred_at: datetime
    provider: str
    permanent: bool = False
    code: str | None = None
    reason: str | None = None
    provider_message_id: str | None = None


class Callbacks(Protocol):
    """Takes what was said into the status log and the suppressions."""

    async def record(self, callbacks: Sequence[Callback]) -> None:
        """Once this returns nothing of it is lost. The same again changes nothing; what speaks of no notification of
        ours is passed over. Raises `DatabaseUnavailable`: then say it again."""
