"""The envelope that every root query and mutation answers with, and how failures get into it."""

from collections.abc import Awaitable, Callable
from math import ceil
from time import perf_counter
from typing import Any, Self

import strawberry
from strawberry.extensions.field_extension import FieldExtension

from api.gateway.schema.context import Info
from api.gateway.schema.errors import Error, error_of
from api.security import Scope
from domain.errors import FieldProblem, HeliographError, RequestError, ValidationFailed

MAX_LIMIT = 100
MAX_PAGE = 100_000


@strawberry.type(description="Where in a list this page is.")
class PageMeta:
    """Where in a list this page is."""

    total: int = strawberry.field(description="Items on all pages together.")
    limit: int = strawberry.field(description="Items on a page, at most.")
    page: int = strawberry.field(description="This page; the first one is 1.")
    total_pages: int = strawberry.field(description="How many pages there are.")
    has_next: bool = strawberry.field(description="Whether another page follows.")
    has_previous: bool = strawberry.field(description="Whether a page comes before.")

    @classmethod
    def of(cls, total: int, page: int, limit: int) -> Self:
        """The rest follows from these three."""
        pages = ceil(total / limit)
        return cls(
            total=total,
            limit=limit,
            page=page,
            total_pages=pages,
            has_next=page < pages,
            has_previous=page > 1,
        )


@strawberry.interface(description="What every root query and mutation answers. Expected failures are data, not errors.")
class Response:
    """The five keys; each payload type adds its own `data`."""

    success: bool = strawberry.field(description="Whether it was done.")
    message: str = strawberry.field(description="One sentence for the person who reads it.")
    error: Error | None = strawberry.field(default=None, description="Why it was not done; null on success.")
    meta: PageMeta | None = strawberry.field(default=None, description="Where in a list this page is; null elsewhere.")

    @classmethod
    def ok(cls, data: Any, message: str = "OK", meta: PageMeta | None = None) -> Self:
        """Success."""
        return cls(success=True, message=message, meta=meta, data=data)  # type: ignore[call-arg]  # each payload has it

    @classmethod
    def failed(cls, error: Error, data: Any = None) -> Self:
        """An expected failure; `data` is what can be said all the same."""
        return cls(success=False, message=error.message, error=error, data=data)  # type: ignore[call-arg]  # as above


class Answers(FieldExtension):
    """A root field that answers with `payload`: checks the caller and turns the domain's errors into data.

    With `end_users` they are let in without the scope; the resolver sees to it that they get only what is theirs.
    """

    def __init__(self, payload: type[Response], scope: Scope, *, end_users: bool = False) -> None:
        self._payload, self.scope, self.end_users = payload, scope, end_users

    async def resolve_async(
        self, next_: Callable[..., Awaitable[Any]], source: Any, info: Info, **kwargs: Any
    ) -> Response:
        """What the resolver answers, or its expected failure. Anything else goes on and is masked."""
        started, outcome = perf_counter(), "error"
        try:
            answer = await self._answer(next_, source, info, kwargs)
            outcome = "ok" if answer.success else "refused"
            return answer
        except RequestError:
            outcome = "refused"
            raise
        finally:
            info.context.services.resolved(info.field_name, outcome, perf_counter() - started)

    async def _answer(
        self, next_: Callable[..., Awaitable[Any]], source: Any, info: Info, kwargs: dict[str, Any]
    ) -> Response:
        try:
            await info.context.admit(self.scope, end_users=self.end_users)
            return await next_(source, info, **kwargs)  # type: ignore[no-any-return]
        except HeliographError as error:
            shown = error_of(error)
            if shown is None:
                raise
            return self._payload.failed(shown)


def check_page(page: int, limit: int) -> None:
    """Raises `ValidationFailed` for a page that cannot be."""
    problems = []
    if not 1 <= page <= MAX_PAGE:
        problems.append(FieldProblem(("page",), "range", f"takes 1 to {MAX_PAGE:,}"))
    if not 1 <= limit <= MAX_LIMIT:
        problems.append(FieldProblem(("limit",), "range", f"takes 1 to {MAX_LIMIT}"))
    if problems:
        raise ValidationFailed(problems)
