"""The User Service, through its client and over raw HTTP, on both engines."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from api.database import Databases
from api.users.app import users_app
from api.users.client import UsersClient
from api.users.repository import MAX_DEVICES, UserRepository
from domain.errors import Conflict, NotFound, UpstreamUnavailable, ValidationFailed
from tests.services.rest_clients import Wire, raw

TOKEN = "service-token"
ENVELOPE = {"success", "data", "error", "message", "meta"}


@pytest.fixture
async def wire(database_url: str) -> AsyncIterator[Wire]:
    databases = await Databases.open({"users": database_url})
    await databases.migrate()
    yield Wire(users_app(UserRepository(databases["users"]), service_token=TOKEN))
    await databases.close()


@pytest.fixture
async def users(wire: Wire) -> AsyncIterator[UsersClient]:
    async with wire.client() as http:
        yield UsersClient(http, service_token=TOKEN)


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
    ("given", "field"),
    [
        ({"email": "nobody"}, "email"),
        ({"email": "a@b, c@d"}, "email"),
        ({"email": "a@b\r\nBcc: c@d"}, "email"),
        ({"locale": "klingonisch"}, "locale"),
        ({"time_zone": "Mars/Olympus"}, "time_zone"),
        ({"time_zone": "../etc/passwd"}, "time_zone"),
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


async def test_lists_are_pages(users: UsersClient) -> None:
    made = [await users.create(email=f"u{number}@example.com") for number in range(5)]
    first, last = await users.list(limit=2), await users.list(page=3, limit=2)
    assert [user.id for user in first.items] == [user.id for user in made[:2]]
    assert [user.id for user in last.items] == [made[4].id]
    assert (first.meta.total, first.meta.total_pages, first.meta.has_next, first.meta.has_previous) == (
        5,
        3,
        True,
        False,
    )
    assert (last.meta.has_next, last.meta.has_previous) == (False, True)


async def test_an_address_finds_its_user(users: UsersClient) -> None:
    ann = await users.create(email="ann@example.com")
    await users.create(email="bob@example.com")
    page = await users.list(email="Ann@example.com")
    assert [user.id for user in page.items] == [ann.id]
    assert (await users.list(email="nobody@example.com")).items == []


# ------------------------------------------------------------------------------------------------------- devices


async def test_a_device_can_be_reached_until_it_is_removed(users: UsersClient) -> None:
    ann = await users.create()
    device = await users.register_device(ann.id, platform="IOS", token="secret-token-0001")
    assert (device.user_id, device.platform, device.valid) == (ann.id, "IOS", True)
    assert "secret-token" not in device.token_hint
    recipient = (await users.lookup([ann.id]))[ann.id]
    assert [(known.id, known.token, known.platform) for known in recipient.devices] == [
        (device.id, "secret-token-0001", "IOS")
    ]
    assert (await users.get(ann.id)).devices == (device,)
    await users.remove_device(device.id)
    assert (await users.lookup([ann.id]))[ann.id].devices == ()
    with pytest.raises(NotFound):
        await users.remove_device(device.id)


async def test_registering_again_refreshes_the_device(users: UsersClient) -> None:
    ann = await users.create()
    first = await users.register_device(ann.id, platform="WEB", token="token-0001")
    again = await users.register_device(ann.id, platform="ANDROID", token="token-0001")
    assert again.id == first.id
    assert again.platform == "ANDROID"
    assert again.last_seen_at > first.last_seen_at
    assert again.created_at == first.created_at


async def test_a_token_moves_to_who_registered_it_last(users: UsersClient) -> None:
    ann, bob = await users.create(), await users.create()
    await users.register_device(ann.id, platform="WEB", token="token-0001")
    await users.register_device(bob.id, platform="WEB", token="token-0001")
    assert (await users.get(ann.id)).devices == ()
    assert len((await users.get(bob.id)).devices) == 1


async def test_too_many_devices_push_out_the_one_not_seen_for_longest(users: UsersClient) -> None:
    ann = await users.create()
    made = [
        await users.register_device(ann.id, platform="WEB", token=f"token-{number:04}")
        for number in range(MAX_DEVICES + 1)
    ]
    kept = {device.id for device in (await users.get(ann.id)).devices}
    assert kept == {device.id for device in made[1:]}


@pytest.mark.parametrize(("platform", "token", "field"), [("FAX", "token-0001", "platform"), ("WEB", "short", "token")])
async def test_a_device_is_checked(users: UsersClient, platform: str, token: str, field: str) -> None:
    ann = await users.create()
    with pytest.raises(ValidationFailed) as caught:
        await users.register_device(ann.id, platform=platform, token=token)
    assert caught.value.fields[0].path == (field,)


async def test_a_device_needs_a_user(users: UsersClient) -> None:
    with pytest.raises(NotFound):
        await users.register_device("usr_none", platform="WEB", token="token-0001")


async def test_somebody_elses_device_cannot_be_removed_through_a_user(wire: Wire, users: UsersClient) -> None:
    ann, bob = await users.create(), await users.create()
    device = await users.register_device(ann.id, platform="WEB", token="token-0001")
    path = f"/v1/users/{bob.id}/devices/{device.id}"
    assert (await raw(wire, "DELETE", path, Authorization=f"Bearer {TOKEN}"))[0] == 404
    assert (await users.device(device.id)).user_id == ann.id


# -------------------------------------------------------------------------------------------------------- lookup


async def test_a_thousand_are_looked_up_in_one_call(wire: Wire, users: UsersClient) -> None:
    made = await asyncio.gather(*(users.create(email=f"u{number}@example.com") for number in range(30)))
    ids = [user.id for user in made] + [f"usr_none{number}" for number in range(970)]
    wire.calls.clear()
    found = await users.lookup(ids)
    assert set(found) == {user.id for user in made}
    assert all(recipient.user_id == key for key, recipient in found.items())
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
    assert (await users.lookup([ann.id]))[ann.id].name == "Anna"
    await users.delete(ann.id)
    assert await users.lookup([ann.id]) == {}


async def test_what_is_remembered_is_served_while_the_service_is_away(wire: Wire) -> None:
    async with wire.client() as http:
        users = UsersClient(http, service_token=TOKEN, ttl=0.0)
        ann = await users.create(name="Ann")
        await users.lookup([ann.id])
        wire.away = True
        assert (await users.lookup([ann.id]))[ann.id].name == "Ann"
        with pytest.raises(UpstreamUnavailable):
            await users.lookup([ann.id, "usr_other"])
        with pytest.raises(UpstreamUnavailable):
            await users.get(ann.id)
        wire.away = False
        assert (await users.lookup([ann.id]))[ann.id].name == "Ann"


async def test_nothing_old_is_served_past_its_time(wire: Wire) -> None:
    async with wire.client() as http:
        users = UsersClient(http, service_token=TOKEN, ttl=0.0, stale=0.0)
        ann = await users.create()
        await users.lookup([ann.id])
        wire.away = True
        with pytest.raises(UpstreamUnavailable):
            await users.lookup([ann.id])
