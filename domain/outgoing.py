"""What goes out, and what comes back: a mail, a push notification, and the providers' answers to them."""

from typing import Any

import msgspec

from domain.events import Attempt
from domain.notification import Outcome
from domain.reasons import Route
from domain.recipient import Device


class Pinned(msgspec.Struct, frozen=True, kw_only=True):
    """The template version and locale that a notification was accepted with, and how the locale was found."""

    key: str
    version: int
    locale: str
    locale_fallback: tuple[str, ...] = ()


class PushAction(msgspec.Struct, frozen=True, kw_only=True):
    """A button on a rich push notification."""

    id: str
    title: str
    url: str | None = None


class PushOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a push notification carries besides its text."""

    image_url: str | None = None
    click_url: str | None = None
    data: dict[str, str] = {}
    badge: int | None = None
    sound: str | None = None
    collapse_key: str | None = None
    ttl_seconds: int | None = None
    actions: tuple[PushAction, ...] = ()


class File(msgspec.Struct, frozen=True, kw_only=True):
    """A file that goes with a mail. `lines` is its content in base64, in lines of 76 with CRLF, cut into pieces."""

    filename: str
    content_type: str
    content: bytes
    lines: tuple[bytes, ...]


class OutgoingEmail(msgspec.Struct, frozen=True, kw_only=True):
    """One mail to one address. Addresses are validated; subject and names hold no CR, LF or NUL.

    `notification_id` goes along where a provider can carry it, so that what it reports later names the notification.
    """

    to: str
    to_name: str | None
    sender: str
    sender_name: str | None
    subject: str
    html: str | None
    text: str | None
    message_id: str
    notification_id: str
    headers: tuple[tuple[str, str], ...] = ()
    envelope_sender: str | None = None
    files: tuple[File, ...] = ()


class OutgoingPush(msgspec.Struct, frozen=True, kw_only=True):
    """One push notification to one device."""

    device: Device
    title: str
    body: str
    options: PushOptions
    notification_id: str


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider said. `detail` is fit to be shown: no contact point, no secret.

    `retry_after` (seconds) is what the provider asks for; `retire_contact_point`, with PERMANENT, that nothing will
    ever reach this contact point: a device token that is dead, an address that does not exist.
    `rate_limited` says that a TRANSIENT is about how much we send, and not about this notification.
    """

    outcome: Outcome
    provider_message_id: str | None = None
    code: str | None = None
    detail: str | None = None
    retry_after: float | None = None
    retire_contact_point: bool = False
    rate_limited: bool = False


class Delivered(msgspec.Struct, frozen=True, kw_only=True):
    """What one delivery attempt came to, all devices and providers of it together.

    `outcome` None: nothing was tried, because no provider is available for `retry_after` seconds. `rate_limited`: it is
    TRANSIENT because of rate limits and nothing else. `routes` says which providers had their turn.
    """

    outcome: Outcome | None
    attempts: tuple[Attempt, ...] = ()
    provider: str | None = None
    provider_message_id: str | None = None
    code: str | None = None
    reason: str | None = None
    retry_after: float | None = None
    rate_limited: bool = False
    routes: tuple[Route, ...] = ()
    detail: dict[str, Any] = {}
