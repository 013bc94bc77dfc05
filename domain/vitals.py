"""Signs of life: what every instance tells the gateways about itself every few seconds, and its wire form.

They go over pub/sub, so they may be lost, doubled or late, and nothing depends on them but what operators see.
"""

from collections.abc import Sequence
from datetime import datetime

import msgspec


class Sample(msgspec.Struct, frozen=True, array_like=True):
    """One number of one metric of `domain.metrics`, as it stands in this process. Counters only grow."""

    name: str
    labels: dict[str, str]
    value: float


class Vitals(msgspec.Struct, frozen=True, kw_only=True):
    """One instance: a running process with one role, or with several in the embedded system.

    `status` is what its /health says (`ok`, `degraded`, `down`), or `stopped`: it says goodbye. Times are by its own
    clock, in UTC.
    """

    id: str
    roles: tuple[str, ...]
    version: str
    started_at: datetime
    seen_at: datetime
    status: str
    url: str | None = None
    samples: Sequence[Sample] = ()


STOPPED = "stopped"

_encode = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(Vitals)


def encode(vitals: Vitals) -> bytes:
    """The wire form."""
    return _encode(vitals)


def decode(payload: bytes) -> Vitals | None:
    """Read a sign of life. None for an empty payload, and for what another version of us means by one."""
    try:
        return _decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
