"""What goes through the worker's side of the status store: a claim, and what comes of it."""

from datetime import datetime
from typing import Any

import msgspec

from domain.attachments import Attachment
from domain.events import StatusChanged
from domain.notification import Channel, Priority, Status
from domain.outgoing import Pinned, PushOptions
from domain.recipient import Recipient
from domain.template import Content


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A notification that this worker, and nobody else, may deliver now. Times are the database's clock.

    `uncertain` says that an earlier attempt may have reached the recipient; `attempts_used` does not count this one.
    `refused_devices` are those that earlier attempts need not be repeated for. `test`: it goes to the sandbox only.
    `attachments` go with a mail, and with nothing else.
    """

    id: str
    token: str
    attempt: int
    attempts_used: int
    claimed_at: datetime
    lease_until: datetime
    channel: Channel
    category: str
    priority: Priority
    status: Status
    recipient: Recipient
    template: Pinned | None
    content: Content | None
    variables: dict[str, Any]
    push: PushOptions | None
    deliver_by: datetime | None
    uncertain: bool
    request_id: str
    correlation_id: str
    traceparent: str | None = None
    refused_devices: frozenset[str] = frozenset()
    test: bool = False
    attachments: tuple[Attachment, ...] = ()


class Settlement(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a claim: the changes to report, in order. Stored on the claim before they are reported (R3)."""

    id: str
    token: str
    changes: tuple[StatusChanged, ...]
