"""How the rates of providers are written in a setting: `sendgrid:600/minute,smtp:20/second`."""

import re
from collections.abc import Collection

import msgspec

_ENTRY = re.compile(r"([a-z]+):([1-9]\d{0,8})/(second|minute|hour)")
_SECONDS = {"second": 1.0, "minute": 60.0, "hour": 3600.0}


class ProviderRate(msgspec.Struct, frozen=True):
    """So many calls in so many seconds, by each worker process."""

    calls: int
    seconds: float


def parse_rates(text: str, known: Collection[str]) -> dict[str, ProviderRate]:
    """The rates by provider; none for an empty text. Raises `ValueError` that says what is wrong."""
    rates: dict[str, ProviderRate] = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        match = _ENTRY.fullmatch(entry)
        if match is None:
            raise ValueError(f"takes rates such as smtp:20/second or sendgrid:600/minute, not {entry}")
        name, calls, unit = match.groups()
        if name not in known:
            raise ValueError(f"takes {', '.join(sorted(known))}, not {name}")
        if name in rates:
            raise ValueError(f"names {name} twice")
        rates[name] = ProviderRate(int(calls), _SECONDS[unit])
    return rates
