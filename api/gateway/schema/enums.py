"""The enums of the domain, described for GraphQL. Strawberry keeps what it knows about an enum on the class itself."""

from enum import EnumMeta
from typing import cast

import strawberry
from strawberry.types.enum import WithStrawberryEnumDefinition

from domain.errors import ErrorCode
from domain.notification import Channel, Outcome, Priority, Status


def describe(enum: EnumMeta, description: str, values: dict[str, str], *, name: str | None = None) -> None:
    """Make an enum known to Strawberry, with a description of each value; every value must have one."""
    described = cast(type[WithStrawberryEnumDefinition], strawberry.enum(enum, name=name, description=description))
    for value in described.__strawberry_definition__.values:
        value.description = values[value.name]


describe(
    Channel,
    "The ways to reach a recipient.",
    {"EMAIL": "Mail to the recipient's address.", "PUSH": "A push notification to the recipient's devices."},
)
describe(
    Priority,
    "Who goes first when more is due than can be sent at once.",
    {
        "CRITICAL": "Before everything else, in quiet hours too: password resets, alarms.",
        "NORMAL": "The default.",
        "BULK": "When nothing else waits: campaigns.",
    },
)
describe(
    Status,
    "Where a notification is on its way. Each change is an entry of the status log.",
    {
        "SCHEDULED": "Accepted; waits for its time.",
        "ACCEPTED": "Stored; it survives any crash from here on.",
        "QUEUED": "Handed to the broker.",
        "SENDING": "A delivery attempt is under way.",
        "RETRYING": "An attempt failed and another one is planned.",
        "SENT": "The provider took it. Final, but DELIVERED or BOUNCED may follow.",
        "DELIVERED": "The provider or the device confirmed it. Final, but BOUNCED may follow.",
        "BOUNCED": "It came back. Final.",
        "FAILED": "Given up on and parked as a dead letter. Final, unless it is replayed.",
        "SKIPPED": "We decided not to send it; the reason says why. Final.",
        "CANCELLED": "The caller cancelled it in time. Final.",
        "EXPIRED": "Its deliver_by passed. Final.",
    },
)
describe(
    Outcome,
    "What one delivery attempt came to.",
    {
        "ACCEPTED": "The provider took it.",
        "TRANSIENT": "The provider refused it for now.",
        "PERMANENT": "The provider refused it for good.",
        "UNKNOWN": "Nobody can say whether the provider took it.",
    },
    name="AttemptOutcome",
)
describe(
    ErrorCode,
    "What kind of failure it was.",
    {
        "VALIDATION_FAILED": "The input breaks a rule; nothing was stored.",
        "NOT_FOUND": "There is no such thing.",
        "CONFLICT": "It clashes with what exists.",
        "FORBIDDEN": "The key lacks a scope.",
        "RATE_LIMITED": "Too many calls; come back later.",
        "TOO_LATE": "The delivery has gone too far for that.",
        "UPSTREAM_UNAVAILABLE": "Something that we need is away; trying again can help.",
    },
)
