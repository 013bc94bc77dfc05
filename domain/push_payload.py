"""What a push carries to the device besides how it is shown, and how large that may be.

The same for every provider, so an app reads the same `data` whoever sent it, and a push that is too large for one is
too large when it is accepted.
"""

import json

import msgspec

from domain.outgoing import PushAction, PushOptions
from domain.template import Rendered

MAX_PAYLOAD = 4096
"""Bytes of texts, image URL and data, as FCM and APNs have it."""


class PayloadTooLargeError(ValueError):
    """A push is more than a device is sent. The message says how much it is."""


def payload_data(options: PushOptions, notification_id: str) -> dict[str, str]:
    """The data that the app gets: the caller's, `notification_id` (to acknowledge it), and `click_url` and `actions`
    (as JSON) where the caller did not use those names."""
    data = dict(options.data)
    if options.click_url is not None:
        data.setdefault("click_url", options.click_url)
    if options.actions:
        data.setdefault("actions", json.dumps([_action(action) for action in options.actions], ensure_ascii=False))
    data["notification_id"] = notification_id
    return data


def payload_size(title: str, body: str, options: PushOptions, notification_id: str) -> int:
    """Bytes of all that counts. What cannot be encoded counts with its replacement; it is refused elsewhere."""
    parts = [title, body, options.image_url, payload_data(options, notification_id)]
    return len(json.dumps(parts, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace"))


def check_payload(title: str, body: str, options: PushOptions, notification_id: str) -> None:
    """Raises `PayloadTooLargeError`."""
    size = payload_size(title, body, options, notification_id)
    if size > MAX_PAYLOAD:
        raise PayloadTooLargeError(f"Texts and data are {size} bytes, more than the {MAX_PAYLOAD} that a push holds.")


def merge(rendered: Rendered, options: PushOptions) -> PushOptions:
    """What the template says and what the caller asked for; where both speak, the caller is heard."""
    return msgspec.structs.replace(
        options,
        image_url=rendered.image_url if options.image_url is None else options.image_url,
        data={**(rendered.data or {}), **options.data},
    )


def _action(action: PushAction) -> dict[str, str]:
    described = {"id": action.id, "title": action.title}
    return described if action.url is None else described | {"url": action.url}
