"""The User and Template Services in memory, as their clients answer."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from api.http import page_meta
from api.records import Page, User, UserDevice
from domain.errors import Conflict, FieldProblem, NotFound, ValidationFailed
from domain.ids import DEVICE, TEMPLATE, USER, new_id
from domain.ports import Known
from domain.preferences import ChannelPreference, Preferences
from domain.recipient import Device, Recipient
from domain.template import Template, TemplateLocale, TemplateVersion

NOON = datetime(2025, 1, 1, 12, 0, tzinfo=UTC)


class People:
    """The User Service in memory."""

    def __init__(self) -> None:
        self.users: dict[str, User] = {}
        self.calls = 0

    async def lookup(self, user_ids: Sequence[str]) -> dict[str, Known[Recipient]]:
        """As `Recipients.lookup`."""
        return {id: Known(_recipient(self.users[id])) for id in user_ids if id in self.users}

    async def get(self, user_id: str) -> User:
        self.calls += 1
        if user_id not in self.users:
            raise NotFound("user", user_id)
        return self.users[user_id]

    async def list(self, *, page: int, limit: int, email: str | None = None) -> Page[User]:
        found = [user for user in self.users.values() if email in (None, user.email)]
        return Page(items=found[(page - 1) * limit : page * limit], meta=page_meta(len(found), page, limit))

    async def after(self, cursor: str | None, *, limit: int, email: str | None = None) -> Page[User]:
        found = [user for user in self.users.values() if email in (None, user.email)]
        start = 0 if cursor is None else [user.cursor for user in found].index(cursor) + 1
        return Page(items=found[start : start + limit], meta=page_meta(len(found) - start, 1, limit))

    async def set_preferences(self, user_id: str, changes: Mapping[str, Any]) -> Preferences:
        user = await self.get(user_id)
        chosen = msgspec.convert({**msgspec.to_builtins(user.preferences), **changes}, Preferences)
        self.users[user_id] = msgspec.structs.replace(user, preferences=chosen)
        return chosen

    async def choose(self, user_id: str, choice: ChannelPreference) -> Preferences:
        user = await self.get(user_id)
        others = tuple(
            one for one in user.preferences.channels if (one.channel, one.category) != (choice.channel, choice.category)
        )
        chosen = msgspec.structs.replace(user.preferences, channels=(*others, choice))
        self.users[user_id] = msgspec.structs.replace(user, preferences=chosen)
        return chosen

    async def create(self, **given: Any) -> User:
        id = given.pop("id") or new_id(USER)
        if id in self.users:
            raise Conflict(f"There is a user {id!r} already.")
        fields = {"locale": "en", "time_zone": "UTC", **{name: value for name, value in given.items() if value}}
        self.users[id] = User(
            id=id,
            email=fields.get("email"),
            name=fields.get("name"),
            locale=fields["locale"],
            time_zone=fields["time_zone"],
            devices=(),
            created_at=NOON,
            updated_at=NOON,
        )
        return self.users[id]

    async def update(self, user_id: str, changes: Mapping[str, str | None]) -> User:
        if changes.get("email", "a@b.example") == "broken":
            raise ValidationFailed([FieldProblem(("email",), "email", "is not an email address")])
        self.users[user_id] = msgspec.structs.replace(await self.get(user_id), **changes)
        return self.users[user_id]

    async def delete(self, user_id: str) -> None:
        await self.get(user_id)
        del self.users[user_id]

    async def device(self, device_id: str) -> UserDevice:
        for user in self.users.values():
            for device in user.devices:
                if device.id == device_id:
                    return device
        raise NotFound("device", device_id)

    async def register_device(self, user_id: str, *, platform: str, token: str) -> UserDevice:
        user = await self.get(user_id)
        device = UserDevice(
            id=new_id(DEVICE),
            user_id=user_id,
            platform=platform,
            token_hint=f"…{token[-4:]}",
            valid=True,
            created_at=NOON,
            last_seen_at=NOON,
        )
        self.users[user_id] = msgspec.structs.replace(user, devices=(*user.devices, device))
        return device

    async def remove_device(self, device_id: str) -> None:
        device = await self.device(device_id)
        user = self.users[device.user_id]
        kept = tuple(each for each in user.devices if each.id != device_id)
        self.users[user.id] = msgspec.structs.replace(user, devices=kept)


class Papers:
    """The Template Service in memory."""

    def __init__(self) -> None:
        self.templates: dict[str, Template] = {}
        self.bodies: dict[str, list[TemplateVersion]] = {}

    async def published(self, key: str) -> Known[Template]:
        """As `Templates.published`."""
        return Known(await self.get(key))

    async def version(self, key: str, version: int) -> TemplateVersion:
        """As `Templates.version`."""
        for body in self.bodies.get(key, []):
            if body.version == version:
                return body
        raise NotFound("template version", f"{key}@{version}")

    async def get(self, key: str) -> Template:
        if key not in self.templates:
            raise NotFound("template", key)
        return self.templates[key]

    async def list(self, *, page: int, limit: int) -> Page[Template]:
        found = list(self.templates.values())
        return Page(items=found[(page - 1) * limit : page * limit], meta=page_meta(len(found), page, limit))

    async def versions(self, key: str) -> Sequence[TemplateVersion]:
        await self.get(key)
        return list(reversed(self.bodies[key]))

    async def create(
        self,
        key: str,
        *,
        name: str | None = None,
        default_locale: str | None = None,
        locales: Sequence[TemplateLocale] | None = None,
        note: str | None = None,
        publish: bool = False,
    ) -> Template:
        if key in self.templates:
            raise Conflict(f"There is a template {key!r} already.")
        self.templates[key] = Template(
            id=new_id(TEMPLATE),
            key=key,
            name=name or key,
            default_locale=default_locale or "en",
            created_at=NOON,
            updated_at=NOON,
        )
        self.bodies[key] = []
        if locales is not None:
            await self.create_version(key, locales, note=note)
        return await self.publish(key, 1) if publish else self.templates[key]

    async def create_version(
        self, key: str, locales: Sequence[TemplateLocale], *, note: str | None = None
    ) -> TemplateVersion:
        template = await self.get(key)
        body = TemplateVersion(
            key=key,
            version=len(self.bodies[key]) + 1,
            default_locale=template.default_locale,
            published=False,
            locales=tuple(locales),
            note=note,
            created_at=NOON,
        )
        self.bodies[key].append(body)
        return body

    async def publish(self, key: str, version: int) -> Template:
        body = await self.version(key, version)
        self.templates[key] = msgspec.structs.replace(
            self.templates[key], published_version=version, published=msgspec.structs.replace(body, published=True)
        )
        return self.templates[key]

    async def delete(self, key: str) -> None:
        await self.get(key)
        del self.templates[key]


def _recipient(user: User) -> Recipient:
    devices = tuple(Device(id=device.id, token=f"token-{device.id}") for device in user.devices)
    return Recipient(
        user_id=user.id,
        name=user.name,
        email=user.email,
        devices=devices,
        locale=user.locale,
        time_zone=user.time_zone,
        preferences=user.preferences,
    )
