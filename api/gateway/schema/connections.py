"""Lists as connections (Relay Cursor Connections Specification): pages by cursor, which stay right while rows come.

These root fields have no envelope, because clients expect a connection to be one: failures are top-level errors.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any, Self

import strawberry
from strawberry import UNSET
from strawberry.extensions.field_extension import FieldExtension

from api.gateway import cursor
from api.gateway.queries import Slice, Stretch
from api.gateway.schema.context import Info
from api.gateway.schema.envelope import MAX_LIMIT
from api.gateway.schema.inputs import NotificationFilter, given
from api.gateway.schema.notifications import Notification
from api.gateway.schema.sending import theirs
from api.gateway.schema.users import User, UserFilter
from api.records import Page
from api.records import User as UserRecord
from api.security import Scope
from domain.errors import FieldProblem, ValidationFailed
from domain.ids import NOTIFICATION
from domain.views import NotificationView

field = strawberry.field

DEFAULT_SIZE = 20
Forward = Annotated[int | None, strawberry.argument(description="How many from the start: 1 to 100.")]
Backward = Annotated[int | None, strawberry.argument(description="How many from the end, instead: 1 to 100.")]
After = Annotated[str | None, strawberry.argument(description="Only what comes after this cursor.")]
Before = Annotated[str | None, strawberry.argument(description="Only what comes before this cursor.")]


class Admits(FieldExtension):
    """A root field without the envelope: checks the caller as `Answers` does, and raises what is wrong."""

    def __init__(self, scope: Scope, *, end_users: bool = False) -> None:
        self.scope, self.end_users = scope, end_users

    async def resolve_async(self, next_: Callable[..., Awaitable[Any]], source: Any, info: Info, **kwargs: Any) -> Any:
        """What the resolver answers."""
        await info.context.admit(self.scope, end_users=self.end_users)
        return await next_(source, info, **kwargs)


@strawberry.type(description="Where in a list a page is.")
class PageInfo:
    """Where in a list a page is."""

    has_next_page: bool = field(
        name="hasNextPage",
        description="Whether more comes after it. Going backwards: whether there was a `before` to start from.",
    )
    has_previous_page: bool = field(
        name="hasPreviousPage",
        description="Whether more comes before it. Going forwards: whether there was an `after` to start from.",
    )
    start_cursor: str | None = field(name="startCursor", description="The first item's; null where there is none.")
    end_cursor: str | None = field(name="endCursor", description="The last item's; null where there is none.")

    @classmethod
    def of(cls, cursors: Sequence[str], *, following: bool, preceding: bool) -> Self:
        """Of a page with these cursors."""
        start, end = (cursors[0], cursors[-1]) if cursors else (None, None)
        return cls(has_next_page=following, has_previous_page=preceding, start_cursor=start, end_cursor=end)


@strawberry.type(description="A notification's place in a list.")
class NotificationEdge:
    """A notification's place in a list."""

    cursor: str = field(description="Hand it back as `after` or `before`.")
    node: Notification = field(description="The notification.")


@strawberry.type(description="Notifications, the newest first.")
class NotificationConnection:
    """Notifications, the newest first."""

    edges: list[NotificationEdge] = field(description="The notifications and their places.")
    nodes: list[Notification] = field(description="The notifications alone.")
    page_info: PageInfo = field(name="pageInfo", description="How to go on.")

    @classmethod
    def of(cls, found: Slice[NotificationView], stretch: Stretch) -> Self:
        """From the read side."""
        nodes = [Notification.of(view) for view in found.items]
        cursors = [cursor.encode_id(node.id) for node in nodes]
        page_info = PageInfo.of(
            cursors,
            following=stretch.before is not None if stretch.backwards else found.more,
            preceding=found.more if stretch.backwards else stretch.after is not None,
        )
        edges = [NotificationEdge(cursor=at, node=node) for at, node in zip(cursors, nodes, strict=True)]
        return cls(edges=edges, nodes=nodes, page_info=page_info)


@strawberry.type(description="A user's place in a list.")
class UserEdge:
    """A user's place in a list."""

    cursor: str = field(description="Hand it back as `after`.")
    node: User = field(description="The user.")


@strawberry.type(description="Users, the oldest first.")
class UserConnection:
    """Users, the oldest first."""

    edges: list[UserEdge] = field(description="The users and their places.")
    nodes: list[User] = field(description="The users alone.")
    page_info: PageInfo = field(name="pageInfo", description="How to go on.")

    @classmethod
    def of(cls, found: Page[UserRecord]) -> Self:
        """From the User Service."""
        edges = [UserEdge(cursor=record.cursor, node=User.of(record)) for record in found.items]
        cursors = [edge.cursor for edge in edges]
        page_info = PageInfo.of(cursors, following=found.meta.has_next, preceding=found.meta.has_previous)
        return cls(edges=edges, nodes=[edge.node for edge in edges], page_info=page_info)


@strawberry.type
class ConnectionQueries:
    """Mixed into `Query`."""

    @field(
        description="Notifications, the newest first, by cursor: forwards with `first` (20 unless you say otherwise) "
        "and `after`, or backwards with `last` and `before`.",
        extensions=[Admits(Scope.NOTIFICATIONS_READ, end_users=True)],
    )
    async def notifications_connection(
        self,
        info: Info,
        filter: Annotated[NotificationFilter | None, strawberry.argument(description="Which ones.")] = UNSET,
        first: Forward = UNSET,
        after: After = UNSET,
        last: Backward = UNSET,
        before: Before = UNSET,
    ) -> NotificationConnection:
        """A page."""
        stretch = _stretch(given(first), given(after), given(last), given(before))
        where = theirs(info.context.principal, (filter or NotificationFilter()).read())
        return NotificationConnection.of(
            await info.context.services.queries.notifications_along(where, stretch), stretch
        )

    @field(description="Users, the oldest first, by cursor.", extensions=[Admits(Scope.USERS_READ)])
    async def users_connection(
        self,
        info: Info,
        filter: Annotated[UserFilter | None, strawberry.argument(description="Which ones.")] = UNSET,
        first: Forward = DEFAULT_SIZE,
        after: After = UNSET,
    ) -> UserConnection:
        """A page."""
        if problems := _size_problems(first=first):
            raise ValidationFailed(problems)
        email = given(filter.email) if filter else None
        limit = DEFAULT_SIZE if first is None else first
        return UserConnection.of(await info.context.services.users.after(given(after), limit=limit, email=email))


def _stretch(first: int | None, after: str | None, last: int | None, before: str | None) -> Stretch:
    """Raises `ValidationFailed` for sizes that cannot be, for both directions at once, and for what is no cursor."""
    problems = _size_problems(first=first, last=last)
    if first is not None and last is not None:
        problems.append(FieldProblem(("last",), "excluded", "cannot be combined with first"))
    if problems:
        raise ValidationFailed(problems)
    return Stretch(
        after=None if after is None else cursor.decode_id(NOTIFICATION, after, "after"),
        before=None if before is None else cursor.decode_id(NOTIFICATION, before, "before"),
        limit=last or first or DEFAULT_SIZE,
        backwards=last is not None,
    )


def _size_problems(**sizes: int | None) -> list[FieldProblem]:
    return [
        FieldProblem((name,), "range", f"takes 1 to {MAX_LIMIT}")
        for name, size in sizes.items()
        if size is not None and not 1 <= size <= MAX_LIMIT
    ]
