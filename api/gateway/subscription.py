"""One subscription: from its resolver's events to what is sent for each, encoded once for all that select the same."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Hashable, Sequence
from contextlib import aclosing
from typing import Any, cast

import msgspec
import orjson
import strawberry
from graphql import (
    DocumentNode,
    ExecutionResult,
    GraphQLError,
    GraphQLResolveInfoHelpers,
    OperationDefinitionNode,
    create_source_event_stream,
    execute_subscription_event,
)
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext as Executor
from strawberry.types import get_object_definition
from strawberry.utils.await_maybe import await_maybe

from api.gateway.failures import presented
from api.gateway.schema.context import Context
from api.gateway.schema.notifications import StatusEvent
from api.gateway.shapes import shape_of
from domain.errors import ErrorCode

MAX_RENDITIONS = 4_096
"""Encoded events that are kept for the next subscriber; a few hundred bytes each."""


PLAIN = frozenset(
    {"__typename"}
    | {field.name for field in get_object_definition(StatusEvent, strict=True).fields if field.base_resolver is None}
)
"""The fields of an event that are there with it. One with a resolver may look at who asks."""


class Asked(msgspec.Struct, frozen=True):
    """What a client wants executed."""

    query: str
    variables: dict[str, Any] | None = None
    operation_name: str | None = None


class NotBegun(Exception):
    """The operation was refused before it began; `errors` is why, fit to be shown."""

    def __init__(self, errors: Sequence[GraphQLError]) -> None:
        self.errors = list(errors)
        super().__init__(self.errors[0].message)


class Renditions:
    """What events came to for subscriptions of some shape, the last ones."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[Hashable, int], str] = OrderedDict()

    def get(self, shape: Hashable, position: int) -> str | None:
        """What the event at this position comes to, where it is known."""
        return self._kept.get((shape, position))

    def keep(self, shape: Hashable, position: int, rendition: str) -> None:
        """Remember it for the next one."""
        self._kept[shape, position] = rendition
        if len(self._kept) > MAX_RENDITIONS:
            self._kept.popitem(last=False)

    def __len__(self) -> int:
        return len(self._kept)


class Subscription:
    """A valid subscription of one caller. `context` is its own."""

    def __init__(
        self,
        schema: strawberry.Schema,
        renditions: Renditions,
        document: DocumentNode,
        operation: OperationDefinitionNode,
        asked: Asked,
        context: Context,
    ) -> None:
        self._schema, self._renditions = schema, renditions
        self._document, self._asked, self._context = document, asked, context
        self._shape = shape_of(document, operation, PLAIN)

    async def payloads(self) -> AsyncGenerator[str, None]:
        """A payload an event; the last one says why it ended, where it did not end by itself. Close the generator.

        Raises `NotBegun` at the first step.
        """
        try:
            async with aclosing(await self._events()) as events:
                async for event in events:
                    yield await self._rendered(event)
        except NotBegun:
            raise
        except Exception as error:
            yield encoded(ExecutionResult(None, self._shown(error)))

    async def _events(self) -> AsyncGenerator[Any, None]:
        """What the resolver yields. Nothing of it has run yet."""
        executor = self._executor()
        # The resolver's `info` lives as long as the subscription, and through these helpers so would the executor.
        executor.async_helpers = _NO_HELPERS
        source = await await_maybe(create_source_event_stream(executor))
        if isinstance(source, ExecutionResult):
            raise NotBegun(presented(source.errors or [], self._context))
        return cast(AsyncGenerator[Any, None], source)

    def _executor(self) -> Executor:
        executor = Executor.build(
            self._schema._schema,
            self._document,
            context_value=self._context,
            raw_variable_values=self._asked.variables,
            operation_name=self._asked.operation_name,
            hide_suggestions=self._schema.config.disable_field_suggestions,
            operation_extensions={},
        )
        if isinstance(executor, list):
            raise NotBegun(presented(executor, self._context))
        return cast(Executor, executor)

    async def _rendered(self, event: Any) -> str:
        """The event as this subscription wants it: as it was made for another one of the same shape, if there was."""
        if self._shape is None or not isinstance(event, StatusEvent):
            return encoded(await self._result(event))
        known = self._renditions.get(self._shape, event.position)
        if known is None:
            result = await self._result(event)
            known = encoded(result)
            if not result.errors:
                self._renditions.keep(self._shape, event.position, known)
        return known

    async def _result(self, event: Any) -> ExecutionResult:
        """Executed for one event. An executor is made for each: kept, it would be 3 kB an idle subscription."""
        executor = self._executor().build_per_event_executor(event)
        result = await await_maybe(execute_subscription_event(executor))
        return ExecutionResult(result.data, presented(result.errors, self._context)) if result.errors else result

    def _shown(self, error: Exception) -> list[GraphQLError]:
        """What it ended with."""
        known = error if isinstance(error, GraphQLError) else GraphQLError(str(error), original_error=error)
        shown = presented([known], self._context)
        if any((each.extensions or {}).get("code") == ErrorCode.RATE_LIMITED for each in shown):
            raise NotBegun(shown) from error
        return shown


def encoded(result: ExecutionResult) -> str:
    """A result as the payload of a `next` message."""
    payload: dict[str, Any] = {"data": result.data}
    if result.errors:
        payload["errors"] = [error.formatted for error in result.errors]
    return orjson.dumps(payload).decode()


async def _gathered(work: Sequence[Awaitable[Any]]) -> list[Any]:
    return list(await asyncio.gather(*work))


_NO_HELPERS = GraphQLResolveInfoHelpers(gather=_gathered, track=lambda _: None)
"""For the resolvers of subscriptions, none of which has work of its own to be awaited."""
