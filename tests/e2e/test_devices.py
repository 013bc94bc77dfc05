"""A device's whole life, through every process that has a say in it."""

import asyncio
from typing import Any

from tests.e2e.api import DEADLINE, Api
from tests.e2e.test_people import person

REGISTER = """mutation ($id: ID!, $input: RegisterDeviceInput!) { register_device(user_id: $id, input: $input) {
  success data { id valid invalid_since last_seen_at } } }"""
DEVICES = "query ($id: ID!) { user(id: $id) { success data { devices { id valid invalid_since last_seen_at } } } }"


async def register(api: Api, user: str, token: str) -> dict[str, Any]:
    """The device, registered now."""
    payload = await api.payload(REGISTER, id=user, input={"platform": "ANDROID", "token": token})
    device: dict[str, Any] = payload["data"]
    return device


async def retired(api: Api, user: str) -> dict[str, Any]:
    """The user's one device, once it is not valid any more."""
    async with asyncio.timeout(DEADLINE):
        while True:
            [device] = (await api.payload(DEVICES, id=user))["data"]["devices"]
            if not device["valid"]:
                return dict(device)
            await asyncio.sleep(0.1)


async def pushed(api: Api, user: str) -> dict[str, Any]:
    """What came of a push to this user."""
    id = await api.send_one(recipient={"user_id": user}, channels=["PUSH"])
    return await api.until(id, "SENT", "FAILED", "SKIPPED")


async def skipped(api: Api, user: str) -> dict[str, Any]:
    """A push that was skipped; every process has then heard that the device is not valid."""
    async with asyncio.timeout(DEADLINE):
        while True:
            if (push := await pushed(api, user))["status"] == "SKIPPED":
                return push


async def test_a_token_that_the_provider_no_longer_knows_is_not_called_until_it_registers_again(api: Api) -> None:
    user = await person(api)
    token = f"{user}-sandbox-unregistered"
    device = await register(api, user, token)
    assert (device["valid"], device["invalid_since"]) == (True, None)

    refused = await pushed(api, user)
    assert (refused["status"], refused["attempts"][0]["code"]) == ("FAILED", "UNREGISTERED")
    invalid = await retired(api, user)
    assert invalid["invalid_since"] > invalid["last_seen_at"]

    assert (await skipped(api, user))["attempts"] == []

    again = await register(api, user, token)
    assert (again["id"], again["valid"], again["invalid_since"]) == (device["id"], True, None)
    assert (await pushed(api, user))["attempts"][0]["code"] == "UNREGISTERED"
