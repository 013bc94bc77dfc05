"""Which devices a provider refused for good: what a delivery attempt learned about a device, not a notification."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from domain.events import StatusChanged

MAX_DEVICE_ID = 40


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


def _retired(devices: Any) -> Iterator[str]:
    """The detail came over the wire: anything may stand in it."""
    for device in devices if isinstance(devices, list) else ():
        if isinstance(device, dict) and device.get("retire") is True:
            device_id = device.get("device_id")  # null for a token that the caller gave
            if isinstance(device_id, str) and 0 < len(device_id) <= MAX_DEVICE_ID:
                yield device_id
