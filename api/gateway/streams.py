"""Operations whose results come one by one, as sockets and event streams carry them.

Strawberry runs queries and mutations. The events of a subscription go straight from its resolver through the executor;
what an event comes to is worked out and encoded once for all subscriptions that select the same, however many there
are.
"""

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
    create_source_event_stream,
    execute_subscription_event,
    get_operation_ast,
    parse,
)
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext as Executor
from strawberry.types.graphql import OperationType
from strawberry.utils.await_maybe import await_maybe

from api.gateway.documents import Library
from api.gateway.failures import DOCUMENT_INVALID, presented
from api.gateway.schema.context import Context, Pending
from api.gateway.schema.notifications import StatusEvent
from api.gateway.shapes import shape_of
from domain.errors import ErrorCode

MAX_RENDITIONS = 4_096
"""Encoded events that are kept for the next subscriber; a few hundred bytes each."""


async def _gathered(work: Sequence[Awaitable[Any]]) -> list[Any]:
    return list(await asyncio.gather(*work))


_NO_HELPERS = GraphQLResolveInfoHelpers(gather=_gathered, track=lambda _: None)
"""For the resolvers of subscriptions, none of which has work of its own to be awaited."""


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


class Streams:
    """Runs operations and gives their results one by one, encoded: the payloads of `next` messages."""

    def __init__(self, schema: strawberry.Schema, library: Library) -> None:
        self._schema, self._library = schema, library
        self._renditions: OrderedDict[Hashable, str] = OrderedDict()

    async def run(self, asked: Asked, context: Context) -> AsyncGenerator[str, None]:
        """The results, until the operation is over. Raises `NotBegun` at the first step. Close the generator.

        `context` must be this operation's own.
        """
        document = self._valid(asked, context)
        operation = get_operation_ast(document, asked.operation_name)
        if operation is None:
            raise NotBegun([_no_such_operation(asked)])
        if OperationType(operation.operation.value) is not OperationType.SUBSCRIPTION:
            yield await self._executed(asked, context)
            return
        shape = shape_of(document, operation)
        try:
            async with aclosing(await self._events(document, asked, context)) as events:
                async for event in events:
                    yield await self._rendered(event, shape, document, asked, context)
        except NotBegun:
            raise
        except Exception as error:
            yield _encoded(ExecutionResult(None, _shown(error, context)))

    async def _executed(self, asked: Asked, context: Context) -> str:
        """A query or a mutation: one result."""
        result = await self._schema.execute(
            asked.query,
            variable_values=asked.variables,
            context_value=context,
            operation_name=asked.operation_name,
        )
        errors = presented(result.errors, context) if result.errors else None
        if errors and result.data is None and all(error.path is None for error in errors):
            raise NotBegun(errors)
        return _encoded(ExecutionResult(result.data, errors))

    # ------------------------------------------------------------------------------------------------ subscriptions

    def _valid(self, asked: Asked, context: Context) -> DocumentNode:
        """The document, parsed, guarded and validated, now or before."""
        context.execution = Pending(self._schema, asked.operation_name, asked.variables)
        document = self._library.known(asked.query)
        if document is None:
            document = self._learn(asked.query, context)
        context.execution.graphql_document = document
        context.validated = True
        return document

    def _learn(self, query: str, context: Context) -> DocumentNode:
        try:
            document = parse(query, max_tokens=self._library.max_tokens)
        except GraphQLError as error:
            raise NotBegun(presented([error], context)) from error
        cast(Pending, context.execution).graphql_document = document
        if problems := self._library.problems(query, document):
            raise NotBegun(presented(problems, context))
        return document

    def _executor(self, document: DocumentNode, asked: Asked, context: Context) -> Executor:
        executor = Executor.build(
            self._schema._schema,
            document,
            context_value=context,
            raw_variable_values=asked.variables,
            operation_name=asked.operation_name,
            hide_suggestions=self._schema.config.disable_field_suggestions,
            operation_extensions={},
        )
        if isinstance(executor, list):
            raise NotBegun(presented(executor, context))
        return cast(Executor, executor)

    async def _events(self, document: DocumentNode, asked: Asked, context: Context) -> AsyncGenerator[Any, None]:
        """What the resolver yields. Nothing of it has run yet."""
        executor = self._executor(document, asked, context)
        # The resolver's `info` lives as long as the subscription, and through these helpers so would the executor.
        executor.async_helpers = _NO_HELPERS
        source = await await_maybe(create_source_event_stream(executor))
        if isinstance(source, ExecutionResult):
            raise NotBegun(presented(source.errors or [], context))
        return cast(AsyncGenerator[Any, None], source)

    async def _rendered(
        self, event: Any, shape: Hashable | None, document: DocumentNode, asked: Asked, context: Context
    ) -> str:
        """The event as this subscription wants it: as it was made for another one of the same shape, if there was."""
        if shape is None or not isinstance(event, StatusEvent):
            return _encoded(await self._result(event, document, asked, context))
        key = (shape, event.position)
        known = self._renditions.get(key)
        if known is None:
            result = await self._result(event, document, asked, context)
            known = _encoded(result)
            if not result.errors:
                self._keep(key, known)
        return known

    async def _result(self, event: Any, document: DocumentNode, asked: Asked, context: Context) -> ExecutionResult:
        """Executed for one event. An executor is made for each: kept, it would be 3 kB an idle subscription."""
        executor = self._executor(document, asked, context).build_per_event_executor(event)
        result = await await_maybe(execute_subscription_event(executor))
        return ExecutionResult(result.data, presented(result.errors, context)) if result.errors else result

    def _keep(self, key: Hashable, rendition: str) -> None:
        self._renditions[key] = rendition
        if len(self._renditions) > MAX_RENDITIONS:
            self._renditions.popitem(last=False)


def _shown(error: Exception, context: Context) -> list[GraphQLError]:
    """What a subscription ended with."""
    known = error if isinstance(error, GraphQLError) else GraphQLError(str(error), original_error=error)
    shown = presented([known], context)
    if any((each.extensions or {}).get("code") == ErrorCode.RATE_LIMITED for each in shown):
        raise NotBegun(shown) from error
    return shown


def _no_such_operation(asked: Asked) -> GraphQLError:
    if asked.operation_name is None:
        text = "The document has several operations: say which one with operationName."
    else:
        text = "The document has no operation of that name."
    return GraphQLError(text, extensions={"code": DOCUMENT_INVALID})


def _encoded(result: ExecutionResult) -> str:
    payload: dict[str, Any] = {"data": result.data}
    if result.errors:
        payload["errors"] = [error.formatted for error in result.errors]
    return orjson.dumps(payload).decode()
