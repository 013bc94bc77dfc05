"""Connections on both engines: every row once, however many come in between, and refusals that name the argument."""

from base64 import urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import Mock

import pytest
import strawberry
from graphql import GraphQLError
from hypothesis import given
from hypothesis import strategies as st
from strawberry.schema.config import StrawberryConfig

from api.gateway import cursor
from api.gateway.queries import NotificationFilter, Stretch
from api.gateway.schema.connections import ConnectionQueries
from api.gateway.schema.context import Context
from api.gateway.schema.errors import ERROR_TYPES
from api.gateway.schema.scalars import SCALARS
from api.http import page_meta
from api.records import Page, User, UserCursor
from api.security import ALL_SCOPES, Kind, Principal, Scope
from domain.errors import Forbidden, ValidationFailed
from domain.ids import NOTIFICATION, USER, new_id
from domain.notification import Status
from tests.contracts.gateway_store import Store

EVERYBODY = Principal(client="shop", key_id="key_1", name="all", scopes=ALL_SCOPES)
NOON = datetime(2025, 1, 1, 12, 0, tzinfo=UTC)
PAGE = """query ($filter: NotificationFilter, $first: Int, $after: String, $last: Int, $before: String) {
  notifications_connection(filter: $filter, first: $first, after: $after, last: $last, before: $before) {
    edges { cursor node { id status } } nodes { id }
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }"""
PEOPLE = """query ($filter: UserFilter, $first: Int = 20, $after: String) {
  users_connection(filter: $filter, first: $first, after: $after) {
    edges { cursor node { id } } nodes { id } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }"""


@strawberry.type
class Query(ConnectionQueries):
    """The part of the schema that is tested here."""


SCHEMA = strawberry.Schema(
    query=Query, types=ERROR_TYPES, config=StrawberryConfig(auto_camel_case=False, scalar_map=SCALARS)
)


class NoLimit:
    """A `Limiter` that lets everybody pass."""

    async def check(self, principal: Principal) -> None:
        """As often as they like."""


async def executed(document: str, caller: Principal, services: dict[str, Any], variables: dict[str, Any]) -> Any:
    """The connection; raises what the resolver did."""
    context = Context(
        services=Mock(**services, limiter=NoLimit()), correlation_id="cor_test", caller=caller, headers={}
    )
    answer = await SCHEMA.execute(document, variable_values=variables, context_value=context)
    for error in answer.errors or ():
        raise cause_of(error)
    assert answer.data is not None
    (connection,) = answer.data.values()
    check_shape(connection)
    return connection


def cause_of(error: GraphQLError) -> Exception:
    """What the resolver raised, as `api.gateway.failures` looks for it."""
    cause: Exception = error
    while isinstance(cause, GraphQLError) and cause.original_error is not None:
        cause = cause.original_error
    return cause


def check_shape(connection: Any) -> None:
    """What the specification says of every page."""
    edges, info = connection["edges"], connection["pageInfo"]
    assert [node["id"] for node in connection["nodes"]] == [edge["node"]["id"] for edge in edges]
    assert info["startCursor"] == (edges[0]["cursor"] if edges else None)
    assert info["endCursor"] == (edges[-1]["cursor"] if edges else None)


def ids_of(connection: Any) -> list[str]:
    """Those on this page."""
    return [node["id"] for node in connection["nodes"]]


async def page(store: Store, caller: Principal = EVERYBODY, **variables: Any) -> Any:
    """One page of `notifications_connection`."""
    return await executed(PAGE, caller, {"queries": store.queries}, variables)


# ----------------------------------------------------------------------------------------------------- notifications


async def test_pages_hold_every_row_once_while_others_come(store: Store) -> None:
    there = [await store.accepted() for _ in range(7)]
    connection = await page(store, first=3)
    pages = [ids_of(connection)]
    while connection["pageInfo"]["hasNextPage"]:
        await store.accept(count=2)
        connection = await page(store, first=3, after=connection["pageInfo"]["endCursor"])
        pages.append(ids_of(connection))
    assert [len(ids) for ids in pages] == [3, 3, 1]
    assert [id for ids in pages for id in ids] == there[::-1]


async def test_backwards_one_comes_to_everything_that_is_newer(store: Store) -> None:
    there = [await store.accepted() for _ in range(5)]
    oldest = await page(store, last=2)
    assert ids_of(oldest) == [there[1], there[0]]
    assert (oldest["pageInfo"]["hasPreviousPage"], oldest["pageInfo"]["hasNextPage"]) == (True, False)
    found, connection = ids_of(oldest), oldest
    while connection["pageInfo"]["hasPreviousPage"]:
        there.append(await store.accepted())
        connection = await page(store, last=2, before=connection["pageInfo"]["startCursor"])
        assert connection["pageInfo"]["hasNextPage"]
        found = ids_of(connection) + found
    assert found == there[::-1]


async def test_there_and_back_is_the_same_page(store: Store) -> None:
    for _ in range(6):
        await store.accepted()
    first = await page(store, first=2)
    second = await page(store, first=2, after=first["pageInfo"]["endCursor"])
    assert second["pageInfo"]["hasPreviousPage"]
    assert (await page(store, last=2, before=second["pageInfo"]["startCursor"]))["edges"] == first["edges"]


async def test_between_two_cursors_is_what_lies_between(store: Store) -> None:
    ids = [await store.accepted() for _ in range(5)][::-1]
    between: dict[str, Any] = {"after": cursor.encode_id(ids[0]), "before": cursor.encode_id(ids[4])}
    assert ids_of(await page(store, **between)) == ids[1:4]
    assert ids_of(await page(store, first=1, **between)) == ids[1:2]
    assert ids_of(await page(store, last=1, **between)) == ids[3:4]


async def test_the_page_that_ends_with_the_last_row_has_no_next(store: Store) -> None:
    for _ in range(4):
        await store.accepted()
    first = await page(store, first=2)
    last = await page(store, first=2, after=first["pageInfo"]["endCursor"])
    assert (first["pageInfo"]["hasNextPage"], last["pageInfo"]["hasNextPage"]) == (True, False)
    beyond = await page(store, first=2, after=last["pageInfo"]["endCursor"])
    assert (beyond["edges"], beyond["pageInfo"]["hasNextPage"]) == ([], False)


async def test_an_empty_list_is_an_empty_page(store: Store) -> None:
    connection = await page(store)
    assert connection["edges"] == []
    assert not connection["pageInfo"]["hasNextPage"]
    assert not connection["pageInfo"]["hasPreviousPage"]


async def test_a_page_has_twenty_unless_somebody_says_otherwise(store: Store) -> None:
    await store.accept(count=25)
    assert len(ids_of(await page(store))) == 20
    assert len(ids_of(await page(store, first=None))) == 20
    assert len(ids_of(await page(store, first=100))) == 25


async def test_a_filter_holds_on_every_page(store: Store) -> None:
    skipped = [await store.accepted(status=Status.SKIPPED) for _ in range(3)]
    for _ in range(3):
        await store.accepted()
        skipped.append(await store.accepted(status=Status.SKIPPED))
    only: dict[str, Any] = {"filter": {"status": ["SKIPPED"]}}
    first = await page(store, first=4, **only)
    rest = await page(store, first=4, after=first["pageInfo"]["endCursor"], **only)
    assert ids_of(first) + ids_of(rest) == skipped[::-1]
    assert (first["pageInfo"]["hasNextPage"], rest["pageInfo"]["hasNextPage"]) == (True, False)
    assert ids_of(await page(store, last=2, **only)) == skipped[:2][::-1]


async def test_filters_of_every_kind(store: Store) -> None:
    mine = await store.accepted(request_id="mine")
    await store.accepted(request_id="other")
    long_ago, soon = datetime.now(UTC) - timedelta(days=1), datetime.now(UTC) + timedelta(days=1)
    assert ids_of(await page(store, filter={"request_id": "mine"})) == [mine]
    assert ids_of(await page(store, filter={"channel": "PUSH"})) == []
    assert ids_of(await page(store, filter={"user_id": "nobody"})) == []
    assert ids_of(await page(store, filter={"created_before": long_ago.isoformat()})) == []
    span = {"created_after": long_ago.isoformat(), "created_before": soon.isoformat(), "category": "general"}
    assert len(ids_of(await page(store, filter=span))) == 2


async def test_a_cursor_outlives_its_row(store: Store) -> None:
    ids = [await store.accepted() for _ in range(3)][::-1]
    await store.database.query("DELETE FROM notifications WHERE id = $1", [ids[1]])
    assert ids_of(await page(store, after=cursor.encode_id(ids[1]))) == [ids[2]]


@pytest.mark.parametrize(
    ("arguments", "path", "code"),
    [
        ({"first": 0}, "first", "range"),
        ({"first": -1}, "first", "range"),
        ({"first": 101}, "first", "range"),
        ({"last": 0}, "last", "range"),
        ({"last": 101}, "last", "range"),
        ({"first": 1, "last": 1}, "last", "excluded"),
        ({"after": "nonsense"}, "after", "invalid_cursor"),
        ({"after": ""}, "after", "invalid_cursor"),
        ({"after": cursor.encode(5)}, "after", "invalid_cursor"),
        ({"after": cursor.encode_id(new_id(USER))}, "after", "invalid_cursor"),
        ({"after": cursor.encode_id(new_id(NOTIFICATION)) + "="}, "after", "invalid_cursor"),
        ({"before": "nonsense"}, "before", "invalid_cursor"),
        ({"filter": {"created_after": "2030-01-01T00:00:00"}}, "filter.created_after", "time_zone"),
    ],
)
async def test_bad_arguments_are_named(arguments: dict[str, Any], path: str, code: str) -> None:
    with pytest.raises(ValidationFailed) as refusal:
        await executed(PAGE, EVERYBODY, {}, arguments)
    assert [(".".join(field.path), field.code) for field in refusal.value.fields] == [(path, code)]


async def test_both_sizes_that_are_wrong_are_named() -> None:
    with pytest.raises(ValidationFailed) as refusal:
        await executed(PAGE, EVERYBODY, {}, {"first": 0, "last": 500})
    assert [field.path for field in refusal.value.fields] == [("first",), ("last",), ("last",)]


async def test_the_scope_is_needed() -> None:
    writer = Principal(client="shop", key_id="k", name="w", scopes=frozenset({Scope.NOTIFICATIONS_SEND}))
    for document in (PAGE, PEOPLE):
        with pytest.raises(Forbidden):
            await executed(document, writer, {}, {})


async def test_end_users_see_their_own_notifications_and_no_list_of_users(store: Store) -> None:
    ada = Principal(client="shop", key_id="k", name="Ada", scopes=frozenset(), kind=Kind.END_USER, user_id="ada")
    mine = await store.accepted()
    await store.accepted()
    await store.database.query("UPDATE notifications SET user_id = 'ada' WHERE id = $1", [mine])
    assert ids_of(await page(store, ada)) == [mine]
    assert ids_of(await page(store, ada, filter={"user_id": "ada"})) == [mine]
    with pytest.raises(Forbidden):
        await page(store, ada, filter={"user_id": "bob"})
    with pytest.raises(Forbidden):
        await executed(PEOPLE, ada, {}, {})


async def test_a_stretch_brings_no_more_than_it_was_asked_for(store: Store) -> None:
    receipt = await store.accept(count=3)
    found = await store.queries.notifications_along(NotificationFilter(), Stretch(limit=3))
    assert (len(found.items), found.more) == (3, False)
    assert {view.id for view in found.items} == {view.id for view in receipt.notifications}


# ----------------------------------------------------------------------------------------------------------- cursors


def test_a_cursor_comes_back_as_its_id() -> None:
    id = new_id(NOTIFICATION)
    assert cursor.decode_id(NOTIFICATION, cursor.encode_id(id), "after") == id


@given(st.text() | st.text(max_size=60).map(lambda text: urlsafe_b64encode(text.encode()).decode().rstrip("=")))
def test_what_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(ValidationFailed) as refusal:
        cursor.decode_id(NOTIFICATION, text, "before")
    assert refusal.value.fields[0].path == ("before",)


# ------------------------------------------------------------------------------------------------------------- users


class People:
    """The User Service's list by cursor, in memory."""

    def __init__(self) -> None:
        self.users: list[User] = []
        self.asked: list[tuple[str | None, int, str | None]] = []

    def add(self) -> str:
        """Another user, the youngest."""
        made = NOON + timedelta(seconds=len(self.users))
        user = User(
            id=new_id(USER),
            email=f"user{len(self.users)}@example.com",
            name=None,
            locale="en",
            time_zone="UTC",
            devices=(),
            created_at=made,
            updated_at=made,
        )
        self.users.append(user)
        return user.id

    async def after(self, cursor: str | None, *, limit: int, email: str | None) -> Page[User]:
        """As `UsersClient.after`."""
        self.asked.append((cursor, limit, email))
        place = None if cursor is None else UserCursor.decode(cursor)
        found = [user for user in self.users if place is None or user.created_at > place.created_at]
        meta = page_meta(len(found), 1, limit)
        return Page(items=found[:limit], meta=meta)


async def people_page(people: People, **variables: Any) -> Any:
    """One page of `users_connection`."""
    return await executed(PEOPLE, EVERYBODY, {"users": people}, variables)


async def test_users_come_oldest_first_and_each_once_while_others_come() -> None:
    people = People()
    there = [people.add() for _ in range(5)]
    connection = await people_page(people, first=2)
    found = ids_of(connection)
    while connection["pageInfo"]["hasNextPage"]:
        if len(there) < 8:
            there.append(people.add())
        connection = await people_page(people, first=2, after=connection["pageInfo"]["endCursor"])
        found += ids_of(connection)
    assert found == there
    assert len(there) == 8


async def test_users_are_asked_for_as_the_caller_said() -> None:
    people = People()
    people.add()
    assert (await people_page(people))["pageInfo"]["hasNextPage"] is False
    await people_page(people, first=None, after=people.users[0].cursor, filter={"email": "a@b.example"})
    assert people.asked == [(None, 20, None), (people.users[0].cursor, 20, "a@b.example")]


@pytest.mark.parametrize("first", [0, 101])
async def test_pages_of_users_are_no_larger(first: int) -> None:
    with pytest.raises(ValidationFailed) as refusal:
        await executed(PEOPLE, EVERYBODY, {}, {"first": first})
    assert [field.path for field in refusal.value.fields] == [("first",)]


async def test_what_the_user_service_refuses_is_passed_on() -> None:
    with pytest.raises(ValidationFailed) as refusal:
        await people_page(People(), after="nonsense")
    assert refusal.value.fields[0].path == ("after",)


# ------------------------------------------------------------------------------------------------------------- names


def test_the_names_are_those_of_the_specification() -> None:
    described = {name: set(SCHEMA._schema.type_map[name].fields) for name in ("PageInfo", "NotificationEdge")}  # type: ignore[attr-defined]
    assert described == {
        "PageInfo": {"hasNextPage", "hasPreviousPage", "startCursor", "endCursor"},
        "NotificationEdge": {"cursor", "node"},
    }
    for connection in ("NotificationConnection", "UserConnection"):
        assert {"edges", "pageInfo"} <= set(SCHEMA._schema.type_map[connection].fields)  # type: ignore[attr-defined]
