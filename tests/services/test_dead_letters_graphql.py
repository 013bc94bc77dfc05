"""Dead letters through GraphQL: what is shown, what is asked of the gateway, what is refused."""

from datetime import UTC, datetime
from typing import Any

import pytest

from api.gateway.dead_letters import DeadLetterFilter, Refusal
from domain.ids import DEAD_LETTER, NOTIFICATION, new_id
from domain.notification import Channel
from tests.services.gateway_fakes import READER, Gateway
from tests.services.service_fakes import NOON

FIELDS = "id notification_id channel queue reason attempts payload first_failed_at dead_lettered_at replayed_at"
ERROR = "error { code message ... on ValidationError { fields { path code message } } }"
LIST = f"""query ($channel: Channel, $filter: DeadLetterFilter, $page: Int! = 1, $limit: Int! = 20) {{
  dead_letters(channel: $channel, filter: $filter, page: $page, limit: $limit) {{
    success message {ERROR} meta {{ total total_pages has_next }} data {{ {FIELDS} }} }} }}"""
_REPLAY = f"{{ success message {ERROR} data {{ replayed refused {{ id code message }} seconds more }} }}"
REPLAY = f"mutation ($ids: [ID!]!) {{ replay_dead_letters(ids: $ids) {_REPLAY} }}"
REPLAY_WHERE = f"""mutation ($filter: DeadLetterFilter!, $limit: Int! = 500, $rate: Int) {{
  replay_dead_letters_where(filter: $filter, limit: $limit, rate: $rate) {_REPLAY} }}"""
NODE = f"query ($id: ID!) {{ node(id: $id) {{ id ... on DeadLetter {{ {FIELDS} }} }} }}"


async def ask(gateway: Gateway, query: str, **variables: Any) -> Any:
    """The payload of an operation with one root field."""
    (payload,) = (await gateway.ask(query, variables)).values()
    return payload


def paths(payload: Any) -> list[str]:
    """What a payload says is wrong."""
    assert (payload["success"], payload["data"], payload["error"]["code"]) == (False, None, "VALIDATION_FAILED")
    return [".".join(field["path"]) for field in payload["error"]["fields"]]


class TestReading:
    async def test_a_letter_is_shown_whole_in_the_list_and_as_a_node(self, gateway: Gateway) -> None:
        letter = gateway.letters.add(payload={"id": "ntf_1", "detail": {"code": "5.1.1"}}, replayed_at=NOON)
        payload = await ask(gateway, LIST)
        assert (payload["success"], payload["meta"]["total"]) == (True, 1)
        (shown,) = payload["data"]
        noon = NOON.isoformat().replace("+00:00", "Z")
        assert shown == {
            "id": letter.id,
            "notification_id": "ntf_1",
            "channel": "EMAIL",
            "queue": "email.queue",
            "reason": "No such mailbox.",
            "attempts": 1,
            "payload": {"id": "ntf_1", "detail": {"code": "5.1.1"}},
            "first_failed_at": noon,
            "dead_lettered_at": noon,
            "replayed_at": noon,
        }
        assert await ask(gateway, NODE, id=letter.id) == shown

    async def test_a_message_has_no_notification(self, gateway: Gateway) -> None:
        gateway.letters.add(notification_id=None, channel=None, payload="no JSON")
        (shown,) = (await ask(gateway, LIST))["data"]
        assert (shown["notification_id"], shown["channel"], shown["payload"]) == (None, None, "no JSON")

    async def test_an_unknown_one_is_null(self, gateway: Gateway) -> None:
        assert await ask(gateway, NODE, id=new_id(DEAD_LETTER)) is None

    async def test_pages(self, gateway: Gateway) -> None:
        letters = [gateway.letters.add() for _ in range(3)]
        payload = await ask(gateway, LIST, page=2, limit=2)
        assert [shown["id"] for shown in payload["data"]] == [letters[0].id]
        assert payload["meta"] == {"total": 3, "total_pages": 2, "has_next": False}

    async def test_every_filter_reaches_the_store(self, gateway: Gateway) -> None:
        id = new_id(NOTIFICATION)
        times = {"dead_lettered_after": "2030-01-31T10:00:00+01:00", "dead_lettered_before": "2030-02-01T00:00:00Z"}
        given = {"channel": "PUSH", "notification_id": id, "replayed": False, **times}
        assert (await ask(gateway, LIST, filter=given))["success"]
        expected = DeadLetterFilter(
            channel=Channel.PUSH,
            notification_id=id,
            replayed=False,
            dead_lettered_after=datetime(2030, 1, 31, 9, tzinfo=UTC),
            dead_lettered_before=datetime(2030, 2, 1, tzinfo=UTC),
        )
        assert gateway.letters.asked == [(expected, 1, 20)]

    @pytest.mark.parametrize("filter", [None, {}, {"channel": None}, {"channel": "PUSH"}])
    async def test_the_channel_may_be_given_by_itself(self, gateway: Gateway, filter: Any) -> None:
        assert (await ask(gateway, LIST, channel="PUSH", filter=filter))["success"]
        assert gateway.letters.asked == [(DeadLetterFilter(channel=Channel.PUSH), 1, 20)]

    @pytest.mark.parametrize(
        ("given", "path"),
        [
            ({"channel": "EMAIL", "filter": {"channel": "PUSH"}}, "channel"),
            ({"filter": {"dead_lettered_after": "2030-01-31T10:00:00"}}, "filter.dead_lettered_after"),
            ({"filter": {"dead_lettered_before": "2030-01-31T10:00:00"}}, "filter.dead_lettered_before"),
            ({"filter": {"notification_id": "\0"}}, "filter.notification_id"),
            ({"limit": 101}, "limit"),
            ({"page": 0}, "page"),
        ],
    )
    async def test_what_cannot_be_is_named(self, gateway: Gateway, given: dict[str, Any], path: str) -> None:
        assert paths(await ask(gateway, LIST, **given)) == [path]


class TestReplay:
    async def test_each_id_has_its_own_answer(self, gateway: Gateway) -> None:
        fine, message, unknown = gateway.letters.add(), gateway.letters.add(notification_id=None), new_id(DEAD_LETTER)
        payload = await ask(gateway, REPLAY, ids=[fine.id, message.id, unknown])
        assert (payload["success"], payload["message"]) == (True, "Replayed 1; refused 2.")
        assert payload["data"] == {
            "replayed": [fine.id],
            "refused": [
                {"id": message.id, "code": "NOT_A_DELIVERY", "message": Refusal.NOT_A_DELIVERY.sentence},
                {"id": unknown, "code": "NOT_FOUND", "message": Refusal.NOT_FOUND.sentence},
            ],
            "seconds": 0.0,
            "more": False,
        }
        assert gateway.letters.asked == [([fine.id, message.id, unknown], "all")], "the gateway is told who asks"

    async def test_again_is_told(self, gateway: Gateway) -> None:
        id = gateway.letters.add().id
        assert (await ask(gateway, REPLAY, ids=[id]))["message"] == "Replayed 1."
        payload = await ask(gateway, REPLAY, ids=[id])
        assert (payload["success"], payload["message"]) == (True, "Nothing was replayed; refused 1.")
        assert [each["code"] for each in payload["data"]["refused"]] == ["ALREADY_REPLAYED"]

    @pytest.mark.parametrize("count", [0, 101])
    async def test_one_to_a_hundred_ids_a_call(self, gateway: Gateway, count: int) -> None:
        assert paths(await ask(gateway, REPLAY, ids=[new_id(DEAD_LETTER)] * count)) == ["ids"]
        assert gateway.letters.asked == []

    async def test_all_that_pass_without_listing_them(self, gateway: Gateway) -> None:
        push = [gateway.letters.add(channel=Channel.PUSH) for _ in range(3)]
        gateway.letters.add()
        payload = await ask(gateway, REPLAY_WHERE, filter={"channel": "PUSH"}, limit=2, rate=4)
        assert (payload["success"], payload["message"]) == (True, "Replayed 2. There are more.")
        data = payload["data"]
        assert data["replayed"] == [letter.id for letter in push[:2]]
        assert (data["refused"], data["seconds"], data["more"]) == ([], 0.5, True)
        assert gateway.letters.asked[0] == (DeadLetterFilter(channel=Channel.PUSH), 2, 4, "all")

    async def test_what_is_left_out_is_the_gateways_own(self, gateway: Gateway) -> None:
        payload = await ask(gateway, REPLAY_WHERE, filter={})
        assert (payload["success"], payload["message"]) == (True, "Nothing was replayed.")
        assert gateway.letters.asked[0] == (DeadLetterFilter(), 500, None, "all")

    @pytest.mark.parametrize(
        ("given", "path"),
        [
            ({"limit": 0}, "limit"),
            ({"limit": 10_001}, "limit"),
            ({"rate": 0}, "rate"),
            ({"rate": 1_001}, "rate"),
            ({"filter": {"dead_lettered_after": "2030-01-31T10:00:00"}}, "filter.dead_lettered_after"),
        ],
    )
    async def test_what_cannot_be_replays_nothing(self, gateway: Gateway, given: dict[str, Any], path: str) -> None:
        gateway.letters.add()
        assert paths(await ask(gateway, REPLAY_WHERE, **({"filter": {}} | given))) == [path]
        assert gateway.letters.asked == []

    async def test_a_key_without_the_scope_replays_nothing(self, gateway: Gateway) -> None:
        id = gateway.letters.add().id
        answer = await gateway.ask(REPLAY, {"ids": [id]}, key=READER)
        assert answer["replay_dead_letters"]["error"]["code"] == "FORBIDDEN"
        assert gateway.letters.kept[id].replayed_at is None
