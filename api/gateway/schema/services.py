"""What the resolvers use of the rest of the gateway, and of the other services."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from api.access import Limiter
from api.api_keys import ApiKey, NewKey
from api.gateway.actions import Replayed
from api.gateway.dead_letters import DeadLetter, DeadLetterFilter
from api.gateway.feed import Follower
from api.gateway.figures import SystemFigures
from api.gateway.previews import Previews
from api.gateway.queries import NotificationFilter, Slice, Stretch
from api.gateway.queries import Page as Found
from api.gateway.suppressions import Suppression
from api.records import Page, User, UserDevice
from api.security import Principal
from domain.callbacks import Acknowledgement, Callback
from domain.events import Attempt
from domain.notification import Channel, Status
from domain.ports import LogRow
from domain.preferences import Preferences
from domain.send import SendPorts
from domain.template import Template, TemplateLocale, TemplateVersion
from domain.views import NotificationView, RequestView


class Reads(Protocol):
    """The gateway's read side; see `api.gateway.queries.Queries`."""

    async def notification(self, id: str) -> NotificationView | None: ...
    async def notifications_by_id(self, ids: Sequence[str]) -> Mapping[str, NotificationView]: ...
    async def notifications(self, where: NotificationFilter, page: int, limit: int) -> Found[NotificationView]: ...
    async def notifications_along(self, where: NotificationFilter, stretch: Stretch) -> Slice[NotificationView]: ...
    async def request(self, client: str | None, request_id: str) -> RequestView | None: ...
    async def request_by_id(self, id: str) -> RequestView | None: ...
    async def notifications_of_request(
        self, request: str, status: Status | None, page: int, limit: int
    ) -> Found[NotificationView]: ...
    async def attempts(self, ids: Sequence[str]) -> Mapping[str, Sequence[Attempt]]: ...
    async def callbacks(self, ids: Sequence[str]) -> Mapping[str, Sequence[Callback]]: ...
    async def timeline(self, ids: Sequence[str], after_sequence: int = 0) -> Mapping[str, Sequence[LogRow]]: ...


class Users(Protocol):
    """The User Service; see `api.users.client.UsersClient`. Each call raises `UpstreamUnavailable`, and what the
    service refuses with."""

    async def get(self, user_id: str) -> User: ...
    async def list(self, *, page: int, limit: int, email: str | None = None) -> Page[User]: ...
    async def after(self, cursor: str | None, *, limit: int, email: str | None = None) -> Page[User]: ...
    async def create(
        self, *, id: str | None, email: str | None, name: str | None, locale: str | None, time_zone: str | None
    ) -> User: ...
    async def update(self, user_id: str, changes: Mapping[str, str | None]) -> User: ...
    async def delete(self, user_id: str) -> None: ...
    async def set_preferences(self, user_id: str, changes: Mapping[str, Any]) -> Preferences: ...
    async def device(self, device_id: str) -> UserDevice: ...
    async def register_device(self, user_id: str, *, platform: str, token: str) -> UserDevice: ...
    async def remove_device(self, device_id: str) -> None: ...


class Templates(Protocol):
    """The Template Service; see `api.templates.client.TemplatesClient`. Raises as `Users` does."""

    async def get(self, key: str) -> Template: ...
    async def list(self, *, page: int, limit: int) -> Page[Template]: ...
    async def versions(self, key: str) -> Sequence[TemplateVersion]: ...
    async def create(
        self,
        key: str,
        *,
        name: str | None,
        default_locale: str | None,
        locales: Sequence[TemplateLocale] | None,
        note: str | None,
        publish: bool,
    ) -> Template: ...
    async def create_version(
        self, key: str, locales: Sequence[TemplateLocale], *, note: str | None
    ) -> TemplateVersion: ...
    async def publish(self, key: str, version: int) -> Template: ...
    async def delete(self, key: str) -> None: ...


class Suppressions(Protocol):
    """Our blocks on contact points; see `api.gateway.suppressions.SqlSuppressions`."""

    async def get(self, id: str) -> Suppression: ...
    async def page(self, channel: Channel | None, page: int, limit: int) -> tuple[list[Suppression], int]: ...
    async def add(self, channel: Channel, contact_point: str, reason: str) -> Suppression: ...
    async def lift(self, id: str) -> None: ...


class DeadLetters(Protocol):
    """What operators read; see `api.gateway.dead_letters.SqlDeadLetters`."""

    async def get(self, id: str) -> DeadLetter: ...
    async def page(self, where: DeadLetterFilter, page: int, limit: int) -> tuple[list[DeadLetter], int]: ...


class Replays(Protocol):
    """How they are started again; see `api.gateway.actions.Replays`."""

    async def replay(self, ids: Sequence[str], by: Principal) -> Replayed: ...
    async def replay_where(
        self, where: DeadLetterFilter, limit: int, by: Principal, rate: int | None = None
    ) -> Replayed: ...


class Keys(Protocol):
    """The API keys; see `api.api_keys.ApiKeys`. Each call raises `DatabaseUnavailable`."""

    async def create(
        self,
        name: str,
        scopes: Collection[str],
        *,
        client: str | None = None,
        granted_by: Principal | None = None,
        test: bool = False,
    ) -> NewKey: ...
    async def page(self, page: int, limit: int) -> tuple[list[ApiKey], int]: ...
    async def get(self, id: str) -> ApiKey: ...
    async def revoke(self, id: str) -> None: ...


class Figures(Protocol):
    """The system in figures; see `api.gateway.figures.Figures`."""

    def now(self) -> SystemFigures: ...


def nobody_counts(field: str, outcome: str, seconds: float) -> None:
    """Where nobody counts."""


class Services(msgspec.Struct, frozen=True, kw_only=True):
    """What the resolvers use. `cancel` raises `NotFound`, and a `TooLate` that carries the `notification`;
    `acknowledge` raises `NotFound`;
    `hasten_erasure` works off what the User Service has erased, and never raises. `sandbox`: there is one for
    what test keys send. `resolved` is told of each root field: its name, `ok`, `refused` or `error`, and
    its seconds."""

    send_ports: SendPorts
    queries: Reads
    cancel: Callable[[str], Awaitable[NotificationView]]
    acknowledge: Callable[[str, Acknowledgement], Awaitable[NotificationView]]
    users: Users
    templates: Templates
    previews: Previews
    suppressions: Suppressions
    dead_letters: DeadLetters
    replays: Replays
    keys: Keys
    hasten_erasure: Callable[[], Awaitable[None]]
    limiter: Limiter
    feed: Follower
    figures: Figures
    sandbox: bool = False
    resolved: Callable[[str, str, float], None] = nobody_counts
