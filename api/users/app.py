"""The User Service over REST."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import FastAPI, Query
from prometheus_client import CollectorRegistry
from starlette.responses import Response

from api.health import Check
from api.http import page_meta, respond
from api.inputs import PageLimit, PageNumber, Segment, Text
from api.openapi import Answers, service
from api.records import Deleted, Erasure, Page, Permission, Retired, User, UserCursor, UserDevice
from api.users.inputs import (
    After,
    CategoriesAsked,
    CreateUser,
    Lookup,
    RegisterDevice,
    RetireDevices,
    UpdateUser,
)
from api.users.preferences import ChangePreferences, ChannelChoice, SetPreferences, permissions
from api.users.repository import NewUser, UserRepository
from domain.errors import ValidationFailed
from domain.notification import Priority
from domain.preferences import Preferences
from domain.recipient import Recipient

Verify = Callable[[str], Awaitable[str | None]]
"""From a device token to what is wrong with it."""

TAGS = [
    {"name": "users", "description": "Who can be notified."},
    {"name": "preferences", "description": "What they want to hear, where, and when not."},
    {"name": "devices", "description": "Where push reaches them."},
    {"name": "erasures", "description": "Internal: who was deleted and is yet to be forgotten by the other services."},
]


def users_app(
    repository: UserRepository,
    *,
    service_token: str | None,
    checks: Mapping[str, Check] | None = None,
    metrics: CollectorRegistry | None = None,
    verify: Verify | None = None,
) -> FastAPI:
    """The service on top of its repository. With a service token, callers must present it.

    `verify` is asked for what is wrong with a device token that is registered; it must be quick and must not raise.
    """
    app = service(
        title="Heliograph User Service",
        description="Users, their contact points, locale, time zone and preferences.",
        tags=TAGS,
        checks={"database": repository.ping} if checks is None else checks,
        service_token=service_token,
        metrics=metrics,
    )
    answers = Answers()
    _add_lists(app, repository, answers)
    _add_users(app, repository, answers)
    _add_preferences(app, repository, answers)
    _add_users_devices(app, repository, answers, verify)
    _add_devices(app, repository, answers)
    _add_erasures(app, repository, answers)
    answers.install(app)
    return app


def _add_lists(app: FastAPI, repository: UserRepository, answers: Answers) -> None:
    tag = "users"

    @app.get("/v1/users", tags=[tag], responses=answers.of(list[User], "A page of users, oldest first."))
    async def list_users(
        page: PageNumber = 1,
        limit: PageLimit = 20,
        email: Annotated[Text | None, Query(description="Only the user with this address.")] = None,
        after: After = None,
    ) -> Response:
        """List users, by page number or, with `after`, by cursor: then rows that come and go move nothing.

        The header `Link` leads to the next ones by cursor, while there are any (RFC 8288, `rel="next"`).
        """
        if after is None:
            return _page(await repository.page(page, limit, email), limit, email)
        if page != 1:
            raise ValidationFailed.of("page", "excluded", "cannot be combined with after")
        return _page(await repository.after(UserCursor.decode(after), limit, email), limit, email)

    @app.post("/v1/users/lookup", tags=[tag], responses=answers.of(list[Recipient], "Those that exist."))
    async def look_up_users(body: Lookup) -> Response:
        """Up to 1,000 users as delivery needs them, tokens and preferences included. Unknown ids are left out."""
        return respond(await repository.lookup(list(dict.fromkeys(body.ids))))


def _add_users(app: FastAPI, repository: UserRepository, answers: Answers) -> None:
    tag, one = "users", "/v1/users/{user_id}"

    @app.post("/v1/users", tags=[tag], status_code=201, responses=answers.of(User, "The user.", 409, status=201))
    async def create_user(body: CreateUser) -> Response:
        """Add a user. An address belongs to one user only, whatever its casing."""
        return respond(await repository.create(NewUser(**body.model_dump())), "User created.", status=201)

    @app.get(one, tags=[tag], responses=answers.of(User, "The user.", 404))
    async def get_user(user_id: Segment) -> Response:
        """One user with all devices and preferences."""
        return respond(await repository.get(user_id))

    @app.patch(one, tags=[tag], responses=answers.of(User, "The user.", 404, 409))
    async def update_user(user_id: Segment, body: UpdateUser) -> Response:
        """Change what is given; leave the rest."""
        return respond(await repository.update(user_id, body.model_dump(exclude_unset=True)), "User updated.")

    @app.delete(one, tags=[tag], responses=answers.of(Deleted, "Gone.", 404))
    async def delete_user(user_id: Segment) -> Response:
        """Forget a user with all devices and preferences, here at once and everywhere else soon.

        Until that is done, nobody new can have the id.
        """
        await repository.delete(user_id)
        return respond(Deleted(id=user_id), "User deleted.")


def _add_preferences(app: FastAPI, repository: UserRepository, answers: Answers) -> None:
    tag, path = "preferences", "/v1/users/{user_id}/preferences"
    chosen = answers.of(Preferences, "What the user chose.", 404)
    allowed = answers.of(list[Permission], "Each channel for each category.", 404)

    @app.get(path, tags=[tag], responses=chosen)
    async def get_preferences(user_id: Segment) -> Response:
        """What a user chose. What nothing was said about is wanted; the more specific preference decides."""
        return respond((await repository.get(user_id)).preferences)

    @app.put(path, tags=[tag], responses=chosen)
    async def set_preferences(user_id: Segment, body: SetPreferences) -> Response:
        """Replace all that a user chose."""
        new = body.applied_to(Preferences())
        return respond(await repository.choose(user_id, lambda _: new), "Preferences set.")

    @app.patch(path, tags=[tag], responses=chosen)
    async def change_preferences(user_id: Segment, body: ChangePreferences) -> Response:
        """Replace the list of channel preferences, or the quiet hours, or both; leave what is not given."""
        return respond(await repository.choose(user_id, body.applied_to), "Preferences changed.")

    @app.put(f"{path}/choice", tags=[tag], responses=chosen)
    async def choose_one(user_id: Segment, body: ChannelChoice) -> Response:
        """Choose for one channel and category; every other choice stays, also one that is made at the same time."""
        return respond(await repository.choose(user_id, body.applied_to), "Preference set.")

    @app.get("/v1/users/{user_id}/permissions", tags=[tag], responses=allowed)
    async def list_permissions(
        user_id: Segment, categories: CategoriesAsked, priority: Priority = Priority.NORMAL
    ) -> Response:
        """Whether each channel may be used now for each category, and why not.

        The user's own choices, quiet hours and contact points decide here. Suppressions (bounces, complaints) are the
        gateway's and do not show.
        """
        recipient = await repository.recipient(user_id)
        # Hundreds of categories take ten milliseconds: too long for the event loop in one piece.
        return _whole(await asyncio.to_thread(permissions, recipient, categories, priority, datetime.now(UTC)))


def _add_users_devices(app: FastAPI, repository: UserRepository, answers: Answers, verify: Verify | None) -> None:
    tag, path, devices = "devices", "/v1/users/{user_id}/devices", repository.devices
    made = answers.of(UserDevice, "The device.", 404, status=201)

    @app.post(path, tags=[tag], status_code=201, responses=made)
    async def register_device(user_id: Segment, body: RegisterDevice) -> Response:
        """Add a device. A token that is known is refreshed, and moves here if it was another user's."""
        if verify is not None and (problem := await verify(body.token)) is not None:
            raise ValidationFailed.of("token", "unregistered", problem)
        return respond(await devices.register(user_id, body.platform, body.token), "Device registered.", status=201)

    @app.get(path, tags=[tag], responses=answers.of(list[UserDevice], "The devices, oldest first.", 404))
    async def list_users_devices(user_id: Segment) -> Response:
        """All devices of a user, those included that push does not use any more."""
        return _whole((await repository.get(user_id)).devices)

    @app.delete(f"{path}/{{device_id}}", tags=[tag], responses=answers.of(Deleted, "Gone.", 404))
    async def remove_users_device(user_id: Segment, device_id: Segment) -> Response:
        """Forget one of a user's devices."""
        owner = await devices.remove(device_id, user_id)
        return respond(Deleted(id=device_id, user_id=owner), "Device removed.")


def _add_devices(app: FastAPI, repository: UserRepository, answers: Answers) -> None:
    tag, one, devices = "devices", "/v1/devices/{device_id}", repository.devices

    @app.post("/v1/devices/retire", tags=[tag], responses=answers.of(Retired, "Retired."))
    async def retire_devices(body: RetireDevices) -> Response:
        """Stop using devices whose tokens the push provider no longer knows, until they are registered again.

        Unknown ids, and devices that were registered after `refused_at`, are passed over. May be called twice.
        """
        return respond(Retired(count=await devices.retire(body.ids, body.refused_at)), "Devices retired.")

    @app.get(one, tags=[tag], responses=answers.of(UserDevice, "The device.", 404))
    async def get_device(device_id: Segment) -> Response:
        """One device, and whose it is."""
        return respond(await devices.get(device_id))

    @app.delete(one, tags=[tag], responses=answers.of(Deleted, "Gone.", 404))
    async def remove_device(device_id: Segment) -> Response:
        """Forget a device, whoever has it."""
        owner = await devices.remove(device_id)
        return respond(Deleted(id=device_id, user_id=owner), "Device removed.")


def _add_erasures(app: FastAPI, repository: UserRepository, answers: Answers) -> None:
    tag, erasures = "erasures", repository.erasures

    @app.get("/v1/erasures", tags=[tag], responses=answers.of(list[Erasure], "Those not done, oldest first."))
    async def list_erasures(limit: PageLimit = 20) -> Response:
        """Internal: who was deleted and is yet to be forgotten by the other services."""
        found, total = await erasures.pending(limit)
        return respond(found, meta=page_meta(total, 1, limit))

    @app.post("/v1/erasures/{erasure_id}/done", tags=[tag], responses=answers.of(Erasure, "The erasure.", 404))
    async def finish_erasure(erasure_id: Segment) -> Response:
        """Internal: everybody has forgotten this user. May be called twice."""
        return respond(await erasures.finish(erasure_id), "Erasure done.")


def _page(found: Page[User], limit: int, email: str | None) -> Response:
    response = respond(found.items, meta=found.meta)
    if found.meta.has_next and found.items:
        asked = {"after": found.items[-1].cursor, "limit": limit, "email": email}
        query = urlencode({name: value for name, value in asked.items() if value is not None})
        response.headers["Link"] = f'<?{query}>; rel="next"'  # relative: wherever the service is mounted
    return response


def _whole(items: Sequence[Any]) -> Response:
    """A list that is never cut into pages."""
    return respond(items, meta=page_meta(len(items), 1, max(1, len(items))))
