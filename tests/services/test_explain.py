"""Why, over GraphQL: decisions and waits of a notification in one query, at the cost of its log."""

from typing import Any

import pytest

from api.security import Kind, Principal
from domain.notification import Channel, Outcome, Status
from domain.preferences import Rule
from domain.reasons import Attempted, PassedOver, Route, Step, written
from domain.recipient import Quiet
from tests.services.gateway_fakes import Gateway, running_gateway
from tests.services.service_fakes import NOON
from tests.unit.explained import call

WHY = """query ($id: ID!) { notification(id: $id) { success error { code } data {
  decisions { kind sentence detail at attempt } waits { status from until seconds what_for } } } }"""
MINE = Principal(client="end users", key_id="", name="ada", kind=Kind.END_USER, user_id="ada", scopes=frozenset())


@pytest.fixture
async def gateway() -> Any:
    """A gateway with everything behind it in memory, and Ada."""
    async with running_gateway() as gateway:
        await gateway.people.create(id="ada", email="ada@example.com", name="Ada")
        yield gateway


async def send(gateway: Gateway, **given: Any) -> str:
    """A mail to Ada; its id."""
    sent = await gateway.send(**{"recipient": {"user_id": "ada"}, **given})
    return str(sent["data"]["notifications"][0]["id"])


def deliver(gateway: Gateway, id: str) -> None:
    """It is sent by smtp, because sendgrid's breaker is open, in quiet hours that it passes."""
    passed = Step(provider="sendgrid", passed_over=PassedOver.BREAKER_OPEN, until=NOON)
    decided = Attempted(
        at=NOON,
        rule=Rule.CATEGORY,
        quiet=Quiet(end="07:00", zone="Europe/Rome", until=NOON),
        routes=(Route(steps=(passed, Step(provider="smtp"))),),
    )
    gateway.store.tries[id] = [call(1, Outcome.ACCEPTED, started_at=NOON)]
    gateway.store.change(id, Status.QUEUED)
    gateway.store.change(id, Status.SENDING, attempt=1)
    gateway.store.change(id, Status.SENT, attempt=1, provider="smtp", detail=written(decided))


async def why(gateway: Gateway, id: str, **caller: Any) -> dict[str, Any]:
    answer = await gateway.post(WHY, {"id": id}, **caller)
    payload: dict[str, Any] = answer.json()["data"]["notification"]
    return payload


async def test_one_query_says_why_it_was_accepted_so_and_sent_so(gateway: Gateway) -> None:
    id = await send(gateway)
    deliver(gateway, id)
    data = (await why(gateway, id))["data"]
    assert [(each["kind"], each["attempt"]) for each in data["decisions"]] == [
        ("CHANNEL", None),
        ("PREFERENCE", None),
        ("PREFERENCE", 1),
        ("QUIET_HOURS", 1),
        ("PROVIDER", 1),
    ]
    provider = data["decisions"][-1]
    assert provider["sentence"] == (
        "sendgrid was passed over, because its breaker was open until 2025-01-01 12:00:00 UTC;"
        " smtp was called, the next in order."
    )
    assert [step["provider"] for step in provider["detail"]["providers"]] == ["sendgrid", "smtp"]
    assert provider["at"] == "2025-01-01T12:00:00Z"


async def test_the_waits_are_told_with_their_ends(gateway: Gateway) -> None:
    id = await send(gateway)
    deliver(gateway, id)
    waits = (await why(gateway, id))["data"]["waits"]
    assert [wait["status"] for wait in waits] == ["ACCEPTED", "QUEUED", "SENDING"]
    first = {"status": "ACCEPTED", "from": "2025-01-01T12:00:00Z", "until": "2025-01-01T12:00:00Z", "seconds": 0.0}
    assert waits[0] == first | {"what_for": "waited 0 ms to be put into the queue"}


async def test_what_still_waits_has_no_end(gateway: Gateway) -> None:
    (wait,) = (await why(gateway, await send(gateway)))["data"]["waits"]
    assert wait["until"] is None
    assert wait["seconds"] > 0


async def test_what_was_skipped_says_so_in_the_same_words_as_its_reason(gateway: Gateway) -> None:
    await gateway.blocks.add(Channel.EMAIL, "ada@example.com", "hard bounce")
    id = await send(gateway, channels=["EMAIL"])
    data = (await why(gateway, id))["data"]
    assert (data["decisions"][-1]["kind"], data["waits"]) == ("SUPPRESSION", [])
    assert data["decisions"][-1]["sentence"] == gateway.store.views[id].reason
    assert "ada@example.com" not in str(data)


async def test_a_list_asks_once_for_what_explains_all_of_it(gateway: Gateway) -> None:
    for _ in range(5):
        await send(gateway)
    gateway.store.reads.clear()
    query = """{ notifications(limit: 5) { data { decisions { sentence } waits { what_for }
      timeline { status } attempts { number } } } }"""
    data = (await gateway.ask(query))["notifications"]["data"]
    assert all(each["decisions"] and each["waits"] for each in data)
    assert sorted(gateway.store.reads) == ["attempts", "notifications", "timeline"]


@pytest.mark.parametrize(("limit", "refused"), [(100, False), (None, True)])
async def test_a_page_may_be_explained_and_its_explanations_count(
    gateway: Gateway, limit: int | None, refused: bool
) -> None:
    fields = "decisions { kind sentence at attempt } waits { status what_for }"
    again = "".join(f" more{number}: decisions {{ kind sentence detail at attempt }}" for number in range(3))
    query = f"{{ notifications(limit: {limit or 100}) {{ data {{ {fields}{again if limit is None else ''} }} }} }}"
    answer = (await gateway.post(query, {})).json()
    assert ("errors" in answer) is refused


@pytest.mark.parametrize(("owner", "found"), [("ada", True), ("eve", False)])
async def test_end_users_see_the_decisions_of_their_own(gateway: Gateway, owner: str, found: bool) -> None:
    if owner != "ada":
        await gateway.people.create(id=owner, email="eve@example.com")
    id = await send(gateway, recipient={"user_id": owner})
    gateway.keys.known["mine"] = MINE
    payload = await why(gateway, id, key="mine")
    assert payload["success"] is found
    assert (payload["data"] is not None and bool(payload["data"]["decisions"])) is found
