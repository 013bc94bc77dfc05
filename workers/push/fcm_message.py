"""From our words to FCM's: one push notification as a Message of the HTTP v1 API, with a part for each platform.

Title, body, image and data go to every device. `data` also tells the app what FCM has no field for: `notification_id`
(to acknowledge it), `click_url` and `actions` (as JSON). A part for a platform that the device is not is left out.
"""

import json
import re

from firebase_admin import messaging

from domain.outgoing import OutgoingPush, PushAction, PushOptions

MAX_PAYLOAD = 4096
MAX_TTL = 28 * 24 * 3600
MAX_APNS_COLLAPSE_ID = 64
_WEB_TOPIC = re.compile(r"[A-Za-z0-9_-]{1,32}")


class PayloadTooLargeError(ValueError):
    """Notification and data are more than the 4,096 bytes that FCM takes."""


def encode(push: OutgoingPush, now: float) -> bytes:
    """The body of a `messages:send` call. `now` is in seconds since the epoch.

    Raises `ValueError` for what FCM would refuse for good, `PayloadTooLargeError` among it.
    """
    message = build(push, now)
    _check_size(message)
    return b'{"message":%b}' % str(message).encode()


def build(push: OutgoingPush, now: float) -> messaging.Message:
    """The message for one device."""
    options, platform = push.options, push.device.platform
    message = messaging.Message(
        notification=messaging.Notification(push.title, push.body, options.image_url),
        data=_data(push),
        android=_android(options) if platform in (None, "ANDROID") else None,
        apns=_apns(options, now) if platform in (None, "IOS") else None,
        webpush=_webpush(options) if platform in (None, "WEB") else None,
    )
    message.token = push.device.token  # the constructor's argument warns: FCM wants apps to move to installation ids
    return message


def _check_size(message: messaging.Message) -> None:
    notification = message.notification
    parts = [notification.title, notification.body, notification.image, message.data]
    size = len(json.dumps(parts, ensure_ascii=False, separators=(",", ":")).encode())
    if size > MAX_PAYLOAD:
        raise PayloadTooLargeError(
            f"Notification and data are {size} bytes, more than the {MAX_PAYLOAD} that FCM takes."
        )


def _data(push: OutgoingPush) -> dict[str, str]:
    options = push.options
    data = dict(options.data)
    if options.click_url is not None:
        data.setdefault("click_url", options.click_url)
    if options.actions:
        data.setdefault("actions", json.dumps([_action(action) for action in options.actions], ensure_ascii=False))
    data["notification_id"] = push.notification_id
    return data


def _action(action: PushAction) -> dict[str, str]:
    described = {"id": action.id, "title": action.title}
    return described if action.url is None else described | {"url": action.url}


def _ttl(options: PushOptions) -> int | None:
    return None if options.ttl_seconds is None else min(options.ttl_seconds, MAX_TTL)


def _android(options: PushOptions) -> messaging.AndroidConfig:
    return messaging.AndroidConfig(
        collapse_key=options.collapse_key,
        ttl=_ttl(options),
        notification=messaging.AndroidNotification(
            sound=options.sound, notification_count=options.badge, tag=options.collapse_key
        ),
    )


def _apns(options: PushOptions, now: float) -> messaging.APNSConfig:
    headers = {}
    if (key := options.collapse_key) is not None and len(key.encode()) <= MAX_APNS_COLLAPSE_ID:
        headers["apns-collapse-id"] = key
    if (ttl := _ttl(options)) is not None:
        headers["apns-expiration"] = str(int(now) + ttl if ttl else 0)
    # "mutable" lets the app's service extension fetch the image and add the buttons before it is shown.
    mutable = options.image_url is not None or bool(options.actions)
    aps = messaging.Aps(badge=options.badge, sound=options.sound, mutable_content=mutable)
    image = None if options.image_url is None else messaging.APNSFCMOptions(image=options.image_url)
    return messaging.APNSConfig(headers=headers, payload=messaging.APNSPayload(aps), fcm_options=image)


def _webpush(options: PushOptions) -> messaging.WebpushConfig:
    headers = {}
    if (ttl := _ttl(options)) is not None:
        headers["TTL"] = str(ttl)
    if (key := options.collapse_key) is not None and _WEB_TOPIC.fullmatch(key):
        headers["Topic"] = key
    # FCM opens https links only; another click_url is still in `data` for the page's own service worker.
    link = options.click_url if (options.click_url or "").startswith("https://") else None
    return messaging.WebpushConfig(
        headers=headers,
        notification=messaging.WebpushNotification(
            actions=[messaging.WebpushNotificationAction(action.id, action.title) for action in options.actions],
            tag=options.collapse_key,
        ),
        fcm_options=None if link is None else messaging.WebpushFCMOptions(link),
    )
