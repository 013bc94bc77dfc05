"""What resolvers have at hand: who calls, under which correlation id, and the services they may use."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import strawberry
from graphql import DocumentNode
from strawberry.types import ExecutionContext

from api.access import allow
from api.gateway.schema.loaders import Loaders
from api.gateway.schema.services import Services
from api.security import Principal, Scope
from domain.errors import Unauthenticated


@dataclass(slots=True)
class Pending:
    """What is known of an operation that Strawberry does not run, under the names of its `ExecutionContext`."""

    schema: strawberry.Schema
    operation_name: str | None
    variables: dict[str, Any] | None
    graphql_document: DocumentNode | None = None


@dataclass(slots=True)
class Context:
    """One operation. On a socket, all operations share what it was opened with and get a copy each.

    `execution` is what Strawberry knows about the operation; `validated` that its document was found valid.
    Of a stream of server-sent events, `last_event_id` is the cursor that the client comes back with, and `position` is
    where the last event stands in the log.
    """

    services: Services
    correlation_id: str
    caller: Principal | None
    headers: Mapping[str, str]
    traceparent: str | None = None
    connection_params: dict[str, Any] | None = None
    execution: "ExecutionContext | Pending | None" = None
    validated: bool = False
    last_event_id: str | None = None
    position: int | None = None
    _loaders: Loaders | None = None

    @property
    def principal(self) -> Principal:
        """Who calls; raises `Unauthenticated` where nobody has said so."""
        if self.caller is None:
            raise Unauthenticated("Give an API key first.")
        return self.caller

    async def admit(self, scope: Scope, *, end_users: bool = False) -> None:
        """Let the caller pass: one more operation of theirs, within their rate and their rights.

        Raises `Unauthenticated`, `Forbidden`, `RateLimited`.
        """
        allow(self.principal, scope, end_users=end_users)
        await self.services.limiter.check(self.principal)

    @property
    def hides_suggestions(self) -> bool:
        """Whether errors must not say which name may have been meant."""
        return self.execution is not None and bool(getattr(self.execution.schema, "hide_suggestions", False))

    @property
    def loaders(self) -> Loaders:
        """The loaders of this operation."""
        if self._loaders is None:
            self._loaders = Loaders(self.services)
        return self._loaders

    def renew(self) -> None:
        """Forget what was loaded: every event of a subscription sees things as they are now."""
        self._loaders = None

    def for_one(self) -> "Context":
        """A copy for one operation of a socket."""
        return replace(self, connection_params=None, execution=None, validated=False, _loaders=None)


Info: TypeAlias = strawberry.Info[Context, None]
