"""The User Service over REST."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated
from zoneinfo import ZoneInfo

from fastapi import FastAPI, Query
from prometheus_client import CollectorRegistry
from pydantic import AfterValidator, Field
from starlette.responses import Response

from api.health import Check
from api.http import page_meta, respond
from api.inputs import Input, Locale, PageLimit, PageNumber, Segment, Text
from api.openapi import Answers, service
from api.records import Deleted, User, UserDevice
from api.users.repository import NewUser, UserRepository
from domain.recipient import Recipient, email_problem, token_problem

MAX_LOOKUP = 1_000


class Platform(StrEnum):
    """Where a device token comes from."""

    WEB = "WEB"
    IOS = "IOS"
    ANDROID = "ANDROID"


def _email(address: str) -> str:
    if (problem := email_problem(address)) is not None:
        raise ValueError(problem)
    return address


def _time_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (OSError, ValueError, LookupError) as error:  # an unknown one is a KeyError, a directory an OSError
        raise ValueError("is not an IANA time zone such as 'Europe/Berlin'") from error
    return name


def _token(token: str) -> str:
    if (problem := token_problem(token)) is not None:
        raise ValueError(problem)
    return token


Email = Annotated[Text, AfterValidator(_email), Field(description="One address.", examples=["ann@example.com"])]
Name = Annotated[Text, Field(min_length=1, max_length=200, examples=["Ann Example"])]
TimeZone = Annotated[str, AfterValidator(_time_zone), Field(max_length=64, examples=["Europe/Berlin"])]
UserId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$", examples=["usr_0192f0c4"])]


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

    ids: Annotated[list[Text], Field(min_length=1, max_length=MAX_LOOKUP, examples=[["usr_1", "usr_2"]])]


class RegisterDevice(Input):
    """A device that push can reach."""

    platform: Platform
    token: Annotated[str, AfterValidator(_token), Field(description="As the push provider's SDK gave it.")]


TAGS = [
    {"name": "users", "description": "Who can be notified."},
    {"name": "devices", "description": "Where push reaches them."},
]


def users_app(
    repository: UserRepository,
    *,
    service_token: str | None,
    checks: Mapping[str, Check] | None = None,
    metrics: CollectorRegistry | None = None,
) -> FastAPI:
    """The service on top of its repository. With a service token, callers must present it."""
    app = service(
        title="Heliograph User Service",
        description="Users, their contact points, locale and time zone.",
        tags=TAGS,
        checks={"database": repository.ping} if checks is None else checks,
        service_token=service_token,
        metrics=metrics,
    )
    answers = Answers()
    _add_users(app, repository, answers)
    _add_lookup(app, repository, answers)
    _add_devices(app, repository, answers)
    answers.install(app)
    return app


def _add_users(app: FastAPI, repository: UserRepository, answers: Answers) -> None:
    tag = "users"

    @app.post("/v1/users", tags=[tag], status_code=201, responses=answers.of(User, "The user.", 409, status=201))
    async def create_user(body: CreateUser) -> Response:
        """Add a user. An address belongs to one user only, whatever its casing."""
        return respond(await repository.create(NewUser(**body.model_dump())), "User created.", status=201)

    @app.get("/v1/users", tags=[tag], responses=answers.of(list[User], "A page of users, oldest first."))
    async def list_users(
        page: PageNumber = 1,
        limit: PageLimit = 20,
        email: Annotated[Text | None, Query(description="Only the user with this address.")] = None,
    ) -> Response:
        """List users."""
        users, total = await repository.page(page, limit, email)
        return respond(users, meta=page_meta(total, page, limit))

    @app.get("/v1/users/{user_id}", tags=[tag], responses=answers.of(User, "The user.", 404))
    async def get_user(user_id: Segment) -> Response:
        """One user with all devices."""
        return respond(await repository.get(user_id))

    @app.patch("/v1/users/{user_id}", tags=[tag], responses=answers.of(User, "The user.", 404, 409))
    async def update_user(user_id: Segment, body: UpdateUser) -> Response:
        """Change what is given; leave the rest."""
        return respond(await repository.update(user_id, body.model_dump(exclude_unset=True)), "User updated.")

    @app.delete("/v1/users/{user_id}", tags=[tag], responses=answers.of(Deleted, "Gone.", 404))
    async def delete_user(user_id: Segment) -> Response:
        """Forget a user and all devices."""
        await repository.delete(user_id)
        return respond(Deleted(id=user_id), "User deleted.")


def _add_lookup(app: FastAPI, repository: UserRepository, answers: Answers) -> None:
    @app.post("/v1/users/lookup", tags=["users"], responses=answers.of(list[Recipient], "Those that exist."))
    async def look_up_users(body: Lookup) -> Response:
        """Up to 1,000 users as delivery needs them, tokens included. Unknown ids are left out."""
        return respond(await repository.lookup(list(dict.fromkeys(body.ids))))


def _add_devices(app: FastAPI, repository: UserRepository, answers: Answers) -> None:
    tag = "devices"
    made = answers.of(UserDevice, "The device.", 404, status=201)

    @app.post("/v1/users/{user_id}/devices", tags=[tag], status_code=201, responses=made)
    async def register_device(user_id: Segment, body: RegisterDevice) -> Response:
        """Add a device. A token that is known is refreshed, and moves here if it was another user's."""
        device = await repository.register_device(user_id, body.platform, body.token)
        return respond(device, "Device registered.", status=201)

    @app.delete("/v1/users/{user_id}/devices/{device_id}", tags=[tag], responses=answers.of(Deleted, "Gone.", 404))
    async def remove_users_device(user_id: Segment, device_id: Segment) -> Response:
        """Forget one of a user's devices."""
        owner = await repository.remove_device(device_id, user_id)
        return respond(Deleted(id=device_id, user_id=owner), "Device removed.")

    @app.get("/v1/devices/{device_id}", tags=[tag], responses=answers.of(UserDevice, "The device.", 404))
    async def get_device(device_id: Segment) -> Response:
        """One device, and whose it is."""
        return respond(await repository.device(device_id))

    @app.delete("/v1/devices/{device_id}", tags=[tag], responses=answers.of(Deleted, "Gone.", 404))
    async def remove_device(device_id: Segment) -> Response:
        """Forget a device, whoever has it."""
        owner = await repository.remove_device(device_id)
        return respond(Deleted(id=device_id, user_id=owner), "Device removed.")
