"""The User Service, through its client and over raw HTTP, on both engines."""

import asyncio
from collections.abc import Sequence
from typing import Any
from zoneinfo import available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from api.users.client import UsersClient
from api.users.inputs import Email, TimeZone
from api.users.repository import NewUser
from domain.changes import Kind
from domain.errors import Conflict, NotFound, UpstreamUnavailable, ValidationFailed
from tests.services.rest_clients import Wire
from tests.services.user_service import TOKEN, UserService


@pytest.fixture
async def wire(service: UserService) -> Wire:
    return service.wire


async def test_a_user_is_kept_as_given(users: UsersClient) -> None:
    made = await users.create(email="Ann@Example.com", name="Ann", locale="pt-br", time_zone="Europe/Lisbon")
    found = await users.get(made.id)
    assert found == made
    assert (found.email, found.name, found.time_zone) == ("Ann@Example.com", "Ann", "Europe/Lisbon")
    assert found.locale == "pt-BR"
    assert found.id.startswith("usr_")


async def test_what_is_left_out_has_a_default(users: UsersClient) -> None:
    made = await users.create()
    assert (made.email, made.name, made.locale, made.time_zone, made.devices) == (None, None, "en", "UTC", ())


async def test_the_caller_may_choose_the_id(users: UsersClient) -> None:
    assert (await users.create(id="customer-17")).id == "customer-17"
    with pytest.raises(Conflict):
        await users.create(id="customer-17")


async def test_an_address_is_one_users_in_any_case(users: UsersClient) -> None:
    await users.create(email="ann@example.com")
    with pytest.raises(Conflict):
        await users.create(email="ANN@example.com")
    bob = await users.create(email="bob@example.com")
    with pytest.raises(Conflict):
        await users.update(bob.id, {"email": "Ann@Example.com"})


@pytest.mark.parametrize(
    ("given", "field", "about"),
    [
        ({"id": "customer-17"}, "id", "id"),
        ({"id": "customer-17", "email": "bob@example.com"}, "id", "id"),
        ({"email": "Ann@example.com"}, "email", "address"),
        ({"id": "customer-18", "email": "ann@example.com"}, "email", "address"),
        ({"id": "users_pkey", "email": "users_pkey@example.com"}, "email", "address"),
    ],
)
async def test_what_clashes_is_named(service: UserService, given: dict[str, str], field: str, about: str) -> None:
    await service.user(id="customer-17", email="ann@example.com")
    await service.user(email="users_pkey@example.com")
    status, answer = await service.call("POST", "/v1/users", given)
    assert (status, answer["error"]["code"]) == (409, "CONFLICT")
    assert answer["message"] == f"{field}: There is a user with this {about} already."
    assert [(problem["path"], problem["code"]) for problem in answer["error"]["fields"]] == [([field], "taken")]
    assert service.told == []


async def test_an_address_that_clashes_is_named_when_it_changes(service: UserService) -> None:
    await service.user(email="ann@example.com")
    bob = await service.user()
    assert await service.problems("PATCH", f"/v1/users/{bob}", {"email": "ANN@example.com"}) == (
        409,
        [("email", "taken")],
    )
    assert service.told == []


async def test_of_many_who_want_an_address_one_gets_it(service: UserService) -> None:
    new = [NewUser(id=f"customer-{number}", email="ann@example.com") for number in range(8)]
    made = await asyncio.gather(*map(service.repository.create, new), return_exceptions=True)
    refused = [answer for answer in made if isinstance(answer, Conflict)]
    assert len(refused) == len(new) - 1
    assert {problem.path for error in refused for problem in error.fields} == {("email",)}


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"email": "nobody"}, "email"),
        ({"email": "a@b, c@d"}, "email"),
        ({"email": "a@b\r\nBcc: c@d"}, "email"),
        ({"locale": "klingonisch"}, "locale"),
        ({"time_zone": "Mars/Olympus"}, "time_zone"),
        ({"time_zone": "../etc/passwd"}, "time_zone"),
        ({"email": f"{'ß' * 60}@{'ß' * 60}.{'ß' * 60}.{'ß' * 60}.com"}, "email"),
        ({"name": "x" * 201}, "name"),
        ({"name": "nul\0"}, "name"),
        ({"id": "a b"}, "id"),
    ],
)
async def test_wrong_fields_are_named(users: UsersClient, given: dict[str, str], field: str) -> None:
    with pytest.raises(ValidationFailed) as caught:
        await users.create(**given)
    assert [problem.path for problem in caught.value.fields] == [(field,)]


async def test_an_update_changes_what_it_names_and_nothing_else(users: UsersClient) -> None:
    made = await users.create(email="ann@example.com", name="Ann")
    changed = await users.update(made.id, {"name": "Anna", "email": None})
    assert (changed.name, changed.email, changed.locale) == ("Anna", None, "en")
    assert changed.updated_at > made.updated_at
    assert changed.created_at == made.created_at
    await users.create(email="ann@example.com")  # the address is free again


async def test_an_update_cannot_take_the_locale_away(users: UsersClient) -> None:
    made = await users.create()
    with pytest.raises(ValidationFailed):
        await users.update(made.id, {"locale": None})


async def test_who_is_deleted_is_gone_with_all_devices(users: UsersClient) -> None:
    made = await users.create()
    device = await users.register_device(made.id, platform="WEB", token="token-0001")
    await users.delete(made.id)
    with pytest.raises(NotFound):
        await users.get(made.id)
    with pytest.raises(NotFound):
        await users.device(device.id)
    with pytest.raises(NotFound):
        await users.delete(made.id)
    assert await users.lookup([made.id]) == {}


@pytest.mark.parametrize("id_", ["", ".", "..", "usr_none", "a/b", "ü", "x?y=1", "%00"])
async def test_who_is_not_there_is_not_found(users: UsersClient, id_: str) -> None:
    with pytest.raises(NotFound):
        await users.get(id_)
    with pytest.raises(NotFound):
        await users.update(id_, {"name": "x"})


async def test_changes_are_told_once_they_are_committed(service: UserService) -> None:
    ann = (await service.data("POST", "/v1/users", {}))["id"]
    assert service.told == [(Kind.USER, {ann})]
    await service.data("PATCH", f"/v1/users/{ann}", {"name": "Ann"})
    assert service.told == [(Kind.USER, {ann})] * 2
    for path in (f"/v1/users/{ann}", "/v1/users", f"/v1/users/{ann}/devices", f"/v1/users/{ann}/permissions"):
        await service.data("GET", path)
    assert (await service.call("PATCH", "/v1/users/usr_none", {"name": "x"}))[0] == 404
    assert len(service.told) == 2


async def test_a_caller_who_leaves_does_not_keep_a_change_secret(
    service: UserService, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = await service.user()
    unit, committed = service.database.unit, asyncio.Event()

    async def slow(work: Any) -> Any:
        result = await unit(work)
        committed.set()
        return result

    monkeypatch.setattr(service.database, "unit", slow)
    caller = asyncio.create_task(service.repository.update(ann, {"name": "Ann"}))
    await asyncio.sleep(0)  # it has begun
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    async with asyncio.timeout(10):
        await committed.wait()
    assert (await service.repository.get(ann)).name == "Ann"
    assert service.told == [(Kind.USER, {ann})]


# ---------------------------------------------------------------------------------------------------- time zones


ZONES = available_timezones() - {"localtime"}


def accepted(kind: Any, value: str) -> bool:
    try:
        return bool(TypeAdapter(kind).validate_python(value) == value)
    except ValidationError:
        return False


def test_every_time_zone_is_one_but_the_machines_own() -> None:
    assert [name for name in ZONES if not accepted(TimeZone, name)] == []


@pytest.mark.parametrize(
    "name",
    [
        *("", " ", ".", "..", "/", "Europe", "Europe/", "/Europe/Berlin", "Europe//Berlin", "Europe/Berlin/"),
        *("Europe/../Europe/Berlin", "../Europe/Berlin", "./Europe/Berlin", "Europe/./Berlin", "Europe\\Berlin"),
        *("/etc/localtime", "/usr/share/zoneinfo/Europe/Berlin", "localtime", "posixrules", "posix/Europe/Berlin"),
        *(
            "right/Europe/Berlin",
            "zone.tab",
            "tzdata.zi",
            "Europe/Berlin\n",
            "Europe/Berl\0in",
            "UTC+2",
            "Mars/Olympus",
        ),
        *("E" * 5_000, "Europe/" * 9, "\ud800", "Ünited/Kingdom"),
    ],
)
def test_what_only_looks_like_a_time_zone_is_none(name: str) -> None:
    assert not accepted(TimeZone, name)


@given(st.text("./\\-_+ELoat\0") | st.text())
def test_no_text_at_all_upsets_the_check_of_time_zones(name: str) -> None:
    assert accepted(TimeZone, name) == (name in ZONES)


@given(st.text(st.sampled_from("ßİŉa"), min_size=1, max_size=64), st.lists(st.text("ßİa", min_size=1, max_size=60)))
def test_an_address_that_is_taken_fits_its_column_in_any_case(local: str, labels: list[str]) -> None:
    address = f"{local}@{'.'.join([*labels, 'com'])}"
    if accepted(Email, address):
        assert len(address.casefold()) <= 254


# -------------------------------------------------------------------------------------------------------- lookup


async def test_a_lookup_is_two_statements_however_many_are_looked_up(
    service: UserService, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [await service.user(email=f"u{number}@example.com") for number in range(10)]
    await service.device(ids[0], "token-0001")
    query, statements = service.database.query, []

    async def counted(sql: str, params: Sequence[Any] = ()) -> Any:
        statements.append(sql)
        return await query(sql, params)

    monkeypatch.setattr(service.database, "query", counted)
    found = await service.repository.lookup([*ids, "usr_none"])
    assert {recipient.user_id for recipient in found} == set(ids)
    assert len(statements) == 2


async def test_a_thousand_are_looked_up_in_one_call(wire: Wire, users: UsersClient) -> None:
    made = await asyncio.gather(*(users.create(email=f"u{number}@example.com") for number in range(30)))
    ids = [user.id for user in made] + [f"usr_none{number}" for number in range(970)]
    wire.calls.clear()
    found = await users.lookup(ids)
    assert set(found) == {user.id for user in made}
    assert all(known.value.user_id == key for key, known in found.items())
    assert wire.calls == [("POST", "/v1/users/lookup")]


async def test_more_than_a_thousand_are_asked_for_in_parts(wire: Wire, users: UsersClient) -> None:
    ann = await users.create()
    wire.calls.clear()
    found = await users.lookup([f"usr_none{number}" for number in range(1_500)] + [ann.id])
    assert set(found) == {ann.id}
    assert len(wire.calls) == 2


async def test_lookups_that_arrive_together_are_one_call(wire: Wire, users: UsersClient) -> None:
    made = await asyncio.gather(*(users.create() for _ in range(20)))
    wire.calls.clear()
    found = await asyncio.gather(*(users.lookup([user.id]) for user in made))
    assert [list(recipients) for recipients in found] == [[user.id] for user in made]
    assert len(wire.calls) == 1


async def test_what_was_just_looked_up_is_remembered(wire: Wire, users: UsersClient) -> None:
    ann = await users.create()
    first = await users.lookup([ann.id])
    wire.calls.clear()
    assert await users.lookup([ann.id]) == first
    assert wire.calls == []


async def test_own_changes_are_seen_at_once(users: UsersClient) -> None:
    ann = await users.create(name="Ann")
    await users.lookup([ann.id])
    await users.update(ann.id, {"name": "Anna"})
    assert (await users.lookup([ann.id]))[ann.id].value.name == "Anna"
    await users.delete(ann.id)
    assert await users.lookup([ann.id]) == {}


async def test_what_is_remembered_is_served_while_the_service_is_away(wire: Wire) -> None:
    async with wire.client() as http:
        users = UsersClient(http, service_token=TOKEN, ttl=0.0)
        ann = await users.create(name="Ann")
        await users.lookup([ann.id])
        wire.away = True
        assert (await users.lookup([ann.id]))[ann.id].value.name == "Ann"
        with pytest.raises(UpstreamUnavailable):
            await users.lookup([ann.id, "usr_other"])
        with pytest.raises(UpstreamUnavailable):
            await users.get(ann.id)
        wire.away = False
        assert (await users.lookup([ann.id]))[ann.id].value.name == "Ann"


async def test_nothing_old_is_served_past_its_time(wire: Wire) -> None:
    async with wire.client() as http:
        users = UsersClient(http, service_token=TOKEN, ttl=0.0, stale=0.0)
        ann = await users.create()
        await users.lookup([ann.id])
        wire.away = True
        with pytest.raises(UpstreamUnavailable):
            await users.lookup([ann.id])
