"""One tree of errors. Each knows its code, its HTTP status and whether trying again can help.

HeliographError
|- RequestError             the caller can mend it
|  |- ValidationFailed     names every field that is wrong
|  |- NotFound
|  |- Conflict             the same request_id with another input, or a name that is taken
|  |- TooLate              the delivery has gone too far
|  |- Unauthenticated      no credentials, or bad ones
|  |- Forbidden            good credentials, not enough of them
|  |- RateLimited          says when to come back
|  '- CursorExpired        the status log no longer (or not yet) has that position
|- Unavailable              something that we need is away; trying again can help
|  |- DatabaseUnavailable
|  |- BrokerUnavailable
|  '- UpstreamUnavailable  another of our services
|- UnreadableMessage        a queue held something that is no message of ours
|- TemplateError            a template that cannot be compiled or rendered
|  |- TemplateSyntaxError
|  |- UndefinedVariable
|  '- TemplateLimitExceeded
'- ConfigurationError       the start stops with one line that names the setting
"""

from collections.abc import Sequence
from enum import StrEnum

import msgspec


class ErrorCode(StrEnum):
    """What kind of failure a caller is told about."""

    VALIDATION_FAILED = "VALIDATION_FAILED"
    NOT_FOUND = "NOT_FOUND"
    CONFLICT = "CONFLICT"
    FORBIDDEN = "FORBIDDEN"
    RATE_LIMITED = "RATE_LIMITED"
    TOO_LATE = "TOO_LATE"
    UPSTREAM_UNAVAILABLE = "UPSTREAM_UNAVAILABLE"


class HeliographError(Exception):
    """Anything that Heliograph itself has to say."""

    code = "INTERNAL"
    http_status = 500
    retryable = False

    @property
    def message(self) -> str:
        """One sentence for the person who reads it."""
        return str(self)


class RequestError(HeliographError):
    """The caller can mend it."""

    http_status = 400


class FieldProblem(msgspec.Struct, frozen=True):
    """One thing wrong with one field. `path` leads to it from the root of the input, list indexes as text."""

    path: tuple[str, ...]
    code: str
    message: str


class ValidationFailed(RequestError):
    """The input breaks a rule. Nothing was stored."""

    code = ErrorCode.VALIDATION_FAILED
    http_status = 422

    def __init__(self, fields: Sequence[FieldProblem]) -> None:
        self.fields = tuple(fields)
        first = self.fields[0]
        more = f" (and {len(self.fields) - 1} more)" if len(self.fields) > 1 else ""
        super().__init__(f"{'.'.join(first.path)}: {first.message}{more}")

    @classmethod
    def of(cls, path: str, code: str, message: str) -> "ValidationFailed":
        """For a single field; `path` with dots."""
        return cls([FieldProblem(tuple(path.split(".")), code, message)])


class NotFound(RequestError):
    """There is no such thing, or the caller may not know of it."""

    code = ErrorCode.NOT_FOUND
    http_status = 404

    def __init__(self, kind: str, id: str) -> None:
        self.kind, self.id = kind, id
        super().__init__(f"There is no {kind} {id!r}.")


class Conflict(RequestError):
    """It clashes with what exists. `fields` names what of the input does, where it is the input that does."""

    code = ErrorCode.CONFLICT
    http_status = 409

    def __init__(self, message: str, request_id: str | None = None, *, fields: Sequence[FieldProblem] = ()) -> None:
        self.request_id = request_id
        self.fields = tuple(fields)
        super().__init__(message)

    @classmethod
    def of(cls, path: str, message: str) -> "Conflict":
        """For a single field; `path` with dots."""
        return cls(f"{path}: {message}", fields=[FieldProblem(tuple(path.split(".")), "taken", message)])


class TooLate(RequestError):
    """The delivery has gone too far for that."""

    code = ErrorCode.TOO_LATE
    http_status = 409


class Unauthenticated(RequestError):
    """No credentials, or none that are valid."""

    code = "UNAUTHENTICATED"
    http_status = 401


class Forbidden(RequestError):
    """The credentials do not allow it."""

    code = ErrorCode.FORBIDDEN
    http_status = 403


class RateLimited(RequestError):
    """Too many calls; `retry_after_seconds` says when the next may come."""

    code = ErrorCode.RATE_LIMITED
    http_status = 429
    retryable = True

    def __init__(self, message: str, retry_after_seconds: int) -> None:
        self.retry_after_seconds = retry_after_seconds
        super().__init__(message)


class CursorExpired(RequestError):
    """The status log does not hold that position: it is past the head or below the horizon."""

    code = "CURSOR_EXPIRED"
    http_status = 410


class Unavailable(HeliographError):
    """Something that we need is away."""

    code = ErrorCode.UPSTREAM_UNAVAILABLE
    http_status = 503
    retryable = True


class DatabaseUnavailable(Unavailable):
    """The database did not answer."""


class BrokerUnavailable(Unavailable):
    """The broker did not take a message; it may or may not have arrived."""


class UpstreamUnavailable(Unavailable):
    """Another of our services did not answer."""


class UnreadableMessage(HeliographError):
    """What came out of a queue is no message of ours."""

    code = "UNREADABLE_MESSAGE"


class TemplateError(HeliographError):
    """A template that cannot be used."""

    code = "TEMPLATE_ERROR"
    http_status = 422


class TemplateSyntaxError(TemplateError):
    """The text is no Liquid. `line` and `column` count from 1."""

    code = "TEMPLATE_SYNTAX"

    def __init__(self, message: str, line: int, column: int) -> None:
        self.line, self.column = line, column
        super().__init__(f"{message} (line {line}, column {column})")


class UndefinedVariable(TemplateError):
    """The template uses a variable that was not given."""

    code = "UNDEFINED_VARIABLE"

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"The variable {name!r} is not defined.")


class TemplateLimitExceeded(TemplateError):
    """Rendering took more loops, text or names than a template may."""

    code = "TEMPLATE_LIMIT"


class ConfigurationError(HeliographError):
    """A setting that cannot be used; the message names it."""

    code = "CONFIGURATION"
