"""What workers and the dispatcher say of a notification, and which trace a message belongs to."""

from typing import Any

import pytest

from domain.deliver import HandBack
from domain.events import Attempt, StatusChanged
from domain.life import Event, Step
from domain.notification import Channel, Outcome, Status
from domain.ports import Settlement
from tests.unit.test_deliver import CLAIMED_AT, attempt, claim
from tests.unit.test_dispatcher import FakeBroker, FakeOutbox, due
from tests.unit.test_tracing import CALLER, TRACE, Traced
from workers.dispatcher import Dispatcher
from workers.telling import attempted, published

OTHER = f"00-{'5' * 32}-{'6' * 16}-01"


def settled(*attempts: Attempt, status: Status = Status.SENT, **more: Any) -> Settlement:
    """What an attempt came to, for the claim of these tests."""
    ending = StatusChanged(
        notification_id="ntf_1", status=status, occurred_at=CLAIMED_AT, attempt=4, attempts=list(attempts), **more
    )
    return Settlement(id="ntf_1", token="clm_1", changes=(ending,))


def called(provider: str, outcome: Outcome, **more: Any) -> Attempt:
    return Attempt(number=4, provider=provider, outcome=outcome, started_at=CLAIMED_AT, duration_ms=12, **more)


class TestAttempts:
    def test_a_line_for_each_call_of_a_provider(self) -> None:
        calls = [called("smtp", Outcome.TRANSIENT, code="421"), called("sendgrid", Outcome.ACCEPTED)]
        steps = list(attempted(claim(), settled(*calls)))
        assert [(step.provider, step.outcome, step.code) for step in steps] == [
            ("smtp", Outcome.TRANSIENT, "421"),
            ("sendgrid", Outcome.ACCEPTED, None),
        ]
        assert {step.duration_ms for step in steps} == {12}
        assert {(step.event, step.correlation_id, step.notification_id, step.attempt) for step in steps} == {
            (Event.ATTEMPTED, "c", "ntf_1", 4)
        }

    async def test_a_line_that_says_why_nobody_was_called(self) -> None:
        held = claim(deliver_by=CLAIMED_AT)
        result, calls = await attempt(held)
        (step,) = attempted(held, result)
        assert calls == []
        assert (step.event, step.status) == (Event.NOT_TRIED, Status.EXPIRED)
        assert step.reason

    def test_a_line_that_says_why_it_was_handed_back(self) -> None:
        (step,) = attempted(claim(), HandBack(claim(), 1.0, "no provider is available"))
        assert (step.event, step.reason, step.attempt) == (Event.HANDED_BACK, "no provider is available", 4)


class TestPublishing:
    def test_the_attempt_is_the_one_that_it_is_published_for(self) -> None:
        (step,) = published(Channel.EMAIL, [due("ntf_1")])
        assert step == Step(
            event=Event.PUBLISHED,
            correlation_id="cor_1",
            notification_id="ntf_1",
            channel=Channel.EMAIL,
            attempt=3,
        )

    def test_a_stored_outcome_is_told_as_one(self) -> None:
        (step,) = published(Channel.EMAIL, [due("ntf_1", settled=settled().changes)])
        assert (step.event, step.attempt) == (Event.REPORTED_AGAIN, 2)


@pytest.fixture
def traced() -> Traced:
    return Traced()


class TestMessages:
    async def test_a_message_of_one_trace_is_a_span_of_it_and_carries_it_on(self, traced: Traced) -> None:
        rows = [due("a", traceparent=CALLER), due("b", traceparent=CALLER)]
        (message,) = await self.sent(traced, *rows)
        span = traced.spans["send email"]
        assert span.context is not None
        assert message == {"traceparent": f"00-{TRACE}-{span.context.span_id:016x}-01"}
        assert span.links == ()

    async def test_a_message_of_several_traces_is_one_of_its_own_linked_to_each(self, traced: Traced) -> None:
        rows = [due("a", traceparent=CALLER), due("b", traceparent=OTHER), due("c")]
        (message,) = await self.sent(traced, *rows)
        span = traced.spans["send email"]
        assert span.parent is None
        assert {f"{link.context.trace_id:032x}" for link in span.links} == {TRACE, "5" * 32}
        assert message["traceparent"].split("-")[1] not in {TRACE, "5" * 32}

    async def test_without_tracing_the_callers_trace_travels_on_where_it_is_one(self) -> None:
        assert await self.sent(None, due("a", traceparent=CALLER)) == [{"traceparent": CALLER}]
        assert await self.sent(None, due("a", traceparent=CALLER), due("b", traceparent=OTHER)) == [{}]

    @staticmethod
    async def sent(traced: Traced | None, *rows: Any) -> list[dict[str, str]]:
        """The headers of the delivery messages about these rows."""
        broker = FakeBroker()
        more = {} if traced is None else {"tracer": traced.tracer}
        dispatcher = Dispatcher(FakeOutbox(*rows), broker, **more)  # type: ignore[arg-type]  # one is all there is
        await dispatcher._dispatch(Channel.EMAIL)
        return [one.message.headers for one in broker.published if one.message.type == "delivery.requested"]
