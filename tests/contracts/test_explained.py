"""What the status store keeps of our decisions, on both engines: all that explains a notification, nothing personal."""

import msgspec
import pytest

from api.gateway.erasure import Eraser
from domain.deliver import DatabaseClock, deliver
from domain.events import Attempt, StatusReport, decode_report, encode
from domain.explain.decisions import decisions_of
from domain.explain.told import DecisionKind, Explanation, Told
from domain.explain.waits import waits_of
from domain.notification import Channel, Outcome, Status
from domain.outgoing import Delivered
from domain.ports import Settlement
from domain.reasons import PassedOver, Route, Step
from domain.recipient import Standing
from domain.retry import RetryPolicy
from tests.contracts.gateway_store import ALL, Store
from tests.contracts.test_erasure import Users
from tests.unit.send_fakes import GIVEN, World, template
from tests.unit.test_deliver import FakeSender, FakeStandings, Monotonic

PERSONAL = ("ada@example.com", "token-1")


async def accepted(store: Store) -> str:
    """A mail to Ada by template, as `send` prepares it; its id."""
    order = await World().order(
        to=[{"user_id": "usr_ada"}], template=template(), variables=GIVEN, channels=(Channel.EMAIL,)
    )
    return (await store.requests.accept(order)).notifications[0].id


async def delivered(store: Store, id: str, outcome: Outcome) -> None:
    """One attempt whose first provider's breaker is open, settled, reported over the wire and recorded."""
    claim = await store.claim(id, 0)
    assert claim is not None
    passed = Step(provider="sendgrid", passed_over=PassedOver.BREAKER_OPEN, until=claim.lease_until)
    call = Attempt(
        number=claim.attempt, provider="smtp", outcome=outcome, started_at=claim.claimed_at, duration_ms=1, code="421"
    )
    answer = Delivered(
        outcome=outcome,
        provider="smtp",
        attempts=(call,),
        routes=(Route(steps=(passed, Step(provider="smtp"))),),
    )
    standings = FakeStandings(Standing(recipient=claim.recipient, suppressed={}))
    clock = DatabaseClock(claim.claimed_at, 0.0, lambda: 0.0)
    result = await deliver(claim, standings, FakeSender(Monotonic(), answer), RetryPolicy(jitter=0.0), clock, 10.0)
    assert isinstance(result, Settlement)
    await store.claims.settle([result])
    report = decode_report(encode(StatusReport(changes=list(result.changes))))
    assert await store.record(*report.changes) == []


async def told(store: Store, id: str) -> Told:
    """What the gateway knows of it."""
    view = await store.queries.notification(id)
    assert view is not None
    return Told(
        channel=view.channel,
        category=view.category,
        send_at=view.send_at,
        deliver_by=view.deliver_by,
        timeline=(await store.queries.timeline([id]))[id],
        attempts=(await store.queries.attempts([id])).get(id, ()),
    )


async def decisions(store: Store, id: str) -> list[Explanation]:
    return decisions_of(await told(store, id))


async def test_what_was_decided_at_acceptance_is_in_the_accepting_transaction(store: Store) -> None:
    id = await accepted(store)
    found = await decisions(store, id)
    kinds = [DecisionKind.CHANNEL, DecisionKind.TEMPLATE, DecisionKind.LOCALE, DecisionKind.PREFERENCE]
    assert [each.kind for each in found] == kinds
    assert found[2].sentence == "The locale is pt: the recipient named pt-BR; tried in order were pt-BR, pt."
    assert {each.attempt for each in found} == {None}


@pytest.mark.parametrize("outcome", [Outcome.ACCEPTED, Outcome.TRANSIENT, Outcome.PERMANENT, Outcome.UNKNOWN])
async def test_what_was_decided_at_delivery_comes_with_the_report_whatever_came_of_it(
    store: Store, outcome: Outcome
) -> None:
    id = await accepted(store)
    await delivered(store, id, outcome)
    later = [each for each in await decisions(store, id) if each.attempt == 1]
    (chosen,) = [each for each in later if each.kind is DecisionKind.PROVIDER]
    assert chosen.sentence.startswith("sendgrid was passed over, because its breaker was open until ")
    assert chosen.sentence.endswith("; smtp was called, the next in order.")
    assert DecisionKind.PREFERENCE in {each.kind for each in later}
    assert (DecisionKind.RETRY in {each.kind for each in later}) is (outcome is not Outcome.ACCEPTED)


async def test_the_waits_are_those_of_the_log(store: Store) -> None:
    id = await accepted(store)
    await delivered(store, id, Outcome.TRANSIENT)
    story = await told(store, id)
    waits = waits_of(story, story.timeline[-1].occurred_at)
    assert [wait.status for wait in waits] == [Status.ACCEPTED, Status.SENDING, Status.RETRYING]
    assert waits[-1].what_for.endswith("for the retry after 421 from smtp")


async def test_an_erasure_finds_nothing_to_erase_in_them(store: Store) -> None:
    id = await accepted(store)
    await delivered(store, id, Outcome.PERMANENT)
    before = await decisions(store, id)
    kept = msgspec.json.encode([await store.log.read(0, 100, ALL), await told(store, id), before]).decode()
    assert [point for point in PERSONAL if point in kept] == []
    eraser = Eraser(store.database, store.status, store.suppressions, Users(), store.announced.extend, poll=3600)
    assert await eraser.erase("usr_ada")
    assert await decisions(store, id) == before
