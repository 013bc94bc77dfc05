"""From our words to FCM's: one push notification as a Message of the HTTP v1 API, with a part for each platform.

Title, body, image and data (`domain.push_payload`) go to every device. A part for a platform that the device is not is
left out.
"""

import re

from firebase_admin import messaging

from domain.outgoing import OutgoingPush, PushOptions
from domain.push_payload import check_payload, payload_data

MAX_TTL = 28 * 24 * 3600
MAX_APNS_COLLAPSE_ID = 64
_WEB_TOPIC = re.compile(r"[A-Za-z0-9_-]{1,32}")


def encode(push: OutgoingPush, now: float, *, dry_run: bool = False) -> bytes:
    """The body of a `messages:send` call. `now` is in seconds since the epoch; a dry run is checked and not sent.

    Raises `ValueError` for what FCM would refuse for good, `PayloadTooLargeError` among it.
    """
    message = build(push, now)
    check_payload(push.title, push.body, push.options, push.notification_id)
    return b'{%b"message":%b}' % (b'"validate_only":true,' if dry_run else b"", str(message).encode())


def build(push: OutgoingPush, now: float) -> messaging.Message:
    """The message for one device."""
    options, platform = push.options, push.device.platform
    message = messaging.Message(
        notification=messaging.Notification(push.title, push.body, options.image_url),
        data=payload_data(options, push.notification_id),
        android=_android(options) if platform in (None, "ANDROID") else None,
        apns=_apns(options, now) if platform in (None, "IOS") else None,
        webpush=_webpush(options) if platform in (None, "WEB") else None,
    )
    message.token = push.device.token  # the constructor's argument warns: FCM wants apps to move to installation ids
    return message


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
