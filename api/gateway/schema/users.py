"""Users and devices as GraphQL shows them, and what changes them."""

from datetime import datetime
from enum import Enum
from typing import Self

import strawberry
from strawberry import UNSET

from api.gateway.schema.enums import describe
from api.gateway.schema.envelope import PageMeta, Response
from api.gateway.schema.node import Node
from api.gateway.schema.preferences import Preferences
from api.records import Page, UserDevice
from api.records import User as UserRecord

field = strawberry.field


class Platform(Enum):
    """What kind of device it is."""

    WEB = "WEB"
    IOS = "IOS"
    ANDROID = "ANDROID"


describe(
    Platform,
    "What kind of device it is.",
    {"WEB": "A browser.", "IOS": "An iPhone, iPad or Mac app.", "ANDROID": "An Android app."},
)


@strawberry.type(description="A device that push can reach.")
class Device(Node):
    """A device that push can reach."""

    platform: Platform = field(description="What kind of device it is.")
    token_hint: str = field(description="Enough of the token to recognise it, not enough to use it.")
    valid: bool = field(description="False once the provider said that the token is no longer registered.")
    invalid_since: datetime | None = field(description="Since when it is not used; null while it is valid.")
    created_at: datetime = field(description="When it was first registered.")
    last_seen_at: datetime | None = field(description="When it was last registered.")

    @classmethod
    def of(cls, view: UserDevice) -> Self:
        """From the User Service."""
        return cls(
            id=strawberry.ID(view.id),
            platform=Platform(view.platform),
            token_hint=view.token_hint,
            valid=view.valid,
            invalid_since=view.invalid_since,
            created_at=view.created_at,
            last_seen_at=view.last_seen_at,
        )


@strawberry.type(description="Somebody who can be notified.")
class User(Node):
    """Somebody who can be notified."""

    email: str | None = field(description="The address that email goes to.")
    name: str | None = field(description="What to call them.")
    locale: str = field(description="The language that templates are chosen by (BCP 47).")
    time_zone: str = field(description="Where they live (IANA name).")
    devices: list[Device] = field(description="The devices that push reaches.")
    preferences: Preferences = field(description="What they chose to get, and when.")
    created_at: datetime = field(description="When they were created.")
    updated_at: datetime = field(description="When they last changed.")

    @classmethod
    def of(cls, view: UserRecord) -> Self:
        """From the User Service."""
        return cls(
            id=strawberry.ID(view.id),
            email=view.email,
            name=view.name,
            locale=view.locale,
            time_zone=view.time_zone,
            devices=[Device.of(device) for device in view.devices],
            preferences=Preferences.of(view.preferences),
            created_at=view.created_at,
            updated_at=view.updated_at,
        )


@strawberry.input(description="A new user.")
class CreateUserInput:
    """A new user."""

    id: strawberry.ID | None = field(default=UNSET, description="Your own id for them; made up when left out.")
    email: str | None = field(default=UNSET, description="One address, without a display name.")
    name: str | None = field(default=UNSET, description="What to call them.")
    locale: str | None = field(default=UNSET, description="A BCP 47 tag such as pt-BR; default en.")
    time_zone: str | None = field(default=UNSET, description="An IANA name such as Europe/Lisbon; default UTC.")


@strawberry.input(description="What shall change about a user: what is left out stays, null clears.")
class UpdateUserInput:
    """What shall change about a user."""

    email: str | None = field(default=UNSET, description="One address, without a display name.")
    name: str | None = field(default=UNSET, description="What to call them.")
    locale: str | None = field(default=UNSET, description="A BCP 47 tag such as pt-BR.")
    time_zone: str | None = field(default=UNSET, description="An IANA name such as Europe/Lisbon.")


@strawberry.input(description="A device of a user.")
class RegisterDeviceInput:
    """A device of a user."""

    platform: Platform = field(description="What kind of device it is.")
    token: str = field(description="The token that the push provider gave the app.")


@strawberry.input(description="Which users; what is left out does not matter.")
class UserFilter:
    """Which users."""

    email: str | None = field(default=UNSET, description="Exactly this address, in any case.")


@strawberry.type(description="One user.")
class UserPayload(Response):
    """One user."""

    data: User | None = field(default=None, description="The user; null on failure.")


@strawberry.type(description="A page of users.")
class UserListPayload(Response):
    """A page of users."""

    data: list[User] | None = field(default=None, description="The users; null on failure.")

    @classmethod
    def of(cls, found: Page[UserRecord]) -> Self:
        """From the User Service."""
        items = [User.of(view) for view in found.items]
        return cls.ok(items, meta=PageMeta.of(found.meta.total, found.meta.page, found.meta.limit))


@strawberry.type(description="One device.")
class DevicePayload(Response):
    """One device."""

    data: Device | None = field(default=None, description="The device; null on failure.")


@strawberry.type(description="Something that is gone.")
class Deleted:
    """Something that is gone."""

    id: strawberry.ID = field(description="What was deleted: an id, or the key of a template.")


@strawberry.type(description="What was deleted.")
class DeletePayload(Response):
    """What was deleted."""

    data: Deleted | None = field(default=None, description="What was deleted; null on failure.")

    @classmethod
    def deleted(cls, id: str) -> Self:
        """Success."""
        return cls.ok(Deleted(id=strawberry.ID(id)), "Deleted.")
