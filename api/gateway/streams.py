"""Operations whose results come one by one, as sockets and event streams carry them.

Strawberry runs queries and mutations. The events of a subscription go straight from its resolver through the executor;
what an event comes to is worked out and encoded once for all subscriptions that select the same, however many there
are.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import cast

import strawberry
from graphql import DocumentNode, ExecutionResult, GraphQLError, get_operation_ast, parse
from strawberry.types.graphql import OperationType

from api.gateway.documents import Library
from api.gateway.failures import DOCUMENT_INVALID, presented
from api.gateway.schema.context import Context, Pending
from api.gateway.subscribers import Caller, Subscribers
from api.gateway.subscription import Asked, NotBegun, Renditions, Subscription, encoded


class Streams:
    """Runs operations and gives their results one by one, encoded: the payloads of `next` messages."""

    def __init__(self, schema: strawberry.Schema, library: Library, subscribers: Subscribers) -> None:
        self._schema, self._library, self._subscribers = schema, library, subscribers
        self._renditions = Renditions()

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
        subscription = Subscription(self._schema, self._renditions, document, operation, asked, context)
        caller = self._enter(context)
        try:
            async with aclosing(subscription.payloads()) as payloads:
                async for payload in payloads:
                    yield payload
        finally:
            self._subscribers.leave(caller)

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
        return encoded(ExecutionResult(result.data, errors))

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

    def _enter(self, context: Context) -> Caller:
        try:
            return self._subscribers.enter(context.principal)
        except GraphQLError as error:
            raise NotBegun([error]) from error


def _no_such_operation(asked: Asked) -> GraphQLError:
    if asked.operation_name is None:
        text = "The document has several operations: say which one with operationName."
    else:
        text = "The document has no operation of that name."
    return GraphQLError(text, extensions={"code": DOCUMENT_INVALID})
