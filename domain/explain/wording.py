"""How times, spans and answers are told."""

from datetime import UTC, datetime

from domain.events import Attempt
from domain.notification import Outcome

_ANSWERS = {
    Outcome.ACCEPTED: "took it",
    Outcome.TRANSIENT: "refused it for now",
    Outcome.PERMANENT: "refused it for good",
    Outcome.UNKNOWN: "gave no certain answer",
}


def moment(at: datetime) -> str:
    """To the second, in UTC."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def span(seconds: float) -> str:
    """In at most two units: `12 ms`, `3.2 s`, `4 min 5 s`, `3 h 2 min`, `2 d 3 h`. Below 0 is 0."""
    seconds = max(0.0, seconds)
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, name, part, part_name in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // part
            return f"{whole // size} {name} {rest} {part_name}" if rest else f"{whole // size} {name}"
    return f"{whole} s"


def count(number: int, thing: str) -> str:
    """`1 device`, `2 devices`."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def answer_of(attempt: Attempt) -> str:
    """`smtp refused it for now (421)`."""
    told = f"{attempt.provider} {_ANSWERS[attempt.outcome]}"
    return told if attempt.code is None else f"{told} ({attempt.code})"
