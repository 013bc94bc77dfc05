"""Identifiers: a prefix that names the kind, then a UUIDv7 in hexadecimal.

Time-ordered (RFC 9562, section 5.7), so that a primary key index grows at its end and a list by id is a list by age.
"""

import os
import time
from datetime import datetime, timedelta

NOTIFICATION = "ntf"
REQUEST = "req"
USER = "usr"
DEVICE = "dev"
TEMPLATE = "tpl"
DEAD_LETTER = "dlt"
API_KEY = "key"
SUPPRESSION = "sup"
ERASURE = "ers"
INSTANCE = "ins"
CLAIM = "clm"
CORRELATION = "cor"

_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
_RANDOM_BITS = (1 << 62) - 1
_HEX_DIGITS = frozenset("0123456789abcdef")


def new_id(prefix: str) -> str:
    """A new identifier of the kind that `prefix` names, unique without coordination."""
    return f"{prefix}_{_uuid7_hex()}"


def first_id(prefix: str, moment: datetime) -> str:
    """Sorts before each identifier of this kind that is made from `moment` on, and behind those made before."""
    return f"{prefix}_{max(0, (moment - _EPOCH) // timedelta(milliseconds=1)) << 80:032x}"


def is_id(prefix: str, value: str) -> bool:
    """Whether `value` has the shape of an identifier of this kind; says nothing about its existence."""
    head, _, tail = value.partition("_")
    return head == prefix and len(tail) == 32 and _HEX_DIGITS.issuperset(tail)


def moment_of(id: str) -> datetime:
    """When an identifier of ours was made, by the clock of whoever made it, in UTC. Raises `ValueError` for another."""
    _, _, tail = id.partition("_")
    return _EPOCH + timedelta(milliseconds=int(tail, 16) >> 80)


def _uuid7_hex() -> str:
    """Milliseconds, then the fraction of the millisecond in 12 bits (RFC 9562, section 6.2, method 3), then chance.

    So the identifiers that one process makes in a row sort in the order in which they were made.
    """
    milliseconds, nanoseconds = divmod(time.time_ns(), 1_000_000)
    fraction = (nanoseconds << 12) // 1_000_000
    chance = int.from_bytes(os.urandom(8), "big") & _RANDOM_BITS
    return f"{(milliseconds << 80) | (0x7 << 76) | (fraction << 64) | (0b10 << 62) | chance:032x}"
