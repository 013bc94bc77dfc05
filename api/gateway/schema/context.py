"""What resolvers have at hand: who calls, under which correlation id, and the services they may use."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import msgspec
import strawberry
from strawberry.types import ExecutionContext

from api.gateway.feed import Follower
from api.gateway.queries import NotificationFilter
from api.gateway.queries import Page as Found
from api.gateway.schema.loaders import Loaders
from api.records import Page, User, UserDevice
from api.security import Principal
from domain.errors import Unauthenticated
from domain.events import Attempt
from domain.notification import Status
from domain.ports import LogRow
from domain.send import SendPorts
from domain.template import Template, TemplateLocale, TemplateVersion
from domain.views import NotificationView, RequestView


class Reads(Protocol):
    """The gateway's read side; see `api.gateway.queries.Queries`."""

    async def notification(self, id: str) -> NotificationView | None: ...
    async def notifications_by_id(self, ids: Sequence[str]) -> Mapping[str, NotificationView]: ...
    async def notifications(self, where: NotificationFilter, page: int, limit: int) -> Found[NotificationView]: ...
    async def request(self, client: str | None, request_id: str) -> RequestView | None: ...
    async def request_by_id(self, id: str) -> RequestView | None: ...
    async def notifications_of_request(
        self, request: str, status: Status | None, page: int, limit: int
    ) -> Found[NotificationView]: ...
    async def attempts(self, ids: Sequence[str]) -> Mapping[str, Sequence[Attempt]]: ...
    async def timeline(self, ids: Sequence[str], after_sequence: int = 0) -> Mapping[str, Sequence[LogRow]]: ...


class Users(Protocol):
    """The User Service; see `api.users.client.UsersClient`. Each call raises `UpstreamUnavailable`, and what the
    service refuses with."""

    async def get(self, user_id: str) -> User: ...
    async def list(self, *, page: int, limit: int, email: str | None = None) -> Page[User]: ...
    async def create(
        self, *, id: str | None, email: str | None, name: str | None, locale: str | None, time_zone: str | None
    ) -> User: ...
    async def update(self, user_id: str, changes: Mapping[str, str | None]) -> User: ...
    async def delete(self, user_id: str) -> None: ...
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


class Services(msgspec.Struct, frozen=True, kw_only=True):
    """What the resolvers use. `cancel` raises `NotFound`, and a `TooLate` that carries the `notification`."""

    send_ports: SendPorts
    queries: Reads
    cancel: Callable[[str], Awaitable[NotificationView]]
    users: Users
    templates: Templates
    feed: Follower


@dataclass(slots=True)
class Context:
    """One operation. On a socket, all operations share what it was opened with and get a copy each.

    `execution` is what Strawberry knows about the operation; `validated` that its document was found valid.
    """

    services: Services
    correlation_id: str
    caller: Principal | None
    headers: Mapping[str, str]
    traceparent: str | None = None
    connection_params: dict[str, Any] | None = None
    execution: ExecutionContext | None = None
    validated: bool = False
    _loaders: Loaders | None = None

    @property
    def principal(self) -> Principal:
        """Who calls; raises `Unauthenticated` where nobody has said so."""
        if self.caller is None:
            raise Unauthenticated("Give an API key first.")
        return self.caller

    @property
    def loaders(self) -> Loaders:
        """The loaders of this operation."""
        if self._loaders is None:
            self._loaders = Loaders(self.services)
        return self._loaders

    def renew(self) -> None:
        """Forget what was loaded: every event of a subscription sees things as they are now."""
        self._loaders = None

    def of_operation(self, execution: ExecutionContext) -> "Context":
        """The context of this operation: a copy where others share this one, else itself."""
        if self.connection_params is None:
            self.execution = execution
            return self
        return Context(
            services=self.services,
            correlation_id=self.correlation_id,
            caller=self.caller,
            headers=self.headers,
            traceparent=self.traceparent,
            execution=execution,
        )


Info: TypeAlias = strawberry.Info[Context, None]
