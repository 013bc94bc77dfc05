"""Where push reaches users, on both engines."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from api.records import UserDevice
from api.users.client import UsersClient
from api.users.devices import MAX_DEVICES
from domain.changes import Kind
from domain.errors import NotFound, ValidationFailed
from tests.services.user_service import UserService


async def test_a_device_can_be_reached_until_it_is_removed(users: UsersClient) -> None:
    ann = await users.create()
    device = await users.register_device(ann.id, platform="IOS", token="secret-token-0001")
    assert (device.user_id, device.platform, device.valid) == (ann.id, "IOS", True)
    assert "secret-token" not in device.token_hint
    recipient = (await users.lookup([ann.id]))[ann.id].value
    assert [(known.id, known.token, known.platform) for known in recipient.devices] == [
        (device.id, "secret-token-0001", "IOS")
    ]
    assert (await users.get(ann.id)).devices == (device,)
    await users.remove_device(device.id)
    assert (await users.lookup([ann.id]))[ann.id].value.devices == ()
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


async def test_a_token_that_the_provider_does_not_know_is_not_registered(service: UserService) -> None:
    async def verify(token: str) -> str | None:
        return "is not known" if token == "token-unknown" else None

    asking = UserService(service.database, verify)
    ann = await asking.user()
    body = {"platform": "WEB", "token": "token-unknown"}
    assert await asking.problems("POST", f"/v1/users/{ann}/devices", body) == (422, [("token", "unregistered")])
    assert await asking.data("GET", f"/v1/users/{ann}/devices") == []
    assert await asking.device(ann, "token-0001")


async def test_a_device_needs_a_user(users: UsersClient) -> None:
    with pytest.raises(NotFound):
        await users.register_device("usr_none", platform="WEB", token="token-0001")


async def test_somebody_elses_device_cannot_be_removed_through_a_user(service: UserService) -> None:
    ann, bob = await service.user(), await service.user()
    device = await service.device(ann, "token-0001")
    assert (await service.call("DELETE", f"/v1/users/{bob}/devices/{device}"))[0] == 404
    assert (await service.data("GET", f"/v1/devices/{device}"))["user_id"] == ann
    assert service.told == []
    assert await service.data("DELETE", f"/v1/users/{ann}/devices/{device}") == {"id": device, "user_id": ann}


async def test_a_users_devices_are_listed(service: UserService) -> None:
    ann, bob = await service.user(), await service.user()
    made = [await service.device(ann, f"token-{number:04}") for number in range(3)]
    await service.device(bob, "token-of-bob")
    status, answer = await service.call("GET", f"/v1/users/{ann}/devices")
    assert (status, [device["id"] for device in answer["data"]]) == (200, made)
    assert (answer["meta"]["total"], answer["meta"]["has_next"]) == (3, False)
    assert (await service.call("GET", "/v1/users/usr_none/devices"))[0] == 404


# ----------------------------------------------------------------------------------------------------- retirement


async def test_a_retired_device_is_not_reached_until_it_is_registered_again(service: UserService) -> None:
    ann = await service.user()
    retired, kept = await service.device(ann, "token-0001"), await service.device(ann, "token-0002")
    assert await service.data("POST", "/v1/devices/retire", {"ids": [retired, "dev_none"]}) == {"count": 1}
    (recipient,) = await service.repository.lookup([ann])
    assert [device.id for device in recipient.devices] == [kept]
    listed = await service.data("GET", f"/v1/users/{ann}/devices")
    assert {device["id"]: device["valid"] for device in listed} == {retired: False, kept: True}
    assert await service.device(ann, "token-0001") == retired
    (recipient,) = await service.repository.lookup([ann])
    assert {device.id for device in recipient.devices} == {retired, kept}


async def test_a_device_is_retired_once(service: UserService) -> None:
    ann, bob = await service.user(), await service.user()
    devices = [await service.device(ann, "token-0001"), await service.device(bob, "token-0002")]
    assert await service.data("POST", "/v1/devices/retire", {"ids": devices[:1]}) == {"count": 1}
    assert service.told == [(Kind.USER, {ann})]
    since = await service.database.query("select id, invalid_since from devices where invalid_since is not null")
    assert await service.data("POST", "/v1/devices/retire", {"ids": devices[:1]}) == {"count": 0}
    assert (
        await service.database.query("select id, invalid_since from devices where invalid_since is not null") == since
    )
    assert await service.data("POST", "/v1/devices/retire", {"ids": [*devices, devices[1]]}) == {"count": 1}
    assert service.told[-1] == (Kind.USER, {bob})


async def test_a_device_that_registered_after_it_was_refused_stays(service: UserService) -> None:
    ann = await service.user()
    device = await service.device(ann, "token-0001")
    seen = datetime.fromisoformat((await service.data("GET", f"/v1/devices/{device}"))["last_seen_at"])
    before, after = seen - timedelta(microseconds=1), seen + timedelta(microseconds=1)
    body = {"ids": [device], "refused_at": before.isoformat()}
    assert await service.data("POST", "/v1/devices/retire", body) == {"count": 0}
    assert (await service.data("GET", f"/v1/devices/{device}"))["invalid_since"] is None
    assert await service.data("POST", "/v1/devices/retire", {**body, "refused_at": after.isoformat()}) == {"count": 1}
    assert datetime.fromisoformat((await service.data("GET", f"/v1/devices/{device}"))["invalid_since"]) >= seen


@pytest.mark.parametrize("time", ["2026-01-02T03:04:05", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "x"])
async def test_a_time_that_is_none_or_has_no_offset_is_refused(service: UserService, time: str) -> None:
    body = {"ids": ["dev_1"], "refused_at": time}
    status, fields = await service.problems("POST", "/v1/devices/retire", body)
    assert (status, [found for found, _ in fields]) == (422, ["refused_at"])


async def test_a_retired_token_that_another_user_registers_is_theirs_and_valid(service: UserService) -> None:
    ann, bob = await service.user(), await service.user()
    device = await service.device(ann, "token-0001")
    assert await service.data("POST", "/v1/devices/retire", {"ids": [device]}) == {"count": 1}
    assert await service.device(bob, "token-0001") == device
    recipients = {recipient.user_id: recipient for recipient in await service.repository.lookup([ann, bob])}
    assert [one.id for one in recipients[bob].devices] == [device]
    assert recipients[ann].devices == ()


async def test_the_client_retires_devices(users: UsersClient) -> None:
    ann = await users.create()
    device = await users.register_device(ann.id, platform="WEB", token="token-0001")
    now = datetime.now(UTC)
    assert [await users.retire_devices([device.id], now) for _ in range(2)] == [1, 0]
    assert not (await users.device(device.id)).valid


@pytest.mark.parametrize(
    ("ids", "path"), [([], "ids"), (["dev_1"] * 1_001, "ids"), (["dev_\0"], "ids.0"), ([1], "ids.0"), (None, "ids")]
)
async def test_what_is_to_be_retired_is_checked(service: UserService, ids: Any, path: str) -> None:
    status, fields = await service.problems("POST", "/v1/devices/retire", {"ids": ids})
    assert (status, [found for found, _ in fields]) == (422, [path])


# ----------------------------------------------------------------------------------------------------- being told


async def test_changes_of_devices_are_told(service: UserService) -> None:
    ann = await service.user()
    device = await service.data("POST", f"/v1/users/{ann}/devices", {"platform": "WEB", "token": "token-0001"})
    assert service.told == [(Kind.USER, {ann})]
    service.told.clear()
    await service.data("DELETE", f"/v1/devices/{device['id']}")
    assert service.told == [(Kind.USER, {ann})]


async def test_both_users_are_told_of_when_a_token_moves(service: UserService) -> None:
    ann, bob = await service.user(), await service.user()
    await service.device(ann, "token-0001")
    await service.data("POST", f"/v1/users/{bob}/devices", {"platform": "WEB", "token": "token-0001"})
    assert service.told == [(Kind.USER, {ann, bob})]


async def test_a_token_that_many_register_at_once_leaves_nobody_untold(service: UserService) -> None:
    everybody = [await service.user() for _ in range(6)]
    await asyncio.gather(*(service.repository.devices.register(user, "WEB", "token-0001") for user in everybody))
    # Each but the first took it from another: so each but the last is told of twice, when it came and when it went.
    told = Counter(name for _, names in service.told for name in names)
    reached = {found.user_id for found in await service.repository.lookup(everybody) if found.devices}
    assert len(reached) == 1
    assert told == {user: 1 if user in reached else 2 for user in everybody}


async def test_a_device_cannot_be_registered_for_a_user_who_is_going(service: UserService) -> None:
    for number in range(10):
        ann = await service.user()
        register = service.repository.devices.register(ann, "WEB", f"token-{number:04}")
        _, made = await asyncio.gather(service.repository.delete(ann), register, return_exceptions=True)
        assert isinstance(made, NotFound | UserDevice)
        assert await service.database.query("select id from devices") == []
