"""Cursors: a place in the status log, as text that clients hand back without looking inside."""

from base64 import urlsafe_b64decode, urlsafe_b64encode

from domain.errors import ValidationFailed

_PREFIX = "p1:"
_LARGEST = 2**63 - 1


def encode(position: int) -> str:
    """The cursor that stands right after `position` (0: before the first row)."""
    return urlsafe_b64encode(f"{_PREFIX}{position}".encode()).decode().rstrip("=")


def decode(cursor: str) -> int:
    """The position in a cursor; raises `ValidationFailed` for `after` when it is none that `encode` makes."""
    position = _position(cursor)
    if position is None or not 0 <= position <= _LARGEST or encode(position) != cursor:
        raise ValidationFailed.of("after", "invalid_cursor", "It is no cursor; hand back one that you were given.")
    return position


def _position(cursor: str) -> int | None:
    try:
        text = urlsafe_b64decode(cursor.encode("ascii") + b"==").decode("ascii")
        return int(text.removeprefix(_PREFIX))
    except ValueError:  # no base64, no ASCII, no number
        return None
