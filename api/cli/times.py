"""Times as people write them on a command line."""

import re
from datetime import timedelta

_DURATION = re.compile(r"(\d{1,5})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def duration(text: str) -> timedelta | None:
    """`90s`, `15m`, `1h`, `7d`; None for anything else."""
    matched = _DURATION.fullmatch(text)
    return None if matched is None else timedelta(**{_UNITS[matched[2]]: int(matched[1])})
