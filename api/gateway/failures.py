"""What of an error a client gets to see: mistakes in full, our own bugs not at all."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any

from graphql import (
    ArgumentNode,
    DocumentNode,
    GraphQLError,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLSchema,
    GraphQLSyntaxError,
    Node,
    NonNullTypeNode,
    ObjectFieldNode,
    Undefined,
    VariableDefinitionNode,
    get_named_type,
    get_operation_ast,
    type_from_ast,
)
from graphql.language.ast import QUERY_DOCUMENT_KEYS
from graphql.utilities.validate_input_value import validate_input_value
from strawberry.exceptions import StrawberryInputCoercionError

from api.gateway.schema.context import Context
from domain.errors import FieldProblem, HeliographError, RateLimited, RequestError, Unavailable, ValidationFailed

log = logging.getLogger(__name__)

PARSE_FAILED = "GRAPHQL_PARSE_FAILED"
DOCUMENT_INVALID = "GRAPHQL_VALIDATION_FAILED"
VALIDATION_FAILED = "VALIDATION_FAILED"
INTERNAL = "INTERNAL_SERVER_ERROR"
_MAX_PROBLEMS = 100


def presented(errors: Sequence[GraphQLError], context: Context) -> list[GraphQLError]:
    """The errors as a client may see them, each with `extensions.code`. Bugs are logged here."""
    if not context.validated:
        return [_of_document(error, context) for error in errors]
    if any(_is_of_variables(error) for error in errors):
        return [_of_variables(errors, context)]
    return [_of_execution(error, context) for error in errors]


def shown(error: HeliographError) -> dict[str, Any]:
    """The `extensions` of an expected failure."""
    extensions: dict[str, Any] = {"code": str(error.code)}
    if isinstance(error, ValidationFailed):
        extensions["fields"] = _fields(error.fields)
    if isinstance(error, RateLimited):
        extensions["retry_after_seconds"] = error.retry_after_seconds
    return extensions


def _fields(problems: Iterable[FieldProblem]) -> list[dict[str, Any]]:
    return [{"path": list(each.path), "code": each.code, "message": each.message} for each in problems]


def _with(error: GraphQLError, extensions: dict[str, Any], message: str | None = None) -> GraphQLError:
    text = error.message if message is None else message
    return GraphQLError(
        text,
        error.nodes,
        error.source,
        error.positions,
        path=error.path,
        extensions={**extensions, **(error.extensions or {})},
    )


def _of_document(error: GraphQLError, context: Context) -> GraphQLError:
    """A text that is no valid document. Whatever it was, it is the client's."""
    if isinstance(error, GraphQLSyntaxError):
        return _with(error, {"code": PARSE_FAILED})
    path = _literal_path(context.execution.graphql_document, error.nodes) if context.execution else None
    if path is None:
        return _with(error, {"code": DOCUMENT_INVALID})
    problem = FieldProblem(path, "invalid", error.message)
    return _with(error, {"code": VALIDATION_FAILED, "fields": _fields([problem])})


def _is_of_variables(error: GraphQLError) -> bool:
    """The executor points at the variable, but for Strawberry's own check of `@oneOf`."""
    if error.path is not None:
        return False
    if isinstance(error, StrawberryInputCoercionError) or isinstance(
        error.original_error, StrawberryInputCoercionError
    ):
        return True
    return error.nodes is not None and isinstance(next(iter(error.nodes), None), VariableDefinitionNode)


def _of_variables(errors: Sequence[GraphQLError], context: Context) -> GraphQLError:
    """However many values do not fit, it is one error that names each of them."""
    execution = context.execution
    assert execution is not None and execution.graphql_document is not None, "it was validated"  # noqa: PT018
    problems = variable_problems(
        execution.schema._schema,
        execution.graphql_document,
        execution.operation_name,
        execution.variables or {},
        hide_suggestions=context.hides_suggestions,
    )
    extensions = {"code": VALIDATION_FAILED, "fields": _fields(problems)}
    return _with(errors[0], extensions)


def _of_execution(error: GraphQLError, context: Context) -> GraphQLError:
    cause: BaseException | None = error.original_error
    while isinstance(cause, GraphQLError) and cause.original_error is not None:
        cause = cause.original_error
    if isinstance(cause, RequestError | Unavailable):
        return _with(error, shown(cause), cause.message)
    pointing = error if cause is None else cause
    if isinstance(pointing, GraphQLError) and pointing.nodes:
        # The executor points at the document: an argument that does not fit.
        return _with(error, {"code": VALIDATION_FAILED})
    log.error("correlation id %s: %s failed", context.correlation_id, _place(error), exc_info=pointing)
    return masked(context.correlation_id, error)


def masked(correlation_id: str, error: GraphQLError | None = None) -> GraphQLError:
    """A bug, as a client may see it."""
    extensions = {"code": INTERNAL, "correlation_id": correlation_id}
    nodes, path = (error.nodes, error.path) if error else (None, None)
    return GraphQLError("Internal error", nodes, path=path, extensions=extensions)


def _place(error: GraphQLError) -> str:
    return ".".join(map(str, error.path)) if error.path else "the operation"


def variable_problems(
    schema: GraphQLSchema,
    document: DocumentNode,
    operation_name: str | None,
    variables: dict[str, Any],
    *,
    hide_suggestions: bool = False,
) -> list[FieldProblem]:
    """Every value that does not fit its variable, the first hundred; the path begins with the variable's name."""
    problems: list[FieldProblem] = []
    operation = get_operation_ast(document, operation_name)
    with suppress(_Enough):
        for definition in (operation.variable_definitions or ()) if operation else ():
            name = definition.variable.name.value
            value = variables.get(name, Undefined)
            if value is not Undefined:
                _check_value(name, value, type_from_ast(schema, definition.type), problems, hide_suggestions)
            elif isinstance(definition.type, NonNullTypeNode) and definition.default_value is None:
                problems.append(FieldProblem((name,), "required", "is required"))
    return problems[:_MAX_PROBLEMS]


class _Enough(Exception):
    """As many problems as are told."""


def _check_value(name: str, value: Any, type_: Any, problems: list[FieldProblem], hide_suggestions: bool) -> None:
    """Raises `_Enough`: looking for suggestions makes each problem cost a fraction of a millisecond."""

    def note(error: GraphQLError, path: list[str | int]) -> None:
        problems.append(FieldProblem((name, *map(str, path)), "invalid", error.message))
        if len(problems) >= _MAX_PROBLEMS:
            raise _Enough

    expected: GraphQLInputType = type_
    validate_input_value(value, expected, note, hide_suggestions)
    problems.extend(islice(_one_of_problems(value, expected, (name,)), _MAX_PROBLEMS))


def _one_of_problems(value: Any, type_: Any, path: tuple[str, ...]) -> Iterator[FieldProblem]:
    """Every `@oneOf` input that has not exactly one field. Strawberry stops at the first and does not say where."""
    named = get_named_type(type_)
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _one_of_problems(item, named, (*path, str(index)))
    elif isinstance(value, dict) and isinstance(named, GraphQLInputObjectType):
        definition = named.extensions.get("strawberry-definition")
        if definition is not None and definition.is_one_of and [given is None for given in value.values()] != [False]:
            yield FieldProblem(path, "one_of", f"takes exactly one of {', '.join(named.fields)}")
        for field, inner in value.items():
            if field in named.fields:
                yield from _one_of_problems(inner, named.fields[field].type, (*path, field))


def _literal_path(document: DocumentNode | None, nodes: Sequence[Node] | None) -> tuple[str, ...] | None:
    """The way to a value that was written into the document itself; None when the error is about something else."""
    names: list[str] = []
    for key, step in _way(document, nodes[0]) if document and nodes else ():
        if isinstance(step, ArgumentNode | ObjectFieldNode):
            names.append(step.name.value)
        elif isinstance(key, int) and names:
            names.append(str(key))
    return tuple(names) or None


def _way(document: DocumentNode, wanted: Node) -> Iterator[tuple[str | int, Node]]:
    """The steps from the document down to a node of it: each one's key in the one above, and the node.

    Only what stands around the node is entered, so it costs much less than a visit of the document.
    """
    step: Node | None = document
    while step is not None and step is not wanted:
        found = next((pair for pair in _children(step) if _holds(pair[1], wanted)), None)
        if found is not None:
            yield found
        step = found[1] if found else None


def _children(node: Node) -> Iterator[tuple[str | int, Node]]:
    for key in QUERY_DOCUMENT_KEYS[node.kind]:
        child = getattr(node, key)
        if isinstance(child, Node):
            yield key, child
        else:
            yield from enumerate(child or ())


def _holds(node: Node, wanted: Node) -> bool:
    return node is wanted or (
        node.loc is not None
        and wanted.loc is not None
        and node.loc.start <= wanted.loc.start
        and wanted.loc.end <= node.loc.end
    )
