"""The User and Template Services away: what the others remember of them stands in, and says so."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.e2e.api import SEND, Api
from tests.e2e.conftest import Running, start_compose
from tests.e2e.test_people import CREATE_TEMPLATE, opt_out, person, prefer
from tests.servers.roles import API_KEY

DETAILS = """query ($id: ID!) { notification(id: $id) { success data { timeline { status detail } } } }"""
TEMPLATE = {
    "key": "away",
    "default_locale": "en",
    "publish": True,
    "version": {"locales": [{"locale": "en", "subject": "Hi {{ name }}", "text": "Hello"}]},
}
TO_SEND: dict[str, Any] = {"template": {"key": "away"}, "variables": {"name": "Ada"}}


@pytest.fixture
def running(
    postgres: Any, rabbitmq: Any, redis_server: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    """A system of our own, whose services may be killed."""
    with ExitStack() as stack:
        yield start_compose(stack, postgres, rabbitmq, redis_server, tmp_path_factory.mktemp("away"))


async def said_stale(api: Api, id: str) -> dict[str, list[str] | None]:
    """What each entry of the log calls stale, by status."""
    timeline = (await api.payload(DETAILS, id=id))["data"]["timeline"]
    return {entry["status"]: (entry["detail"] or {}).get("stale") for entry in timeline}


async def send_to(api: Api, user: str) -> str:
    return await api.send_one(recipient={"user_id": user}, **TO_SEND)


async def test_known_users_and_templates_still_go_out_and_the_log_says_what_was_stale(running: Running) -> None:
    cluster = running.cluster
    async with Api(running.port, API_KEY) as api:
        user, unwilling, stranger = await person(api), await person(api), await person(api)
        await prefer(api, unwilling, channels=opt_out("general"))
        assert (await api.payload(CREATE_TEMPLATE, input=TEMPLATE))["success"]
        await api.until(await send_to(api, user), "SENT")
        await api.until(await send_to(api, unwilling), "SKIPPED")

        cluster.processes["users"].kill()
        cluster.processes["templates"].kill()
        # A worker that has never spoken to them finds in Redis what it needs.
        cluster.processes["email"].kill()
        running.start_again("email")
        cluster.processes["email"].wait_ready()

        async with asyncio.timeout(60):  # until what is fresh has grown old
            while True:
                id = await send_to(api, user)
                await api.until(id, "SENT")
                stale = await said_stale(api, id)
                if stale["ACCEPTED"] == ["user", "template"] and stale["SENT"] == ["user"]:
                    break
                await asyncio.sleep(0.5)
        # What was preferred is remembered too.
        refused = await api.until(await send_to(api, unwilling), "SENT", "SKIPPED")
        assert refused["reason"] == "The recipient opted out of email for 'general'."
        # Whom nobody remembers is not made up.
        unknown = {"recipient": {"user_id": stranger}, "channels": ["EMAIL"], **TO_SEND}
        payload = await api.payload(SEND, input=unknown)
        assert payload["error"]["code"] == "UPSTREAM_UNAVAILABLE"

        running.start_again("users")
        running.start_again("templates")
        async with asyncio.timeout(60):
            while any((await said_stale(api, await sent(api, user))).values()):  # noqa: ASYNC110 - it is elsewhere
                await asyncio.sleep(0.2)


async def sent(api: Api, user: str) -> str:
    """Send to a user, wait until it is sent; its id."""
    id = await send_to(api, user)
    await api.until(id, "SENT")
    return id
