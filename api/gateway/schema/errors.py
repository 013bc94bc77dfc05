"""Expected failures as data: the errors of the domain as GraphQL types."""

import strawberry

import api.gateway.schema.enums  # noqa: F401  # makes the enums of the domain known to Strawberry
from domain.errors import (
    Conflict,
    ErrorCode,
    FieldProblem,
    HeliographError,
    NotFound,
    RateLimited,
    TemplateError,
    ValidationFailed,
)

_CODE = "What kind of failure it was."
_MESSAGE = "One sentence for the person who reads it."


@strawberry.interface(description="Why an operation did not succeed. The concrete type brings the particulars.")
class Error:
    """Why an operation did not succeed."""

    code: ErrorCode = strawberry.field(description=_CODE)
    message: str = strawberry.field(description=_MESSAGE)


@strawberry.type(description="One thing wrong with one field.")
class FieldError:
    """One thing wrong with one field."""

    path: list[str] = strawberry.field(
        description='Leads to the field from the root of the input, list indexes as text: ["recipient", "user_id"].'
    )
    code: str = strawberry.field(description="A word for programs: `missing`, `not_found`, `past`, `size`, …")
    message: str = strawberry.field(description=_MESSAGE)

    @classmethod
    def of(cls, problem: FieldProblem) -> "FieldError":
        """From the domain."""
        return cls(path=list(problem.path), code=problem.code, message=problem.message)


@strawberry.type(description="The input breaks a rule. Nothing was stored.")
class ValidationError(Error):
    """The input breaks a rule."""

    fields: list[FieldError] = strawberry.field(description="Everything that is wrong, not only the first thing.")


@strawberry.type(description="There is no such thing, or the caller may not know of it.")
class NotFoundError(Error):
    """There is no such thing."""

    id: strawberry.ID = strawberry.field(description="What was asked for.")


@strawberry.type(description="It clashes with what exists: a request_id that was used for another input, a taken name.")
class ConflictError(Error):
    """It clashes with what exists."""

    request_id: str | None = strawberry.field(description="The key that was used before, if that is what clashed.")
    fields: list[FieldError] = strawberry.field(description="The fields that clash, if it is the input that does.")


@strawberry.type(description="Too many calls.")
class RateLimitedError(Error):
    """Too many calls."""

    retry_after_seconds: int = strawberry.field(description="Seconds until the next call can succeed.")


@strawberry.type(description="A failure that needs no particulars: FORBIDDEN, TOO_LATE, UPSTREAM_UNAVAILABLE.")
class GenericError(Error):
    """A failure that needs no particulars."""


ERROR_TYPES = (ValidationError, NotFoundError, ConflictError, RateLimitedError, GenericError)


def error_of(error: HeliographError) -> Error | None:
    """The failure as data; None when it is none that callers should expect, but a bug."""
    message = error.message
    match error:
        case ValidationFailed():
            fields = [FieldError.of(problem) for problem in error.fields]
            return ValidationError(code=ErrorCode.VALIDATION_FAILED, message=message, fields=fields)
        case NotFound():
            return NotFoundError(code=ErrorCode.NOT_FOUND, message=message, id=strawberry.ID(error.id))
        case Conflict():
            clashing = [FieldError.of(problem) for problem in error.fields]
            request_id = error.request_id
            return ConflictError(code=ErrorCode.CONFLICT, message=message, request_id=request_id, fields=clashing)
        case RateLimited():
            seconds = error.retry_after_seconds
            return RateLimitedError(code=ErrorCode.RATE_LIMITED, message=message, retry_after_seconds=seconds)
        case TemplateError():
            return GenericError(code=ErrorCode.VALIDATION_FAILED, message=message)
    if isinstance(error.code, ErrorCode):
        return GenericError(code=error.code, message=message)
    return None
