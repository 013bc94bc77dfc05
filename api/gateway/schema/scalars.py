"""The scalars that GraphQL does not bring along."""

from datetime import UTC, datetime
from typing import Any, NewType

import strawberry
from graphql import GraphQLError
from strawberry.scalars import JSON
from strawberry.types.scalar import ScalarDefinition

BigInt = NewType("BigInt", int)

_LARGEST = 2**53


def _write_time(value: datetime) -> str:
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _read_time(value: Any) -> datetime:
    """A time without its offset is let through: the rules of the input refuse it as data, naming the field."""
    if not isinstance(value, str) or len(value) > 40 or value[10:11] not in ("T", "t", " "):
        raise GraphQLError("It takes an ISO 8601 time such as 2030-01-31T09:00:00Z.")
    try:
        moment = datetime.fromisoformat(value.upper())
        return moment if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise GraphQLError("It takes an ISO 8601 time such as 2030-01-31T09:00:00Z.") from error


def _big_int(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > _LARGEST:
        raise GraphQLError("It takes a whole number between -2^53 and 2^53.")
    return value


def _same(value: Any) -> Any:
    return value


SCALARS: dict[object, ScalarDefinition] = {
    datetime: strawberry.scalar(
        name="DateTime",
        description="A moment, ISO 8601, in UTC: `2030-01-31T09:00:00Z`. Going in it takes any offset, but needs one.",
        serialize=_write_time,
        parse_value=_read_time,
    ),
    BigInt: strawberry.scalar(
        name="BigInt",
        description="A whole number of up to 2^53, which JavaScript can still hold exactly.",
        serialize=_big_int,
        parse_value=_big_int,
    ),
    JSON: strawberry.scalar(
        name="JSON",
        description="Any JSON value.",
        serialize=_same,
        parse_value=_same,
    ),
}
