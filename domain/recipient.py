"""The recipient: the user as delivery sees them, and whether we may contact them.

A recipient is what the User Service answers, or an address or token that the caller gave directly. `may_contact` is
the one place that decides about reaching somebody; it explains itself in one sentence.
"""

import re
from collections.abc import Iterable

import msgspec

from domain.notification import Channel

MAX_ADDRESS = 254
MAX_LOCAL_PART = 64
_LOCAL = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\u0080-\U0010ffff-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~\u0080-\U0010ffff-]+)*"
)
_LABEL = re.compile(r"[A-Za-z0-9\u0080-\U0010ffff]([A-Za-z0-9\u0080-\U0010ffff-]{0,61}[A-Za-z0-9\u0080-\U0010ffff])?")
_TOKEN = re.compile(r"[A-Za-z0-9_:.\-/+=%~]{8,4096}")


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """A device that push can reach: `platform` is WEB, IOS or ANDROID; no platform where the caller gave the token."""

    id: str | None
    token: str
    platform: str | None = None


class Recipient(msgspec.Struct, frozen=True, kw_only=True):
    """Who a notification is for. `user_id` is null for a contact point that the caller gave directly."""

    user_id: str | None = None
    name: str | None = None
    email: str | None = None
    devices: tuple[Device, ...] = ()
    locale: str | None = None
    time_zone: str = "UTC"


class Decision(msgspec.Struct, frozen=True):
    """Whether a channel may be used, and if not, why, in one sentence."""

    allowed: bool
    reason: str | None = None


def may_contact(recipient: Recipient, channel: Channel) -> Decision:
    """Whether the recipient can be reached on this channel at all."""
    if channel is Channel.EMAIL and recipient.email is None:
        return Decision(False, "The recipient has no email address.")
    if channel is Channel.PUSH and not recipient.devices:
        return Decision(False, "The recipient has no device that push can reach.")
    return Decision(True)


def reachable(recipient: Recipient, channels: Iterable[Channel]) -> list[Channel]:
    """Those of `channels` on which the recipient can be reached, in the given order."""
    return [channel for channel in channels if may_contact(recipient, channel).allowed]


def email_problem(address: str) -> str | None:
    """What is wrong with an address, or None: one mailbox, no display name, no comments (a strict RFC 5321 subset)."""
    if len(address) > MAX_ADDRESS:
        return f"is longer than {MAX_ADDRESS} characters"
    local, at, domain = address.rpartition("@")
    if not at or not local or not domain:
        return "is not an email address"
    if not address.isprintable():  # controls, invisible characters, odd spaces and halves of surrogate pairs
        return "has a character that an address cannot have"
    if len(local) > MAX_LOCAL_PART:
        return f"has more than {MAX_LOCAL_PART} characters before the @"
    if not _LOCAL.fullmatch(local):
        return "has a character before the @ that an address cannot have"
    labels = domain.split(".")
    if not all(_LABEL.fullmatch(label) for label in labels) or labels[-1].isdigit():
        return "has a domain that is not a host name"
    return None


def token_problem(token: str) -> str | None:
    """What is wrong with a device token's shape, or None. Whether it is registered only the provider knows."""
    return None if _TOKEN.fullmatch(token) else "is not a device token (8 to 4,096 URL-safe characters)"
