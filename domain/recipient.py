"""The recipient: the user as delivery sees them, and whether we may contact them.

A recipient is what the User Service answers, or an address or token that the caller gave directly. `may_contact` is
the one place that decides about reaching somebody; it explains itself in one sentence.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

import msgspec

from domain.notification import Channel, Priority
from domain.preferences import Preferences, Rule, quiet_until, zone_of

MAX_ADDRESS = 254
MAX_LOCAL_PART = 64
_LOCAL = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\u0080-\U0010ffff-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~\u0080-\U0010ffff-]+)*"
)
_LABEL = re.compile(r"[A-Za-z0-9\u0080-\U0010ffff]([A-Za-z0-9\u0080-\U0010ffff-]{0,61}[A-Za-z0-9\u0080-\U0010ffff])?")
_SUBSCRIPTION = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_TOKEN = re.compile(r"[A-Za-z0-9_:.\-/+=%~]{8,4096}")


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """A device that push can reach: `platform` is WEB, IOS or ANDROID; no platform where the caller gave the token."""

    id: str | None
    token: str
    platform: str | None = None


class Recipient(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who a notification is for. `user_id` is null for a contact point that the caller gave directly."""

    user_id: str | None = None
    name: str | None = None
    email: str | None = None
    devices: tuple[Device, ...] = ()
    locale: str | None = None
    time_zone: str = "UTC"
    preferences: Preferences = Preferences()

    def contact_points(self, channel: Channel) -> tuple[str, ...]:
        """Where this channel reaches them: their address, or the tokens of their devices."""
        if channel is Channel.PUSH:
            return tuple(device.token for device in self.devices)
        return () if self.email is None else (self.email,)


UNREACHABLE = {
    Channel.EMAIL: "The recipient has no email address.",
    Channel.PUSH: "The recipient has no device that push can reach.",
}
"""Why a channel cannot reach somebody at all."""


class Purpose(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody is to be contacted for."""

    category: str
    priority: Priority = Priority.NORMAL


class Why(StrEnum):
    """Why somebody is not contacted, for programs."""

    NO_CONTACT_POINT = "no_contact_point"
    SUPPRESSED = "suppressed"
    OPTED_OUT = "opted_out"
    QUIET_HOURS = "quiet_hours"


class Quiet(msgspec.Struct, frozen=True, kw_only=True):
    """Quiet hours that a notification met: they last `until` then, which is `end` in the recipient's `zone`."""

    end: str
    zone: str
    until: datetime


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a channel may be used now; if not, why, in one sentence, and `until` when if it is only for a while.

    `rule` is the preference that decided; None where it did not come to that. `quiet` is set in quiet hours, also
    where they were passed.
    """

    code: Why | None = None
    reason: str | None = None
    until: datetime | None = None
    rule: Rule | None = None
    quiet: Quiet | None = None

    @property
    def allowed(self) -> bool:
        """Whether it may be used now."""
        return self.code is None

    @property
    def held(self) -> bool:
        """Whether it may be used later."""
        return self.until is not None

    @property
    def refused(self) -> bool:
        """Whether it may be used neither now nor later."""
        return self.code is not None and self.until is None


Suppressed = Mapping[str, str]
"""The suppressed contact points among those that matter, and why each is: `hard bounce`, `complaint`, …"""


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """How the recipient of a notification stands now. None: they were erased. `stale`: the User Service is away."""

    recipient: Recipient | None
    suppressed: Suppressed
    stale: bool = False


def may_contact(
    recipient: Recipient, channel: Channel, purpose: Purpose, at: datetime, suppressed: Suppressed
) -> Decision:
    """Whether the recipient may be contacted on this channel, for this purpose, at this time (aware).

    CRITICAL passes quiet hours and nothing else.
    """
    points = recipient.contact_points(channel)
    if not points:
        return Decision(code=Why.NO_CONTACT_POINT, reason=UNREACHABLE[channel])
    if all(point in suppressed for point in points):
        reason = f"Every {_POINT[channel]} of the recipient is suppressed: {suppressed[points[0]]}."
        return Decision(code=Why.SUPPRESSED, reason=reason)
    wanted, rule = recipient.preferences.decide(channel, purpose.category)
    if not wanted:
        choice = recipient.preferences.refusal(channel, purpose.category)
        return Decision(code=Why.OPTED_OUT, reason=f"The recipient opted out of {choice}.", rule=rule)
    quiet = _quiet(recipient, at)
    if quiet is None:
        return _ALLOWED[rule]
    if purpose.priority is Priority.CRITICAL:
        return Decision(rule=rule, quiet=quiet)
    reason = f"The recipient's quiet hours last until {quiet.end} ({quiet.zone})."
    return Decision(code=Why.QUIET_HOURS, reason=reason, until=quiet.until, rule=rule, quiet=quiet)


def _quiet(recipient: Recipient, at: datetime) -> Quiet | None:
    """The quiet hours that this time lies in."""
    hours = recipient.preferences.quiet_hours
    until = None if hours is None else quiet_until(hours, zone_of(recipient.time_zone), at)
    if hours is None or until is None:
        return None
    return Quiet(end=hours.end, zone=recipient.time_zone, until=until)


_ALLOWED = {rule: Decision(rule=rule) for rule in Rule}
_POINT = {Channel.EMAIL: "email address", Channel.PUSH: "device"}


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


def is_subscription_id(token: str) -> bool:
    """Whether a device token is a subscription id of OneSignal's, a UUID. No token that FCM gives looks like that, so
    a token says by its shape which provider knows it."""
    return _SUBSCRIPTION.fullmatch(token) is not None
