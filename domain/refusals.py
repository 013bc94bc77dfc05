"""Which devices and addresses a provider refused for good: what a delivery attempt learned about a contact point, and
not only about its notification."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

import msgspec

from domain.events import StatusChanged
from domain.notification import Status
from domain.text import anonymous

MAX_DEVICE_ID = 40
MAX_CODE = 60
REFUSED_ADDRESS = "refused_address"
"""In the detail of a FAILED: the address does not exist, a mail server says. Nothing was sent, so it is no BOUNCED."""


class RefusedAddress(msgspec.Struct, frozen=True, kw_only=True):
    """A notification whose address was refused. `token` is the claim's under which that was heard."""

    notification_id: str
    token: str
    code: str | None


def refused_for_good(changes: Iterable[StatusChanged]) -> dict[str, datetime]:
    """The ids of these devices, and when the provider was last asked about each.

    Not when it answered: a device that registers anew while its refusal is on the way is a new fact. It does not
    matter whether a change applies; what it says of a device is true all the same.
    """
    refused: dict[str, datetime] = {}
    for change in changes:
        for device_id in _retired(change.detail.get("devices")):
            asked = {attempt.device_id: attempt.started_at for attempt in change.attempts}
            at = asked.get(device_id, change.occurred_at)
            refused[device_id] = max(at, refused.get(device_id, at))
    return refused


def refused_addresses(changes: Iterable[StatusChanged]) -> list[RefusedAddress]:
    """Those that speak of a refused address. Whether the claim still holds is for the store to say."""
    return [
        RefusedAddress(notification_id=change.notification_id, token=change.token, code=_code(change.detail))
        for change in changes
        if change.status is Status.FAILED and change.detail.get(REFUSED_ADDRESS) is True and change.token is not None
    ]


def _code(detail: Mapping[str, Any]) -> str | None:
    code = detail.get("code")
    return anonymous(code, MAX_CODE) if isinstance(code, str) else None


def _retired(devices: Any) -> Iterator[str]:
    """The detail came over the wire: anything may stand in it."""
    for device in devices if isinstance(devices, list) else ():
        if isinstance(device, dict) and device.get("retire") is True:
            device_id = device.get("device_id")  # null for a token that the caller gave
            if isinstance(device_id, str) and 0 < len(device_id) <= MAX_DEVICE_ID:
                yield device_id
