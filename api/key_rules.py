"""What a new API key may be: its name, its scopes, its client."""

import re
from collections.abc import Collection, Iterator

from api.security import Principal, Scope
from domain.errors import FieldProblem, ValidationFailed
from domain.text import storable

MAX_NAME = 200
_CLIENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}")


def checked(
    name: str, scopes: Collection[str], client: str | None, granted_by: Principal | None, *, test: bool = False
) -> frozenset[Scope]:
    """The scopes to grant. Raises `ValidationFailed` naming all that is wrong; the system (None) may grant all.

    A `test` key never holds `operations`: it could make itself a key that is none.
    """
    problems = [
        *_name_problems(name),
        *_scope_problems(scopes, granted_by),
        *(_test_problems(scopes) if test else ()),
        *_client_problems(client),
    ]
    if problems:
        raise ValidationFailed(problems)
    return frozenset(Scope(scope) for scope in scopes)


def _name_problems(name: str) -> Iterator[FieldProblem]:
    if not name.strip():
        yield FieldProblem(("name",), "empty", "is empty")
    elif len(name) > MAX_NAME:
        yield FieldProblem(("name",), "size", f"is longer than {MAX_NAME} characters")
    elif not storable(name):
        yield FieldProblem(("name",), "characters", "holds a NUL or half of a surrogate pair")


def _scope_problems(scopes: Collection[str], granted_by: Principal | None) -> Iterator[FieldProblem]:
    known = {scope.value for scope in Scope}
    if not scopes:
        yield FieldProblem(("scopes",), "size", "takes at least one scope")
    for index, scope in enumerate(scopes):
        path = ("scopes", str(index))
        if scope not in known:
            yield FieldProblem(path, "unknown", f"takes {', '.join(sorted(known))}")
        elif granted_by is not None and scope not in granted_by.scopes:
            yield FieldProblem(path, "not_held", f"grants {scope}, which your own key does not hold")


def _test_problems(scopes: Collection[str]) -> Iterator[FieldProblem]:
    for index, scope in enumerate(scopes):
        if scope == Scope.OPERATIONS:
            yield FieldProblem(("scopes", str(index)), "test", f"grants {scope}, which no test key may hold")


def _client_problems(client: str | None) -> Iterator[FieldProblem]:
    """A colon is what sets the clients that end users are apart from those of keys."""
    if client is not None and not _CLIENT.fullmatch(client):
        message = "takes 1 to 40 letters, digits, dots, dashes and underscores, a letter or a digit first"
        yield FieldProblem(("client",), "shape", message)
