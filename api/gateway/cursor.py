"""Cursors: a place in the status log or in a list by age, as text that clients hand back without looking inside."""

from base64 import urlsafe_b64decode, urlsafe_b64encode

from domain.errors import CursorExpired, ValidationFailed
from domain.ids import is_id

_PREFIX = "p1:"
_ID_PREFIX = "i1:"
_LARGEST = 2**63 - 1


def encode(position: int) -> str:
    """The cursor that stands right after `position` (0: before the first row)."""
    return _encoded(f"{_PREFIX}{position}")


def decode(cursor: str) -> int:
    """The position in a cursor; raises `ValidationFailed` for `after` when it is none that `encode` makes."""
    position = _position(cursor)
    if position is None or not 0 <= position <= _LARGEST or encode(position) != cursor:
        raise _no_cursor("after")
    return position


def below_horizon(after: int) -> CursorExpired:
    """What is raised where the log does not go on from `after` any more."""
    return CursorExpired(
        f"The status log no longer holds all that followed position {after}: the older part was removed, as its time "
        "is over. Subscribe again without `after`."
    )


def encode_id(id: str) -> str:
    """The cursor that stands at the thing with this id, in a list of its kind by age."""
    return _encoded(f"{_ID_PREFIX}{id}")


def decode_id(kind: str, cursor: str, argument: str) -> str:
    """The id in a cursor; raises `ValidationFailed` for `argument` when it is none that `encode_id` makes for `kind`.

    Says nothing about the existence of the thing: a cursor outlives what it was made from.
    """
    try:
        id = _decoded(cursor).removeprefix(_ID_PREFIX)
    except ValueError as error:
        raise _no_cursor(argument) from error
    if not is_id(kind, id) or encode_id(id) != cursor:
        raise _no_cursor(argument)
    return id


def _position(cursor: str) -> int | None:
    try:
        return int(_decoded(cursor).removeprefix(_PREFIX))
    except ValueError:  # no base64, no ASCII, no number
        return None


def _encoded(text: str) -> str:
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _decoded(cursor: str) -> str:
    """Raises `ValueError` for what is no base64 of ASCII."""
    return urlsafe_b64decode(cursor.encode("ascii") + b"==").decode("ascii")


def _no_cursor(argument: str) -> ValidationFailed:
    return ValidationFailed.of(argument, "invalid_cursor", "It is no cursor; hand back one that you were given.")
