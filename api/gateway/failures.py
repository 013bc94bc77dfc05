"""What of an error a client gets to see: mistakes in full, our own bugs not at all."""

import logging
from collections.abc import Iterable, Sequence
from typing import Any

from graphql import (
    ArgumentNode,
    DocumentNode,
    GraphQLError,
    GraphQLInputType,
    GraphQLSchema,
    GraphQLSyntaxError,
    Node,
    NonNullTypeNode,
    ObjectFieldNode,
    Undefined,
    VariableDefinitionNode,
    get_operation_ast,
    type_from_ast,
)
from graphql.language import Visitor, visit
from graphql.language.visitor import BREAK
from graphql.utilities.validate_input_value import validate_input_value

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
    return error.path is None and bool(error.nodes) and isinstance((error.nodes or [None])[0], VariableDefinitionNode)


def _of_variables(errors: Sequence[GraphQLError], context: Context) -> GraphQLError:
    """However many values do not fit, it is one error that names each of them."""
    execution = context.execution
    assert execution is not None and execution.graphql_document is not None, "it was validated"  # noqa: PT018
    problems = variable_problems(
        execution.schema._schema, execution.graphql_document, execution.operation_name, execution.variables or {}
    )
    extensions = {"code": VALIDATION_FAILED, "fields": _fields(problems[:_MAX_PROBLEMS])}
    return _with(errors[0], extensions)


def _of_execution(error: GraphQLError, context: Context) -> GraphQLError:
    cause: BaseException | None = error.original_error
    while isinstance(cause, GraphQLError) and cause.original_error is not None:
        cause = cause.original_error
    if isinstance(cause, RequestError | Unavailable):
        return _with(error, shown(cause), cause.message)
    if isinstance(cause or error, GraphQLError) and (cause or error).nodes:  # type: ignore[union-attr]
        # The executor points at the document: an argument that does not fit.
        return _with(error, {"code": VALIDATION_FAILED})
    log.error("correlation id %s: %s failed", context.correlation_id, _place(error), exc_info=cause or error)
    return masked(context.correlation_id, error)


def masked(correlation_id: str, error: GraphQLError | None = None) -> GraphQLError:
    """A bug, as a client may see it."""
    extensions = {"code": INTERNAL, "correlation_id": correlation_id}
    nodes, path = (error.nodes, error.path) if error else (None, None)
    return GraphQLError("Internal error", nodes, path=path, extensions=extensions)


def _place(error: GraphQLError) -> str:
    return ".".join(map(str, error.path)) if error.path else "the operation"


def variable_problems(
    schema: GraphQLSchema, document: DocumentNode, operation_name: str | None, variables: dict[str, Any]
) -> list[FieldProblem]:
    """Every value that does not fit its variable; the path begins with the variable's name."""
    problems: list[FieldProblem] = []
    operation = get_operation_ast(document, operation_name)
    for definition in (operation.variable_definitions or ()) if operation else ():
        name = definition.variable.name.value
        value = variables.get(name, Undefined)
        if value is not Undefined:
            _check_value(name, value, type_from_ast(schema, definition.type), problems)
        elif isinstance(definition.type, NonNullTypeNode) and definition.default_value is None:
            problems.append(FieldProblem((name,), "required", "is required"))
    return problems


def _check_value(name: str, value: Any, type_: Any, problems: list[FieldProblem]) -> None:
    def note(error: GraphQLError, path: list[str | int]) -> None:
        problems.append(FieldProblem((name, *map(str, path)), "invalid", error.message))

    expected: GraphQLInputType = type_
    validate_input_value(value, expected, note)


class _Finder(Visitor):
    """Looks for a value and remembers the way to it: argument, fields, list indexes."""

    def __init__(self, wanted: Node) -> None:
        super().__init__()
        self._wanted = wanted
        self.path: tuple[str, ...] | None = None

    def enter(self, node: Node, key: str | int | None, _parent: Any, _path: Any, ancestors: list[Any]) -> Any:
        if node is not self._wanted:
            return None
        way = [*ancestors, node]
        names = []
        for index, step in enumerate(way):
            if isinstance(step, ArgumentNode | ObjectFieldNode):
                names.append(step.name.value)
            elif isinstance(step, list | tuple) and names and index + 1 < len(way):
                names.extend(_index_in_list(way, index))
        self.path = tuple(names) or None
        return BREAK


def _index_in_list(way: list[Any], index: int) -> list[str]:
    """The place of the next step in a list value; the fields of an object stand in a tuple too, but have names."""
    step, following = way[index], way[index + 1]
    if isinstance(following, ArgumentNode | ObjectFieldNode):
        return []
    return [str(next(place for place, item in enumerate(step) if item is following))]


def _literal_path(document: DocumentNode | None, nodes: Sequence[Node] | None) -> tuple[str, ...] | None:
    """The way to a value that was written into the document itself; None when the error is about something else."""
    if document is None or not nodes:
        return None
    finder = _Finder(nodes[0])
    visit(document, finder)
    return finder.path
