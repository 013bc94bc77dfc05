"""What callers may say about users and devices, and how it is checked."""

import re
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated
from zoneinfo import ZoneInfo

from fastapi import Query
from pydantic import AfterValidator, AwareDatetime, Field

from api.inputs import Input, Locale, Text
from domain.recipient import MAX_ADDRESS, email_problem, token_problem
from domain.submission import MAX_NAME_CHARACTERS

MAX_IDS = 1_000
MAX_CATEGORIES_ASKED = 50

# What a machine keeps beside the zones (localtime, posix/…, right/…) begins with a small letter somewhere.
_ZONE = re.compile(r"[A-Z][A-Za-z0-9_+-]*(/[A-Z][A-Za-z0-9_+-]*)*")


class Platform(StrEnum):
    """Where a device token comes from."""

    WEB = "WEB"
    IOS = "IOS"
    ANDROID = "ANDROID"


def _email(address: str) -> str:
    if (problem := email_problem(address)) is not None:
        raise ValueError(problem)
    if len(address.casefold()) > MAX_ADDRESS:  # letters that become several when their casing is ignored
        raise ValueError(f"is longer than {MAX_ADDRESS} characters")
    return address


def _time_zone(name: str) -> str:
    try:
        known = _ZONE.fullmatch(name) is not None and ZoneInfo(name) is not None
    except (OSError, ValueError, LookupError):  # an unknown one is a KeyError, a directory an OSError
        known = False
    if not known:
        raise ValueError("is not an IANA time zone such as 'Europe/Berlin'")
    return name


def _token(token: str) -> str:
    if (problem := token_problem(token)) is not None:
        raise ValueError(problem)
    return token


def _moment(time: datetime) -> datetime:
    try:
        return time.astimezone(UTC)
    except OverflowError as error:  # at the ends of the calendar
        raise ValueError("is not a time") from error


Email = Annotated[Text, AfterValidator(_email), Field(description="One address.", examples=["ann@example.com"])]
Name = Annotated[Text, Field(min_length=1, max_length=200, examples=["Ann Example"])]
TimeZone = Annotated[str, AfterValidator(_time_zone), Field(max_length=64, examples=["Europe/Berlin"])]
UserId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$", examples=["usr_0192f0c4"])]
Category = Annotated[Text, Field(min_length=1, max_length=MAX_NAME_CHARACTERS, examples=["marketing"])]
Ids = Annotated[list[Text], Field(min_length=1, max_length=MAX_IDS)]
CategoriesAsked = Annotated[
    list[Category],
    Query(
        alias="category",
        default_factory=list,
        max_length=MAX_CATEGORIES_ASKED,
        description="May be repeated. Asked about beside `general` and what the preferences name.",
    ),
]
After = Annotated[
    Text | None,
    Query(max_length=200, description="Go on after the user with this cursor, rather than by page number."),
]


class CreateUser(Input):
    """A new user. Without an id it gets one."""

    id: UserId | None = None
    email: Email | None = None
    name: Name | None = None
    locale: Locale = "en"
    time_zone: TimeZone = "UTC"


class UpdateUser(Input):
    """What to change. A field left out stays; null clears the email address or the name."""

    email: Email | None = None
    name: Name | None = None
    locale: Locale = "en"
    time_zone: TimeZone = "UTC"


class Lookup(Input):
    """Whom to look up."""

    ids: Annotated[Ids, Field(examples=[["usr_1", "usr_2"]])]


class RegisterDevice(Input):
    """A device that push can reach."""

    platform: Platform
    token: Annotated[str, AfterValidator(_token), Field(description="As the push provider's SDK gave it.")]


class RetireDevices(Input):
    """Which devices the push provider no longer knows."""

    ids: Annotated[Ids, Field(examples=[["dev_1", "dev_2"]])]
    refused_at: Annotated[
        Annotated[AwareDatetime, AfterValidator(_moment)] | None,
        Field(description="When the provider was asked; devices that were registered since stay. Null: just now."),
    ] = None
