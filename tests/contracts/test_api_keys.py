"""What the store of API keys promises, on both engines."""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from api.api_keys import ApiKeys, NewKey
from api.database import Database, Databases
from api.key_rules import MAX_NAME
from api.security import ALL_SCOPES, PREFIX, TEST_PREFIX, Principal, Scope
from domain.changes import Changed, Kind
from domain.errors import ConfigurationError, FieldProblem, NotFound, Unauthenticated, ValidationFailed
from domain.ids import API_KEY, new_id

READ = {Scope.NOTIFICATIONS_READ}
LONG = 3600.0


@pytest.fixture
def keys(databases: Databases) -> ApiKeys:
    """One gateway's keys; it remembers for long."""
    return ApiKeys(databases["gateway"], ttl=LONG)


def another_gateway(databases: Databases, ttl: float = LONG) -> ApiKeys:
    """The same keys in another process."""
    return ApiKeys(databases["gateway"], ttl=ttl)


async def is_good(keys: ApiKeys, made: NewKey) -> bool:
    """Whether the key is let in."""
    try:
        await keys.authenticate(made.secret)
    except Unauthenticated:
        return False
    return True


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in a task of the keys
            await asyncio.sleep(0.005)


# ------------------------------------------------------------------------------------------------------------ making


async def test_a_key_is_let_in_as_what_it_was_made(keys: ApiKeys) -> None:
    made = await keys.create("shop", {Scope.NOTIFICATIONS_SEND, Scope.USERS_READ})
    assert made.secret.startswith(PREFIX)
    assert await keys.authenticate(made.secret) == Principal(
        client=made.id,
        key_id=made.id,
        name="shop",
        scopes=frozenset({Scope.NOTIFICATIONS_SEND, Scope.USERS_READ}),
    )


async def test_only_a_hash_of_the_secret_is_kept(keys: ApiKeys, databases: Databases) -> None:
    made = await keys.create("shop", READ)
    (row,) = await databases["gateway"].query("SELECT * FROM api_keys")
    assert row["key_hash"] == hashlib.sha256(made.secret.encode()).hexdigest()
    assert made.secret.removeprefix(PREFIX) not in str(row)


async def test_a_key_that_replaces_another_is_the_same_client(keys: ApiKeys) -> None:
    old = await keys.create("shop", READ)
    new = await keys.create("shop, rotated", READ, client=old.client)
    clients = {(await keys.authenticate(made.secret)).client for made in (old, new)}
    assert clients == {old.id}


async def test_a_key_from_a_setting_is_seen_to_by_many_processes_at_once(databases: Databases) -> None:
    secret = PREFIX + "from_a_setting"
    gateways = [another_gateway(databases) for _ in range(5)]
    found = await asyncio.gather(*(keys.ensure_key(secret, name="setting", client="default") for keys in gateways))
    assert {(principal.client, principal.scopes) for principal in found} == {("default", ALL_SCOPES)}
    assert (await gateways[0].page(1, 10))[1] == 1


async def test_a_key_from_a_setting_that_was_revoked_stops_the_start(keys: ApiKeys) -> None:
    principal = await keys.ensure_key(PREFIX + "from_a_setting", name="HELIOGRAPH_API_KEY")
    await keys.revoke(principal.key_id)
    with pytest.raises(ConfigurationError, match="HELIOGRAPH_API_KEY: this key was revoked"):
        await keys.ensure_key(PREFIX + "from_a_setting", name="HELIOGRAPH_API_KEY")


@pytest.mark.parametrize(
    ("name", "scopes", "client", "problems"),
    [
        ("", ["operations"], None, [("name", "empty")]),
        ("  ", ["operations"], None, [("name", "empty")]),
        ("n" * (MAX_NAME + 1), ["operations"], None, [("name", "size")]),
        ("a\0b", ["operations"], None, [("name", "characters")]),
        ("a\ud800b", ["operations"], None, [("name", "characters")]),
        ("key", [], None, [("scopes", "size")]),
        ("key", ["operations", "everything"], None, [("scopes.1", "unknown")]),
        ("key", ["users:read", "users:write", "operations"], None, [("scopes.1", "not_held")]),
        ("key", ["operations"], "", [("client", "shape")]),
        ("key", ["operations"], "user:ada", [("client", "shape")]),
        ("key", ["operations"], "c" * 41, [("client", "shape")]),
        (
            "",
            ["\ud800", "users:write"],
            "\0",
            [("name", "empty"), ("scopes.0", "unknown"), ("scopes.1", "not_held"), ("client", "shape")],
        ),
    ],
)
async def test_everything_wrong_with_a_new_key_is_named_and_nothing_is_stored(
    keys: ApiKeys, name: str, scopes: Sequence[str], client: str | None, problems: list[tuple[str, str]]
) -> None:
    granting = frozenset({Scope.OPERATIONS, Scope.USERS_READ})
    creator = Principal(client="c", key_id="k", name="creator", scopes=granting)
    with pytest.raises(ValidationFailed) as caught:
        await keys.create(name, scopes, client=client, granted_by=creator)
    assert [(".".join(field.path), field.code) for field in caught.value.fields] == problems
    assert (await keys.page(1, 10))[1] == 0


async def test_an_unknown_scope_is_answered_by_those_there_are(keys: ApiKeys) -> None:
    with pytest.raises(ValidationFailed) as caught:
        await keys.create("key", ["everything"])
    (problem,) = caught.value.fields
    assert isinstance(problem, FieldProblem)
    assert all(scope.value in problem.message for scope in Scope)


async def test_what_the_creator_holds_it_may_grant(keys: ApiKeys) -> None:
    creator = Principal(client="c", key_id="k", name="creator", scopes=frozenset({Scope.OPERATIONS, Scope.USERS_READ}))
    made = await keys.create("n" * MAX_NAME, ["users:read", "users:read"], granted_by=creator)
    assert made.scopes == ("users:read",)


# ----------------------------------------------------------------------------------------------------------- listing


async def test_keys_are_listed_from_the_newest_with_how_many_there_are(keys: ApiKeys) -> None:
    made = [await keys.create(f"key {number}", READ) for number in range(5)]
    await keys.revoke(made[2].id)
    found, total = await keys.page(2, 2)
    assert ([key.id for key in found], total) == ([made[2].id, made[1].id], 5)
    assert (found[0].revoked_at is not None, found[1].revoked_at, found[1].last_used_at) == (True, None, None)
    assert (await keys.page(9, 2))[0] == []


async def test_one_key_is_found_by_its_id(keys: ApiKeys) -> None:
    made = await keys.create("shop", READ)
    found = await keys.get(made.id)
    assert (found.id, found.name, found.client, found.scopes) == (made.id, "shop", made.id, ("notifications:read",))
    assert abs(found.created_at - made.created_at) < timedelta(milliseconds=1)
    for unknown in (new_id(API_KEY), "key_\0", ""):
        with pytest.raises(NotFound):
            await keys.get(unknown)


# ---------------------------------------------------------------------------------------------------------- revoking


async def test_a_revoked_key_is_refused_at_once_and_told_of(databases: Databases) -> None:
    told: list[tuple[Kind, list[str]]] = []

    async def tell(kind: Kind, names: Sequence[str]) -> None:
        told.append((kind, list(names)))

    keys, closed = ApiKeys(databases["gateway"], tell=tell, ttl=LONG), list[str]()
    keys.on_revoked(closed.extend)
    made, other = await keys.create("one", READ), await keys.create("two", READ)
    assert (await is_good(keys, made), await is_good(keys, other)) == (True, True)
    await keys.revoke(made.id)
    assert (await is_good(keys, made), await is_good(keys, other)) == (False, True)
    assert (told, closed) == ([(Kind.API_KEY, [made.id])], [made.id])


async def test_revoking_again_changes_nothing_and_an_unknown_id_is_not_found(keys: ApiKeys) -> None:
    made = await keys.create("shop", READ)
    await keys.revoke(made.id)
    first = (await keys.get(made.id)).revoked_at
    await keys.revoke(made.id)
    assert (await keys.get(made.id)).revoked_at == first is not None
    for unknown in (new_id(API_KEY), "ntf_1", "\0"):
        with pytest.raises(NotFound):
            await keys.revoke(unknown)


async def test_another_gateway_forgets_the_key_that_it_hears_of(keys: ApiKeys, databases: Databases) -> None:
    other, closed = another_gateway(databases), list[str]()
    other.on_revoked(closed.extend)
    made = await keys.create("shop", READ)
    assert await is_good(other, made)
    await keys.revoke(made.id)
    assert await is_good(other, made)  # it has not heard of it
    other.heed(Changed(Kind.USER, (made.id,)))
    assert await is_good(other, made)
    other.heed(Changed(Kind.API_KEY, (made.id,)))
    assert not await is_good(other, made)
    assert closed == [made.id]


async def test_another_gateway_that_hears_nothing_finds_out_by_age(keys: ApiKeys, databases: Databases) -> None:
    other = another_gateway(databases, ttl=0.05)
    made = await keys.create("shop", READ)
    assert await is_good(other, made)
    await keys.revoke(made.id)
    async with asyncio.timeout(10):
        while await is_good(other, made):  # noqa: ASYNC110 - only the time that passes changes it
            await asyncio.sleep(0.01)


async def test_who_may_have_missed_something_asks_which_keys_are_revoked(keys: ApiKeys, databases: Databases) -> None:
    other, closed = another_gateway(databases), set[str]()
    other.on_revoked(closed.update)
    made = await keys.create("shop", READ)
    assert await is_good(other, made)
    await keys.revoke(made.id)
    await other.start()
    try:
        other.heed(None)
        assert not await is_good(other, made)
        await until(lambda: closed == {made.id})
    finally:
        await other.stop()


class Slow:
    """A database that has read, and does not answer before it is told to."""

    def __init__(self, database: Database) -> None:
        self._database, self.dialect = database, database.dialect
        self.has_read, self.may_answer = asyncio.Event(), asyncio.Event()

    async def query(self, sql: str, params: Sequence[object] = ()) -> list[dict[str, object]]:
        """As `Database.query`."""
        rows = await self._database.query(sql, params)
        self.has_read.set()
        await self.may_answer.wait()
        return rows


async def test_a_key_that_was_revoked_while_it_was_looked_up_is_not_remembered(
    keys: ApiKeys, databases: Databases
) -> None:
    slow = Slow(databases["gateway"])
    other = ApiKeys(cast(Any, slow), ttl=LONG)
    made = await keys.create("shop", READ)
    looking = asyncio.create_task(is_good(other, made))
    await slow.has_read.wait()
    await keys.revoke(made.id)
    other.heed(Changed(Kind.API_KEY, (made.id,)))
    slow.may_answer.set()
    assert await looking  # it was good when it was asked about
    assert not await is_good(other, made)


# -------------------------------------------------------------------------------------------------------- being used


async def test_when_a_key_was_used_is_noted_by_and_by(databases: Databases) -> None:
    keys = ApiKeys(databases["gateway"], upkeep=0.01)
    used, idle = await keys.create("used", READ), await keys.create("idle", READ)
    await keys.start()
    try:
        await keys.authenticate(used.secret)
        noted = None
        async with asyncio.timeout(10):
            while noted is None:
                noted = (await keys.get(used.id)).last_used_at
    finally:
        await keys.stop()
    assert abs(datetime.now(UTC) - noted) < timedelta(minutes=1)
    assert (await keys.get(idle.id)).last_used_at is None


async def test_a_stop_notes_the_last_uses_and_an_older_one_never_wins(databases: Databases) -> None:
    early, late = another_gateway(databases), another_gateway(databases)
    made = await early.create("shop", READ)
    await early.authenticate(made.secret)
    await late.authenticate(made.secret)
    await late.stop()
    noted = (await late.get(made.id)).last_used_at
    await early.stop()
    await early.stop()
    assert (await late.get(made.id)).last_used_at == noted is not None


async def test_uses_that_could_not_be_noted_are_kept_for_the_next_time(databases: Databases, tmp_path: Path) -> None:
    keys = another_gateway(databases)
    made = await keys.create("shop", READ)
    await keys.authenticate(made.secret)
    away = await Databases.open({"gateway": f"sqlite://{tmp_path}/none/gateway.db"})
    keys._uses._database, database = away["gateway"], keys._uses._database
    await away.close()
    await keys.stop()
    assert (await keys.get(made.id)).last_used_at is None
    keys._uses._database = database
    await keys.stop()
    assert (await keys.get(made.id)).last_used_at is not None


async def test_a_remembered_key_asks_no_database(keys: ApiKeys, databases: Databases) -> None:
    made = await keys.create("shop", READ)
    first = await keys.authenticate(made.secret)
    await databases.close()
    assert await keys.authenticate(made.secret) is first


# --------------------------------------------------------------------------------------------------------- test keys


async def test_a_test_key_says_what_it_is_in_its_secret_when_used_and_when_listed(keys: ApiKeys) -> None:
    made = await keys.create("trial", READ, test=True)
    live = await keys.create("shop", READ)
    assert made.secret.startswith(TEST_PREFIX)
    assert not live.secret.startswith(TEST_PREFIX)
    assert [(await keys.authenticate(key.secret)).test for key in (made, live)] == [True, False]
    assert {key.id: key.test for key in (await keys.page(1, 10))[0]} == {made.id: True, live.id: False}
    assert (await keys.get(made.id)).test is True


@pytest.mark.parametrize("first", [True, False])
async def test_test_keys_and_others_never_share_a_client(keys: ApiKeys, first: bool) -> None:
    old = await keys.create("old", READ, test=first)
    with pytest.raises(ValidationFailed) as caught:
        await keys.create("new", READ, client=old.client, test=not first)
    assert [(field.path, field.code) for field in caught.value.fields] == [(("client",), "kind")]
    assert (await keys.create("new", READ, client=old.client, test=first)).client == old.client


async def test_a_test_key_cannot_make_itself_one_that_is_none(keys: ApiKeys) -> None:
    with pytest.raises(ValidationFailed) as caught:
        await keys.create("trial", ["users:read", "operations"], test=True)
    assert [(field.path, field.code) for field in caught.value.fields] == [(("scopes", "1"), "test")]


async def test_a_key_of_the_settings_must_not_look_like_a_test_key(keys: ApiKeys) -> None:
    with pytest.raises(ConfigurationError, match="would send for real"):
        await keys.ensure_key(TEST_PREFIX + "9f3c1b7de24a60588c1d4e7fa3b2d9e1", name="HELIOGRAPH_API_KEY")
