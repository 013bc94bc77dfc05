"""Every fate that a mail or a push may meet in the sandbox, as data. `docs/sandbox.md` shows the same tables.

An address chooses by the name before its `@sandbox.heliograph.test`, a `+anything` left aside; a device token by a word
that it contains. Everything else is taken.
"""

from enum import StrEnum

import msgspec

from domain.callbacks import CallbackKind
from workers.sandbox.fcm_refusals import INTERNAL, INVALID, MISMATCH, QUOTA, UNAVAILABLE, UNREGISTERED, Refusal

DOMAIN = "sandbox.heliograph.test"


class Play(StrEnum):
    """How something is taken."""

    AT_ONCE = "at once"
    SLOW = "slow"
    HANG = "hang"
    DROP = "drop"
    NAMELESS = "nameless"


class Later(msgspec.Struct, frozen=True, kw_only=True):
    """What is said of it after it was taken; the fields are those of `domain.callbacks.Callback`."""

    kind: CallbackKind
    permanent: bool = False
    code: str | None = None
    reason: str | None = None


class Fate(msgspec.Struct, frozen=True, kw_only=True):
    """One fate. `meets` is what the sender meets, `becomes` what is then to be seen of the notification.

    A refusal that is said `once` is said the first time that this very notification comes.
    """

    name: str
    meets: str
    becomes: str
    once: bool = False
    play: Play = Play.AT_ONCE
    later: tuple[Later, ...] = ()


class MailFate(Fate, frozen=True, kw_only=True):
    """`refusal` is an SMTP reply in which `{address}` is the recipient. `after_content`: it is said after the final
    dot, not when the recipient is named."""

    refusal: str | None = None
    after_content: bool = False


class PushFate(Fate, frozen=True, kw_only=True):
    """`refusal` is an answer of FCM's HTTP API."""

    refusal: Refusal | None = None


_DELIVERED = Later(kind=CallbackKind.DELIVERED)
_OPENED = Later(kind=CallbackKind.OPENED)
_CLICKED = Later(kind=CallbackKind.CLICKED)
_BOUNCED = Later(
    kind=CallbackKind.BOUNCED, permanent=True, code="5.1.1", reason="The mailbox does not exist, the sandbox says."
)
_BOUNCED_SOFTLY = Later(kind=CallbackKind.BOUNCED, code="4.2.2", reason="The mailbox is full, the sandbox says.")
_DELAYED = Later(kind=CallbackKind.DELAYED, code="4.4.1", reason="The next server does not answer, the sandbox says.")
_GONE = Later(
    kind=CallbackKind.BOUNCED, permanent=True, code="UNREGISTERED", reason="The app was removed, the sandbox says."
)
_COMPLAINED = Later(kind=CallbackKind.COMPLAINED, reason="It was reported as spam, the sandbox says.")

MAIL_FATES = (
    MailFate(name="delivered", meets="250", becomes="SENT, then DELIVERED", later=(_DELIVERED,)),
    MailFate(
        name="bounce",
        meets="550 5.1.1",
        becomes="FAILED, the address suppressed",
        refusal="550 5.1.1 <{address}>: there is no such mailbox",
    ),
    MailFate(
        name="full",
        meets="552 5.2.2",
        becomes="FAILED",
        refusal="552 5.2.2 <{address}>: the mailbox is full",
    ),
    MailFate(
        name="reject",
        meets="554 5.7.1 after the final dot",
        becomes="FAILED",
        refusal="554 5.7.1 This looks like spam",
        after_content=True,
    ),
    MailFate(
        name="defer",
        meets="451 4.7.1 the first time, then 250",
        becomes="RETRYING, then SENT",
        refusal="451 4.7.1 Greylisted: come back later",
        after_content=True,
        once=True,
    ),
    MailFate(
        name="defer-always",
        meets="451 4.7.1 every time",
        becomes="RETRYING, in the end FAILED",
        refusal="451 4.7.1 <{address}>: come back later, every time",
    ),
    MailFate(
        name="ratelimit",
        meets="450 4.7.28 the first time, then 250",
        becomes="RETRYING without using an attempt, then SENT",
        refusal="450 4.7.28 Too many messages: slow down",
        after_content=True,
        once=True,
    ),
    MailFate(
        name="unavailable",
        meets="421 4.3.2 the first time, then 250",
        becomes="RETRYING, then SENT",
        refusal="421 4.3.2 The service is not available",
        after_content=True,
        once=True,
    ),
    MailFate(name="slow", meets="250 after two seconds", becomes="SENDING for two seconds, then SENT", play=Play.SLOW),
    MailFate(
        name="hang",
        meets="no answer to the final dot",
        becomes="RETRYING, the outcome UNKNOWN, in the end FAILED",
        play=Play.HANG,
    ),
    MailFate(
        name="drop",
        meets="the connection ends after the final dot",
        becomes="RETRYING, the outcome UNKNOWN, in the end FAILED",
        play=Play.DROP,
    ),
    MailFate(name="bounce-later", meets="250", becomes="SENT, then BOUNCED for good", later=(_BOUNCED,)),
    MailFate(name="soft-bounce-later", meets="250", becomes="SENT, then BOUNCED for now", later=(_BOUNCED_SOFTLY,)),
    MailFate(name="delay", meets="250", becomes="SENT, delayed, then DELIVERED", later=(_DELAYED, _DELIVERED)),
    MailFate(
        name="complain", meets="250", becomes="SENT, DELIVERED, then a complaint", later=(_DELIVERED, _COMPLAINED)
    ),
    MailFate(name="open", meets="250", becomes="SENT, DELIVERED, then opened", later=(_DELIVERED, _OPENED)),
    MailFate(
        name="click",
        meets="250",
        becomes="SENT, DELIVERED, then opened and clicked",
        later=(_DELIVERED, _OPENED, _CLICKED),
    ),
    MailFate(
        name="unsubscribe",
        meets="250",
        becomes="SENT, DELIVERED, then unsubscribed",
        later=(_DELIVERED, Later(kind=CallbackKind.UNSUBSCRIBED)),
    ),
)

PUSH_FATES = (
    PushFate(name="sandbox-delivered", meets="200", becomes="SENT, then DELIVERED", later=(_DELIVERED,)),
    PushFate(
        name="sandbox-unregistered",
        meets="404 UNREGISTERED",
        becomes="FAILED, the device retired",
        refusal=UNREGISTERED,
    ),
    PushFate(name="sandbox-invalid", meets="400 INVALID_ARGUMENT", becomes="FAILED", refusal=INVALID),
    PushFate(name="sandbox-mismatch", meets="403 SENDER_ID_MISMATCH", becomes="FAILED", refusal=MISMATCH),
    PushFate(
        name="sandbox-quota",
        meets="429 QUOTA_EXCEEDED, Retry-After: 1",
        becomes="RETRYING without using an attempt",
        refusal=QUOTA,
    ),
    PushFate(name="sandbox-error", meets="500 INTERNAL", becomes="RETRYING, in the end FAILED", refusal=INTERNAL),
    PushFate(
        name="sandbox-unavailable-always",
        meets="503 UNAVAILABLE every time",
        becomes="RETRYING, in the end FAILED",
        refusal=UNAVAILABLE,
    ),
    PushFate(
        name="sandbox-unavailable",
        meets="503 UNAVAILABLE the first time, then 200",
        becomes="RETRYING, then SENT",
        refusal=UNAVAILABLE,
        once=True,
    ),
    PushFate(
        name="sandbox-slow", meets="200 after two seconds", becomes="SENDING for two seconds, then SENT", play=Play.SLOW
    ),
    PushFate(
        name="sandbox-hang",
        meets="no answer",
        becomes="RETRYING, the outcome UNKNOWN, in the end FAILED",
        play=Play.HANG,
    ),
    PushFate(
        name="sandbox-nameless",
        meets="200 without a message name",
        becomes="RETRYING, the outcome UNKNOWN, in the end FAILED",
        play=Play.NAMELESS,
    ),
    PushFate(name="sandbox-bounce-later", meets="200", becomes="SENT, then BOUNCED for good", later=(_GONE,)),
    PushFate(name="sandbox-open", meets="200", becomes="SENT, DELIVERED, then opened", later=(_DELIVERED, _OPENED)),
    PushFate(
        name="sandbox-click",
        meets="200",
        becomes="SENT, DELIVERED, then opened and clicked",
        later=(_DELIVERED, _OPENED, _CLICKED),
    ),
)
"""The first of the names that a token contains decides."""

TAKEN_MAIL = MailFate(name="", meets="250", becomes="SENT")
TAKEN_PUSH = PushFate(name="", meets="200", becomes="SENT")
_BY_NAME = {fate.name: fate for fate in MAIL_FATES}


def mail_fate(address: str) -> MailFate:
    """What becomes of a mail to this address."""
    local, _, domain = address.rpartition("@")
    if domain.lower() != DOMAIN:
        return TAKEN_MAIL
    return _BY_NAME.get(local.partition("+")[0].lower(), TAKEN_MAIL)


def push_fate(token: str) -> PushFate:
    """What becomes of a push to this device token."""
    return next((fate for fate in PUSH_FATES if fate.name in token), TAKEN_PUSH)
