"""The root fields about users and devices. The User Service owns them; what it refuses with is passed on."""

from typing import Annotated

import strawberry
from strawberry import UNSET

from api.access import allow_user, owner_of
from api.gateway.schema.context import Info
from api.gateway.schema.envelope import Answers, check_page
from api.gateway.schema.inputs import given
from api.gateway.schema.paging import Limit, PageNumber
from api.gateway.schema.preferences import PreferencesInput
from api.gateway.schema.users import (
    CreateUserInput,
    DeletePayload,
    Device,
    DevicePayload,
    RegisterDeviceInput,
    UpdateUserInput,
    User,
    UserFilter,
    UserListPayload,
    UserPayload,
)
from api.records import UserDevice
from api.security import Scope
from domain.errors import NotFound
from domain.ids import DEVICE, is_id

field = strawberry.field
UserId = Annotated[strawberry.ID, strawberry.argument(description="The user.")]


@strawberry.type
class UserQueries:
    """Mixed into `Query`."""

    @field(description="One user.", extensions=[Answers(UserPayload, Scope.USERS_READ, end_users=True)])
    async def user(self, info: Info, id: UserId) -> UserPayload:
        """By id; an end user, themselves."""
        allow_user(info.context.principal, id)
        return UserPayload.ok(User.of(await info.context.services.users.get(id)))

    @field(description="Users, the oldest first.", extensions=[Answers(UserListPayload, Scope.USERS_READ)])
    async def users(
        self,
        info: Info,
        filter: Annotated[UserFilter | None, strawberry.argument(description="Which ones.")] = UNSET,
        page: PageNumber = 1,
        limit: Limit = 20,
    ) -> UserListPayload:
        """A page."""
        check_page(page, limit)
        email = given(filter.email) if filter else None
        return UserListPayload.of(await info.context.services.users.list(page=page, limit=limit, email=email))


@strawberry.type
class UserMutations:
    """Mixed into `Mutation`."""

    @strawberry.mutation(description="Create a user.", extensions=[Answers(UserPayload, Scope.USERS_WRITE)])
    async def create_user(
        self, info: Info, input: Annotated[CreateUserInput, strawberry.argument(description="The user.")]
    ) -> UserPayload:
        """A taken id or address is a conflict."""
        # Null means the same as left out: there is nothing yet that it could clear.
        view = await info.context.services.users.create(
            id=given(input.id),
            email=given(input.email),
            name=given(input.name),
            locale=given(input.locale),
            time_zone=given(input.time_zone),
        )
        return UserPayload.ok(User.of(view), "Created.")

    @strawberry.mutation(
        description="Change a user: what is left out stays, null clears.",
        extensions=[Answers(UserPayload, Scope.USERS_WRITE)],
    )
    async def update_user(
        self,
        info: Info,
        id: UserId,
        input: Annotated[UpdateUserInput, strawberry.argument(description="What shall change.")],
    ) -> UserPayload:
        """May be called again."""
        changes = {name: value for name, value in vars(input).items() if value is not UNSET}
        return UserPayload.ok(User.of(await info.context.services.users.update(id, changes)), "Changed.")

    @strawberry.mutation(
        description="Erase a user: contact points, devices, preferences, and what notifications said to them. What is "
        "not sent yet is cancelled; the status log keeps only ids.",
        extensions=[Answers(DeletePayload, Scope.USERS_WRITE)],
    )
    async def delete_user(self, info: Info, id: UserId) -> DeletePayload:
        """NOT_FOUND the second time."""
        await info.context.services.users.delete(id)
        await info.context.services.hasten_erasure()
        return DeletePayload.deleted(id)

    @strawberry.mutation(
        description="Set what a user wants to get, and when: what is left out stays, null clears.",
        extensions=[Answers(UserPayload, Scope.USERS_WRITE, end_users=True)],
    )
    async def set_preferences(
        self,
        info: Info,
        user_id: UserId,
        input: Annotated[PreferencesInput, strawberry.argument(description="What they choose.")],
    ) -> UserPayload:
        """May be called again."""
        allow_user(info.context.principal, user_id)
        users = info.context.services.users
        await users.set_preferences(user_id, input.read())
        return UserPayload.ok(User.of(await users.get(user_id)), "Set.")

    @strawberry.mutation(
        description="Register a device of a user. A token that was another user's moves.",
        extensions=[Answers(DevicePayload, Scope.USERS_WRITE, end_users=True)],
    )
    async def register_device(
        self,
        info: Info,
        user_id: UserId,
        input: Annotated[RegisterDeviceInput, strawberry.argument(description="The device.")],
    ) -> DevicePayload:
        """May be called again: the same token is the same device."""
        allow_user(info.context.principal, user_id)
        users = info.context.services.users
        view = await users.register_device(user_id, platform=input.platform.value, token=input.token)
        return DevicePayload.ok(Device.of(view), "Registered.")

    @strawberry.mutation(
        description="Forget a device: push reaches it no longer.",
        extensions=[Answers(DeletePayload, Scope.USERS_WRITE, end_users=True)],
    )
    async def remove_device(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="The device.")]
    ) -> DeletePayload:
        """NOT_FOUND the second time."""
        await device_of(info, id)
        await info.context.services.users.remove_device(id)
        return DeletePayload.deleted(id)


async def device_of(info: Info, id: str) -> UserDevice:
    """The device with this id that the caller may see; raises `NotFound`."""
    device = await info.context.services.users.device(id) if is_id(DEVICE, id) else None
    if device is None or owner_of(info.context.principal) not in (None, device.user_id):
        raise NotFound("device", id)
    return device
