"""What is rung on `STATUS_CHANNEL`, and its wire form.

A writer of the status log rings with the rows that it has just committed, so that followers need not read them; a
heartbeat says how far the log goes. Neither is ever relied on: whoever hears a ring compares positions and reads the
log where something is missing. Decoding is therefore tolerant: what cannot be read still says "look".
"""

from collections.abc import Iterator, Sequence

import msgspec

from domain.ports import LogRow

MAX_PAYLOAD = 256 * 1024
"""In bytes. A ring that would be larger carries its positions only."""


ROWS_A_RING = 200
"""Some hundred kilobytes: who hears of positions only has to read the log, and so has every gateway."""


class Ring(msgspec.Struct, frozen=True):
    """What a ring tells: that the log goes to `head` at least (None: unknown), and perhaps its newest rows.

    `rows` ascend by position; their last position is `head`.
    """

    head: int | None = None
    rows: tuple[LogRow, ...] = ()


class _Wire(msgspec.Struct, omit_defaults=True):
    first: int | None = None
    last: int | None = None
    head: int | None = None
    rows: tuple[LogRow, ...] = ()


_encode = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(_Wire)


def encode_rows(rows: Sequence[LogRow]) -> bytes:
    """The rows of one commit, in order of position. No rows: the empty payload."""
    if not rows:
        return b""
    first, last = rows[0].position, rows[-1].position
    payload = _encode(_Wire(first=first, last=last, rows=tuple(rows)))
    return payload if len(payload) <= MAX_PAYLOAD else _encode(_Wire(first=first, last=last))


def encode_parts(rows: Sequence[LogRow]) -> Iterator[bytes]:
    """The rows of one commit as rings that are small enough to carry them, in order; no rows, no ring."""
    for start in range(0, len(rows), ROWS_A_RING):
        yield encode_rows(rows[start : start + ROWS_A_RING])


def encode_head(head: int) -> bytes:
    """A heartbeat: the last position of the log."""
    return _encode(_Wire(head=head))


def decode(payload: bytes) -> Ring:
    """Read a ring. Never raises: an empty payload, or one that cannot be read, is a `Ring` that knows nothing."""
    try:
        wire = _decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Ring()
    return Ring(wire.head if wire.last is None else wire.last, wire.rows)
