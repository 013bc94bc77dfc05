"""What resolvers have at hand: who calls, under which correlation id, and the services they may use."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import strawberry
from strawberry.types import ExecutionContext

from api.access import allow
from api.gateway.schema.loaders import Loaders
from api.gateway.schema.services import Services
from api.security import Principal, Scope
from domain.errors import Unauthenticated


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
