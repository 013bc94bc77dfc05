"""Dead letters on whole systems: what fails for good waits for an operator, who starts it again."""

import asyncio
import json
import re
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import aio_pika

from domain.ids import USER, new_id
from tests.e2e.api import DEADLINE, WATCH, Api
from tests.e2e.conftest import Running
from tests.servers.roles import API_KEY

HOPELESS = "defer-always@sandbox.heliograph.test"
"""Put off every time, so the attempts are used up."""
BOUNCING = "bounce+{}@sandbox.heliograph.test"
"""Refused for good, at once."""

LIST = """query ($filter: DeadLetterFilter) { dead_letters(filter: $filter, limit: 100) { success message data {
  id notification_id channel queue reason attempts payload replayed_at } } }"""
REPLAY = """mutation ($ids: [ID!]!) { replay_dead_letters(ids: $ids) {
  success message data { replayed refused { id code message } } } }"""
REPLAY_WHERE = """mutation ($filter: DeadLetterFilter!, $rate: Int) { replay_dead_letters_where(
  filter: $filter, rate: $rate) { success message data { replayed refused { id } seconds more } } }"""
DETAIL = "query ($id: ID!) { notification(id: $id) { data { timeline { status reason detail } } } }"
CREATE_USER = "mutation ($input: CreateUserInput!) { create_user(input: $input) { success message } }"
UPDATE_USER = """mutation ($id: ID!, $input: UpdateUserInput!) {
  update_user(id: $id, input: $input) { success message } }"""


async def letters_of(api: Api, id: str) -> list[dict[str, Any]]:
    """The letters of a notification, the newest first."""
    found: list[dict[str, Any]] = (await api.payload(LIST, filter={"notification_id": id}))["data"]
    return found


async def fail(api: Api, address: str = HOPELESS) -> tuple[str, str]:
    """Send what will be given up on; the notification and its dead letter."""
    id = await api.send_one(recipient={"email": address})
    await api.until(id, "FAILED")
    (letter,) = await letters_of(api, id)
    return id, str(letter["id"])


def statuses(found: dict[str, Any]) -> list[str]:
    return [event["status"] for event in found["timeline"]]


def heliograph(*words: str) -> subprocess.CompletedProcess[str]:
    """The command line, as an operator uses it."""
    command = [sys.executable, "-c", "from api.cli import main; main()", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False)


SUPPRESSIONS = "{ suppressions(channel: EMAIL, limit: 100) { data { id contact_point reason } } }"
LIFT = "mutation ($id: ID!) { lift_suppression(id: $id) { success message } }"


async def suppressions_of(api: Api, address: str) -> list[dict[str, Any]]:
    """The suppressions of an address."""
    return [one for one in (await api.payload(SUPPRESSIONS))["data"] if one["contact_point"] == address]


async def replayed_until_skipped(api: Api, id: str) -> dict[str, Any]:
    """Replay its dead letter. A worker elsewhere may be sure for a second more that nothing at all is suppressed: then
    it fails again and there is another letter."""
    async with asyncio.timeout(DEADLINE):
        while True:
            letter = (await letters_of(api, id))[0]["id"]
            assert (await api.payload(REPLAY, ids=[letter]))["data"]["replayed"] == [letter]
            found = await api.until(id, "SKIPPED", "FAILED")
            if found["status"] == "SKIPPED":
                return found


class TestRefusedAddress:
    async def test_it_is_suppressed_and_a_replay_says_why_it_is_not_sent(self, api: Api) -> None:
        address = BOUNCING.format(new_id(USER)[-12:])
        id, _ = await fail(api, address)
        assert [one["reason"] for one in await suppressions_of(api, address)] == ["address refused (5.1.1)"]
        skipped = await replayed_until_skipped(api, id)
        assert skipped["reason"] == "Every email address of the recipient is suppressed: address refused (5.1.1)."
        assert {attempt["code"] for attempt in skipped["attempts"]} == {"5.1.1"}
        again = (await api.send(recipient={"email": address}))["notifications"][0]
        assert again["status"] == "SKIPPED"

    async def test_lifted_it_is_tried_again_and_suppressed_again(self, api: Api) -> None:
        address = BOUNCING.format(new_id(USER)[-12:])
        id, letter = await fail(api, address)
        (found,) = await suppressions_of(api, address)
        assert (await api.payload(LIFT, id=found["id"]))["success"]
        assert (await api.payload(REPLAY, ids=[letter]))["data"]["replayed"] == [letter]
        async with asyncio.timeout(DEADLINE):
            while not await suppressions_of(api, address):  # noqa: ASYNC110 - it is elsewhere
                await asyncio.sleep(0.05)
        refused = await api.notification(id)
        assert refused["status"] == "FAILED"
        assert len(refused["attempts"]) == 2


class TestReplay:
    async def test_a_permanent_failure_waits_until_the_address_is_mended(self, api: Api) -> None:
        user = new_id(USER)
        given = {"id": user, "email": BOUNCING.format(user[-12:])}
        assert (await api.payload(CREATE_USER, input=given))["success"]
        id = await api.send_one(recipient={"user_id": user})
        await api.until(id, "FAILED")
        (letter,) = await letters_of(api, id)
        assert (letter["channel"], letter["queue"], letter["attempts"]) == ("EMAIL", "email.queue", 1)
        assert letter["payload"]["detail"]["code"] == "5.1.1"
        mended = {"email": f"mended-{user[-12:]}@example.com"}
        assert (await api.payload(UPDATE_USER, id=user, input=mended))["success"]
        async with api.subscribe(WATCH, id=id, follow=True) as events:
            seen = [await anext(events)]
            while seen[-1]["status"] != "FAILED":
                seen.append(await anext(events))
            assert (await api.payload(REPLAY, ids=[letter["id"]]))["data"]["replayed"] == [letter["id"]]
            while seen[-1]["status"] != "SENT":
                seen.append(await anext(events))
        assert [event["status"] for event in seen][-4:] == ["FAILED", "QUEUED", "SENDING", "SENT"]
        assert [event["sequence"] for event in seen] == list(range(1, len(seen) + 1))
        (letter,) = await letters_of(api, id)
        assert letter["replayed_at"] is not None

    async def test_the_log_says_who_replayed_it(self, api: Api) -> None:
        id, letter = await fail(api)
        await api.payload(REPLAY, ids=[letter])
        timeline = (await api.payload(DETAIL, id=id))["data"]["timeline"]
        (event,) = [event for event in timeline if event["reason"] == "Replayed by an operator."]
        assert event["status"] == "QUEUED"
        assert event["detail"]["dead_letter"] == letter
        assert event["detail"]["replayed_by"]["id"].startswith("key_")

    async def test_twice_at_once_is_once_and_failing_again_is_a_second_letter(self, api: Api) -> None:
        id, letter = await fail(api)
        answers = await asyncio.gather(*(api.payload(REPLAY, ids=[letter]) for _ in range(8)))
        assert [len(answer["data"]["replayed"]) for answer in answers].count(1) == 1
        refusals = [each for answer in answers for each in answer["data"]["refused"]]
        assert {each["code"] for each in refusals} == {"ALREADY_REPLAYED"}
        assert len(refusals) == 7
        async with asyncio.timeout(DEADLINE):
            while len(await letters_of(api, id)) < 2:  # noqa: ASYNC110 - it is elsewhere
                await asyncio.sleep(0.05)
        second, first = await letters_of(api, id)
        assert (first["id"], second["replayed_at"], second["attempts"]) == (letter, None, 3)
        found = await api.notification(id)
        assert statuses(found).count("FAILED") == 2
        assert [attempt["number"] for attempt in found["attempts"]] == [1, 2, 3, 4, 5, 6]

    async def test_all_since_then_are_replayed_at_a_pace(self, api: Api) -> None:
        since = datetime.now(UTC).isoformat()
        failed = dict(await asyncio.gather(*(fail(api) for _ in range(4))))
        where = {"channel": "EMAIL", "dead_lettered_after": since, "replayed": False}
        payload = await api.payload(REPLAY_WHERE, filter=where, rate=2)
        data = payload["data"]
        assert set(failed.values()) <= set(data["replayed"])
        assert (data["refused"], data["seconds"], data["more"]) == ([], len(data["replayed"]) / 2, False)
        for id in failed:
            story = statuses(await api.notification(id))
            assert story[story.index("FAILED") + 1] == "QUEUED"

    async def test_the_command_line_lists_and_replays(self, api: Api, running: Running) -> None:
        id, letter = await fail(api)
        at = ("--url", f"http://127.0.0.1:{running.port}", "--key", API_KEY)
        listed = await asyncio.to_thread(heliograph, "dead-letters", "list", "--channel", "email", *at)
        assert listed.returncode == 0, listed.stderr
        assert re.search(rf"^ *{letter} .*{id}", listed.stdout, re.MULTILINE)
        first = await asyncio.to_thread(heliograph, "dead-letters", "replay", letter, *at)
        assert (first.returncode, first.stdout) == (0, "Replayed 1.\n"), first.stderr
        again = await asyncio.to_thread(heliograph, "dead-letters", "replay", letter, *at)
        assert (again.returncode, again.stdout) == (0, "Replayed 0.\n"), again.stderr
        assert "replayed already" in again.stderr


async def test_a_message_that_nobody_can_read_is_listed_and_not_replayed(scaled_out: Running) -> None:
    assert scaled_out.compose is not None
    url = scaled_out.compose.environment("gateway")["HELIOGRAPH_BROKER_URL"]
    body = {"version": 9, "note": f"from another release {datetime.now(UTC).timestamp()}"}
    async with await aio_pika.connect(url, timeout=DEADLINE) as connection:
        channel = await connection.channel()
        exchange = await channel.get_exchange("notifications.direct")
        await exchange.publish(aio_pika.Message(json.dumps(body).encode()), "email", timeout=DEADLINE)
    async with Api(scaled_out.port, API_KEY) as api:
        async with asyncio.timeout(DEADLINE):
            while not (found := await _with_payload(api, body)):  # noqa: ASYNC110 - it is elsewhere
                await asyncio.sleep(0.05)
        (letter,) = found
        assert (letter["notification_id"], letter["queue"], letter["replayed_at"]) == (None, "email.queue", None)
        assert "channel" in letter["reason"]
        payload = await api.payload(REPLAY, ids=[letter["id"]])
        (refused,) = payload["data"]["refused"]
        assert (payload["data"]["replayed"], refused["code"]) == ([], "NOT_A_DELIVERY")
        assert refused["message"].startswith("It is a message that nobody could read, not a delivery")


async def _with_payload(api: Api, body: dict[str, Any]) -> list[dict[str, Any]]:
    letters = (await api.payload(LIST))["data"]
    return [letter for letter in letters if letter["payload"] == body]
