"""What a client takes: its `Accept` header (RFC 9110, section 12.5.1)."""

from collections.abc import Iterator, Sequence

JSON_TYPE = "application/json"
GRAPHQL_TYPE = "application/graphql-response+json"
EVENTS_TYPE = "text/event-stream"


def preferred(accept: str, offered: Sequence[str]) -> str | None:
    """The one of `offered` that the client likes best, None where it takes none of them.

    Of two that it likes equally well, the one that it names itself comes first, then the one that it names first, then
    the one that is offered first. Who says nothing takes anything.
    """
    ranges = list(_ranges(accept))
    if not ranges:
        return offered[0]
    found = [(_liking(ranges, name), name) for name in offered]
    best, name = max(found, key=lambda each: each[0])
    return name if best[0] > 0 else None


def lists(accept: str, media_type: str) -> bool:
    """Whether the client takes this media type and says so by name: a wildcard is not enough."""
    return any(name == media_type and quality > 0 for name, quality in _ranges(accept))


def _liking(ranges: Sequence[tuple[str, float]], media_type: str) -> tuple[float, int, int]:
    """How well it is liked, how exactly it is named, and how early. What names it most exactly counts."""
    names = ("*/*", media_type.partition("/")[0] + "/*", media_type)
    matching = [(names.index(name), -place, quality) for place, (name, quality) in enumerate(ranges) if name in names]
    if not matching:
        return 0.0, 0, 0
    exactness, place, quality = max(matching)
    return quality, exactness, place if exactness == 2 else 0


def _ranges(accept: str) -> Iterator[tuple[str, float]]:
    """The media ranges with their qualities, as listed."""
    for entry in accept.lower().split(","):
        name, *parameters = (part.strip() for part in entry.split(";"))
        if name:
            yield name, _quality(parameters)


def _quality(parameters: Sequence[str]) -> float:
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return float(parameter[2:])
            except ValueError:
                return 0.0
    return 1.0
