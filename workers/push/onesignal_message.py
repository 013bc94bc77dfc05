"""From our words to OneSignal's: one push notification as the body of `POST /notifications`.

`data` is the same as with every provider (`domain.push_payload`). A field for a platform that the device is not is
left out; a device whose platform nobody knows gets all of them.
"""

import json
import re
import uuid
from typing import Any

from domain.outgoing import OutgoingPush, PushOptions
from domain.push_payload import check_payload, payload_data

MAX_TTL = 28 * 24 * 3600
MAX_BUTTONS, MAX_WEB_BUTTONS = 3, 2
MAX_COLLAPSE_ID = 64
_WEB_TOPIC = re.compile(r"[A-Za-z0-9_-]{1,32}")
_KEYS = uuid.UUID("5c1f5d7e-8e0c-4d3a-9a53-0c6f2f5f6a11")
"""The namespace of our idempotency keys (RFC 9562, section 5.5)."""


def encode(push: OutgoingPush, app_id: str) -> bytes:
    """The body of the call. Raises `ValueError` for what would be refused for good, `PayloadTooLargeError` among it."""
    check_payload(push.title, push.body, push.options, push.notification_id)
    return json.dumps(build(push, app_id), ensure_ascii=False, separators=(",", ":")).encode()


def build(push: OutgoingPush, app_id: str) -> dict[str, Any]:
    """The message for one subscription."""
    options, platform = push.options, push.device.platform
    message = {
        "app_id": app_id,
        "include_subscription_ids": [push.device.token.lower()],
        "idempotency_key": idempotency_key(push),
        "data": payload_data(options, push.notification_id),
        **_texts(push),
    }
    if options.ttl_seconds is not None:
        message["ttl"] = min(options.ttl_seconds, MAX_TTL)
    if (options.click_url or "").startswith("https://"):  # the only ones it opens; another one is still in `data`
        message["url"] = options.click_url
    if platform != "WEB":
        message |= _mobile(options)
    if platform in (None, "ANDROID"):
        message |= _android(options)
    if platform in (None, "IOS"):
        message |= _ios(options)
    if platform in (None, "WEB"):
        message |= _web(options)
    return message


def idempotency_key(push: OutgoingPush) -> str:
    """The same for every attempt to bring this notification to this device, and for nothing else."""
    return str(uuid.uuid5(_KEYS, f"{push.notification_id} {push.device.token.lower()}"))


def _texts(push: OutgoingPush) -> dict[str, Any]:
    """English is what it falls back to, whatever the language really is; there must be contents, if no title."""
    if not push.body:
        return {"contents": {"en": push.title}}
    return {"headings": {"en": push.title}, "contents": {"en": push.body}}


def _mobile(options: PushOptions) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if (key := options.collapse_key) is not None and len(key.encode()) <= MAX_COLLAPSE_ID:
        fields["collapse_id"] = key
    if options.actions:
        fields["buttons"] = [{"id": one.id, "text": one.title} for one in options.actions[:MAX_BUTTONS]]
    return fields


def _android(options: PushOptions) -> dict[str, Any]:
    """Google's, Huawei's and Amazon's. A sound belongs to a channel there, which is the app's own to set up."""
    if options.image_url is None:
        return {}
    return dict.fromkeys(("big_picture", "huawei_big_picture", "adm_big_picture"), options.image_url)


def _ios(options: PushOptions) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if options.image_url is not None:
        fields["ios_attachments"] = {"image": options.image_url}
    if options.badge is not None:
        fields |= {"ios_badgeType": "SetTo", "ios_badgeCount": options.badge}
    if options.sound is not None:
        fields["ios_sound"] = options.sound
    return fields


def _web(options: PushOptions) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if options.image_url is not None:
        fields["chrome_web_image"] = options.image_url
    if (key := options.collapse_key) is not None and _WEB_TOPIC.fullmatch(key):
        fields["web_push_topic"] = key
    # A web button must lead somewhere: to its own URL, else to where the notification leads.
    led = [(action, action.url or options.click_url) for action in options.actions]
    buttons = [{"id": action.id, "text": action.title, "url": url} for action, url in led if url is not None]
    if buttons:
        fields["web_buttons"] = buttons[:MAX_WEB_BUTTONS]
    return fields
