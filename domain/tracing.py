"""Tracing: where the time of one notification went, across all roles, as spans of one trace (OpenTelemetry's words).

The code says what it does through a `Tracer`; whether somebody listens is for the composition root to say. `UNTRACED`
listens to nothing and costs next to nothing. What ties spans together is a W3C traceparent: it travels in headers, on
rows and in messages, and the current one is in `domain.telemetry.traceparent`. Attributes hold ids, codes and counts,
never a contact point and never a text that a caller wrote.
"""

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from enum import StrEnum
from typing import Final, Protocol

CURRENT: Final = "current"
"""In place of a span's parent: the one that is under way here, if there is one."""

Value = str | int | float | bool | None
Attributes = Mapping[str, Value]


class Kind(StrEnum):
    """On which side of a call or a queue a span stands."""

    INTERNAL = "INTERNAL"
    SERVER = "SERVER"
    CLIENT = "CLIENT"
    PRODUCER = "PRODUCER"
    CONSUMER = "CONSUMER"


class Span(Protocol):
    """Something under way. Nothing here raises."""

    @property
    def traceparent(self) -> str | None:
        """What to hand on to those who go on with it; None when nobody listens."""

    def rename(self, name: str) -> None:
        """It turned out to be this."""

    def set(self, attributes: Attributes) -> None:
        """Say more of it. What is None is left out."""

    def link(self, traceparents: Iterable[str | None]) -> None:
        """It has to do with these spans of other traces. What is None is left out; the first 128 count."""

    def fail(self, why: str) -> None:
        """It did not succeed; `why` is a code or a type, not a stranger's words."""


class Tracer(Protocol):
    """Begins spans."""

    def span(
        self,
        name: str,
        kind: Kind = Kind.INTERNAL,
        attributes: Attributes | None = None,
        *,
        parent: str | None = CURRENT,
        links: Iterable[str | None] = (),
        began: int | None = None,
    ) -> AbstractContextManager[Span]:
        """A span from here to the end of the `with`; an exception that passes marks it as failed.

        `parent` is a traceparent; None begins a trace of its own. `began` is when it really began, in nanoseconds
        since 1970. While it lasts, it is the current span, and its traceparent the one in `domain.telemetry`.
        """

    def current(self) -> Span:
        """The span that is under way here, or one that nobody listens to."""


class _Unheard:
    """A span, and its context manager, that nobody listens to. It has no state, so one serves all."""

    traceparent: str | None = None

    def __enter__(self) -> Span:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def rename(self, name: str) -> None: ...

    def set(self, attributes: Attributes) -> None: ...

    def link(self, traceparents: Iterable[str | None]) -> None: ...

    def fail(self, why: str) -> None: ...


UNHEARD: Final = _Unheard()


class Untraced:
    """The tracer of a system without tracing. It has no state either."""

    def span(
        self,
        name: str,
        kind: Kind = Kind.INTERNAL,
        attributes: Attributes | None = None,
        *,
        parent: str | None = CURRENT,
        links: Iterable[str | None] = (),
        began: int | None = None,
    ) -> AbstractContextManager[Span]:
        """One that nobody listens to."""
        return UNHEARD

    def current(self) -> Span:
        """One that nobody listens to."""
        return UNHEARD


UNTRACED: Final[Tracer] = Untraced()
