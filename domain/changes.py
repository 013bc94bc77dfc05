"""What is rung on `CHANGES_CHANNEL`: the names of things that have changed, for those who remember them.

Whoever hears it forgets them. A ring that is lost costs no more than the time for which memories count as fresh.
"""

from collections.abc import Iterable
from enum import StrEnum

import msgspec


class Kind(StrEnum):
    """What kind of thing has changed."""

    USER = "user"
    TEMPLATE = "template"
    API_KEY = "api_key"
    ERASURE = "erasure"


class Changed(msgspec.Struct, frozen=True):
    """These things have changed: users by id, templates by key, API keys by id, erasures by the user's id."""

    kind: Kind
    names: tuple[str, ...]


_decoder = msgspec.json.Decoder(Changed)


def encode_changed(kind: Kind, names: Iterable[str]) -> bytes:
    """The wire form."""
    return msgspec.json.encode(Changed(kind, tuple(names)))


def decode_changed(payload: bytes) -> Changed | None:
    """What has changed; None when that cannot be told (an empty ring, a stranger's): anything may have."""
    try:
        return _decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
