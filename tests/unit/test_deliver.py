"""One delivery attempt: what is decided before the call, and what follows from the answer."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from domain.deliver import LEASE_MARGIN, PAUSE, DatabaseClock, HandBack, deliver
from domain.events import Attempt, StatusChanged
from domain.notification import Channel, Outcome, Priority, Status
from domain.outgoing import Delivered
from domain.ports import Claim, Settlement
from domain.preferences import ChannelPreference, Preferences, QuietHours
from domain.reasons import KEY
from domain.recipient import Device, Recipient, Standing
from domain.refusals import REFUSED_ADDRESS
from domain.retry import AfterUnknown, RetryPolicy
from domain.template import Content

CLAIMED_AT = datetime(1999, 12, 31, 23, 59, tzinfo=UTC)
"""The database's clock; the machine's own is decades ahead of it."""
DEADLINE = 10.0
POLICY = RetryPolicy(schedule=(2.0, 10.0), jitter=0.0)
HOLD = RetryPolicy(schedule=(2.0, 10.0), jitter=0.0, after_unknown=AfterUnknown.HOLD)


class Monotonic:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.seconds = 12345.0

    def __call__(self) -> float:
        return self.seconds


class FakeSender:
    """Answers as told, after `takes` seconds."""

    def __init__(self, monotonic: Monotonic, answer: Delivered, takes: float = 0.0) -> None:
        self.deadlines: list[float] = []
        self.recipients: list[Recipient] = []
        self._monotonic = monotonic
        self._answer = answer
        self._takes = takes

    async def send(self, claim: Claim, deadline: float) -> Delivered:
        self.deadlines.append(deadline)
        self.recipients.append(claim.recipient)
        self._monotonic.seconds += self._takes
        return self._answer


class FakeStandings:
    """Says how the recipient stands; as they were accepted, unless told otherwise."""

    def __init__(self, standing: Standing | None) -> None:
        self._standing = standing

    async def of(self, claim: Claim) -> Standing:
        return self._standing or Standing(recipient=claim.recipient, suppressed={})


def claim(**changes: Any) -> Claim:
    given: dict[str, Any] = {
        "attempts_used": 0,
        "lease_until": CLAIMED_AT + timedelta(seconds=60),
        "deliver_by": None,
        "uncertain": False,
        "recipient": Recipient(email="ada@example.com"),
        "channel": Channel.EMAIL,
        "category": "general",
        "priority": Priority.NORMAL,
    }
    return Claim(
        id="ntf_1",
        token="clm_1",
        attempt=4,
        claimed_at=CLAIMED_AT,
        status=Status.QUEUED,
        template=None,
        content=Content(subject="Hello", text="World"),
        variables={},
        push=None,
        request_id="r",
        correlation_id="c",
        **(given | changes),
    )


def answer(outcome: Outcome | None, **more: Any) -> Delivered:
    return Delivered(outcome=outcome, provider="smtp", **more)


async def attempt(
    held: Claim,
    delivered: Delivered = answer(Outcome.ACCEPTED),  # noqa: B008 - frozen
    policy: RetryPolicy = POLICY,
    *,
    waited: float = 0.0,
    takes: float = 0.0,
    standing: Standing | None = None,
) -> tuple[Settlement | HandBack, list[float]]:
    """The result of one attempt that begins `waited` seconds after the claim, and the calls that were made."""
    monotonic = Monotonic()
    clock = DatabaseClock(held.claimed_at, monotonic(), monotonic)
    monotonic.seconds += waited
    sender = FakeSender(monotonic, delivered, takes)
    return await deliver(held, FakeStandings(standing), sender, policy, clock, DEADLINE), sender.deadlines


def changes_of(result: Settlement | HandBack) -> tuple[StatusChanged, ...]:
    """What a settlement reports; every change proves its claim."""
    assert isinstance(result, Settlement)
    assert (result.id, result.token) == ("ntf_1", "clm_1")
    assert {(change.notification_id, change.token, change.attempt) for change in result.changes} == {
        ("ntf_1", "clm_1", 4)
    }
    return result.changes


def particulars(change: StatusChanged) -> dict[str, Any]:
    """The detail, but for how it was decided."""
    return {name: value for name, value in change.detail.items() if name != KEY}


class TestRefusedAddress:
    REFUSED = answer(Outcome.PERMANENT, code="5.1.1", detail={REFUSED_ADDRESS: True})

    async def test_it_is_reported_with_the_failure(self) -> None:
        held = claim(recipient=Recipient(user_id="usr_1", email="ada@example.com"))
        _, failed = changes_of((await attempt(held, self.REFUSED))[0])
        assert failed.status is Status.FAILED
        assert particulars(failed) == {REFUSED_ADDRESS: True, "code": "5.1.1", "given_up": "permanent"}

    async def test_of_an_address_that_the_user_has_changed_since_nothing_is_said(self) -> None:
        held = claim(recipient=Recipient(user_id="usr_1", email="ada@example.com"))
        standing = Standing(recipient=Recipient(user_id="usr_1", email="new@example.com"), suppressed={})
        _, failed = changes_of((await attempt(held, self.REFUSED, standing=standing))[0])
        assert failed.status is Status.FAILED
        assert particulars(failed) == {"code": "5.1.1", "given_up": "permanent"}


class TestWithoutACall:
    async def test_past_deliver_by_it_expires(self) -> None:
        held = claim(deliver_by=CLAIMED_AT + timedelta(seconds=3))
        result, calls = await attempt(held, waited=3.0)
        (change,) = changes_of(result)
        assert (change.status, change.occurred_at, change.uses_attempt) == (Status.EXPIRED, held.deliver_by, False)
        assert change.reason
        assert calls == []

    async def test_just_before_deliver_by_it_is_sent(self) -> None:
        _, calls = await attempt(claim(deliver_by=CLAIMED_AT + timedelta(seconds=3)), waited=2.9)
        assert calls == [DEADLINE]

    async def test_attempts_that_are_used_up_end_it(self) -> None:
        result, calls = await attempt(claim(attempts_used=3))
        (change,) = changes_of(result)
        assert (change.status, change.uses_attempt) == (Status.FAILED, False)
        assert change.detail == {"code": "attempts_used_up"}
        assert calls == []

    async def test_expiry_comes_before_giving_up(self) -> None:
        result, _ = await attempt(claim(attempts_used=3, deliver_by=CLAIMED_AT))
        assert [change.status for change in changes_of(result)] == [Status.EXPIRED]

    async def test_what_may_have_arrived_is_held_where_the_policy_says_so(self) -> None:
        result, calls = await attempt(claim(uncertain=True, attempts_used=1), policy=HOLD)
        (change,) = changes_of(result)
        assert (change.status, change.detail) == (Status.FAILED, {"code": "outcome_unknown"})
        assert calls == []

    async def test_a_replay_lets_go_of_what_was_held(self) -> None:
        result, calls = await attempt(claim(uncertain=True, attempts_used=0), policy=HOLD)
        assert [change.status for change in changes_of(result)] == [Status.SENDING, Status.SENT]
        assert calls == [DEADLINE]

    @pytest.mark.parametrize("missing", [0.1, 30.0, 3600.0])
    async def test_a_lease_shorter_than_the_call_is_handed_back(self, missing: float) -> None:
        held = claim()
        result, calls = await attempt(held, waited=60.0 - DEADLINE - LEASE_MARGIN + missing)
        assert isinstance(result, HandBack)
        assert (result.claim, result.delay) == (held, PAUSE)
        assert calls == []

    async def test_a_lease_that_is_just_long_enough_is_used(self) -> None:
        _, calls = await attempt(claim(), waited=60.0 - DEADLINE - LEASE_MARGIN)
        assert calls == [DEADLINE]

    @pytest.mark.parametrize(("retry_after", "delay"), [(7.5, 7.5), (None, PAUSE)])
    async def test_no_provider_hands_the_claim_back(self, retry_after: float | None, delay: float) -> None:
        held = claim(attempts_used=2)
        result, _ = await attempt(held, answer(None, retry_after=retry_after, reason="The breaker is open."))
        assert result == HandBack(held, delay, "The breaker is open.")


NO_MARKETING = Preferences(channels=(ChannelPreference(channel=Channel.EMAIL, category="marketing", enabled=False),))
NIGHT = Preferences(quiet_hours=QuietHours(start="22:00", end="07:00"))
MORNING = datetime(2000, 1, 1, 7, tzinfo=UTC)


def standing(*, suppressed: dict[str, str] | None = None, stale: bool = False, **recipient: Any) -> Standing:
    """The recipient as they are now."""
    who = Recipient(**({"user_id": "usr_ada", "email": "ada@example.com"} | recipient))
    return Standing(recipient=who, suppressed=suppressed or {}, stale=stale)


class TestTheRecipientNow:
    """Preferences are asked for again right before the call: what was accepted may not be wanted any more."""

    async def test_mail_goes_to_the_address_that_they_have_now(self) -> None:
        monotonic = Monotonic()
        sender = FakeSender(monotonic, answer(Outcome.ACCEPTED))
        clock = DatabaseClock(CLAIMED_AT, monotonic(), monotonic)
        now = FakeStandings(standing(email="new@example.com"))
        await deliver(claim(), now, sender, POLICY, clock, DEADLINE)
        assert [recipient.email for recipient in sender.recipients] == ["new@example.com"]

    async def test_who_opted_out_since_is_skipped_with_a_sentence(self) -> None:
        result, calls = await attempt(claim(category="marketing"), standing=standing(preferences=NO_MARKETING))
        (change,) = changes_of(result)
        assert (change.status, change.uses_attempt) == (Status.SKIPPED, False)
        assert change.reason == "The recipient opted out of email for 'marketing'."
        assert particulars(change) == {"code": "opted_out"}
        assert calls == []

    async def test_quiet_hours_hold_it_until_their_end_and_use_no_attempt(self) -> None:
        result, calls = await attempt(claim(), standing=standing(preferences=NIGHT))
        (change,) = changes_of(result)
        assert (change.status, change.retry_at, change.uses_attempt) == (Status.SCHEDULED, MORNING, False)
        assert change.reason == "The recipient's quiet hours last until 07:00 (UTC)."
        assert calls == []

    async def test_what_expires_in_quiet_hours_is_looked_at_in_time_to_say_so(self) -> None:
        deliver_by = CLAIMED_AT + timedelta(hours=1)
        result, _ = await attempt(claim(deliver_by=deliver_by), standing=standing(preferences=NIGHT))
        assert [change.retry_at for change in changes_of(result)] == [deliver_by]

    async def test_critical_passes_quiet_hours(self) -> None:
        _, calls = await attempt(claim(priority=Priority.CRITICAL), standing=standing(preferences=NIGHT))
        assert calls == [DEADLINE]

    async def test_critical_passes_no_suppression(self) -> None:
        blocked = standing(suppressed={"ada@example.com": "hard bounce"})
        result, calls = await attempt(claim(priority=Priority.CRITICAL), standing=blocked)
        (change,) = changes_of(result)
        assert (change.status, particulars(change)) == (Status.SKIPPED, {"code": "suppressed"})
        assert "hard bounce" in (change.reason or "")
        assert "ada@" not in (change.reason or "")
        assert calls == []

    async def test_a_suppressed_device_is_left_out_and_the_others_are_called(self) -> None:
        devices = tuple(Device(id=f"dev_{name}", token=f"token-{name}") for name in ("one", "two"))
        monotonic = Monotonic()
        sender = FakeSender(monotonic, answer(Outcome.ACCEPTED))
        clock = DatabaseClock(CLAIMED_AT, monotonic(), monotonic)
        now = FakeStandings(standing(devices=devices, suppressed={"token-one": "complaint"}))
        await deliver(claim(channel=Channel.PUSH), now, sender, POLICY, clock, DEADLINE)
        assert [recipient.devices for recipient in sender.recipients] == [devices[1:]]

    async def test_a_device_that_was_refused_for_good_is_not_tried_again(self) -> None:
        devices = tuple(Device(id=f"dev_{name}", token=f"token-{name}") for name in ("one", "two"))
        given = claim(
            channel=Channel.PUSH, recipient=Recipient(devices=devices), refused_devices=frozenset({"dev_one"})
        )
        monotonic = Monotonic()
        sender = FakeSender(monotonic, answer(Outcome.ACCEPTED))
        clock = DatabaseClock(CLAIMED_AT, monotonic(), monotonic)
        await deliver(given, FakeStandings(None), sender, POLICY, clock, DEADLINE)
        assert [recipient.devices for recipient in sender.recipients] == [devices[1:]]

    async def test_an_erased_user_is_skipped(self) -> None:
        result, calls = await attempt(claim(), standing=Standing(recipient=None, suppressed={}))
        (change,) = changes_of(result)
        assert (change.status, change.reason) == (Status.SKIPPED, "The user was erased.")
        assert calls == []

    async def test_what_is_only_remembered_of_them_is_said_so(self) -> None:
        result, _ = await attempt(claim(), standing=standing(stale=True))
        assert particulars(changes_of(result)[-1]) == {"stale": ["user"]}
        result, _ = await attempt(claim(), standing=standing(stale=True, preferences=NIGHT))
        held = {"code": "quiet_hours", "held_until": MORNING.isoformat(), "stale": ["user"]}
        assert particulars(changes_of(result)[-1]) == held


class TestConclusion:
    async def test_accepted_is_sent(self) -> None:
        delivered = answer(Outcome.ACCEPTED, provider_message_id="m1", detail={"tls": True})
        result, _ = await attempt(claim(), delivered, takes=1.5)
        sending, sent = changes_of(result)
        assert (sending.status, sending.occurred_at) == (Status.SENDING, CLAIMED_AT)
        assert (sent.status, sent.occurred_at) == (Status.SENT, CLAIMED_AT + timedelta(seconds=1.5))
        assert (sent.provider, sent.provider_message_id, particulars(sent)) == ("smtp", "m1", {"tls": True})
        assert (sending.uses_attempt, sent.uses_attempt) == (False, True)

    async def test_transient_is_retried_after_the_schedules_wait(self) -> None:
        one = Attempt(number=4, provider="smtp", outcome=Outcome.TRANSIENT, started_at=CLAIMED_AT, duration_ms=5)
        delivered = answer(Outcome.TRANSIENT, code="421", reason="Busy.", attempts=(one,))
        result, _ = await attempt(claim(attempts_used=1), delivered, takes=2.0)
        _, retrying = changes_of(result)
        retry_at = CLAIMED_AT + timedelta(seconds=2 + 10)
        assert (retrying.status, retrying.retry_at, retrying.reason) == (Status.RETRYING, retry_at, "Busy.")
        assert [known.retry_at for known in retrying.attempts] == [retry_at]
        assert (retrying.uses_attempt, retrying.uncertain) == (True, False)
        assert particulars(retrying) == {"code": "421"}

    async def test_a_longer_retry_after_is_honoured(self) -> None:
        result, _ = await attempt(claim(), answer(Outcome.TRANSIENT, retry_after=45.0))
        assert changes_of(result)[1].retry_at == CLAIMED_AT + timedelta(seconds=45)

    async def test_unknown_is_retried_and_says_so(self) -> None:
        result, _ = await attempt(claim(), answer(Outcome.UNKNOWN, reason="No answer."))
        _, retrying = changes_of(result)
        assert (retrying.status, retrying.uncertain, retrying.uses_attempt) == (Status.RETRYING, True, True)

    async def test_unknown_is_held_where_the_policy_says_so(self) -> None:
        result, _ = await attempt(claim(), answer(Outcome.UNKNOWN), HOLD)
        _, failed = changes_of(result)
        assert (failed.status, failed.uncertain) == (Status.FAILED, True)
        assert particulars(failed) == {"code": "outcome_unknown", "given_up": "outcome_unknown"}

    async def test_permanent_fails_at_once_with_the_providers_code(self) -> None:
        result, _ = await attempt(claim(), answer(Outcome.PERMANENT, code="5.1.1", reason="No such mailbox."))
        _, failed = changes_of(result)
        assert (failed.status, failed.reason, failed.uses_attempt) == (Status.FAILED, "No such mailbox.", True)
        assert particulars(failed) == {"code": "5.1.1", "given_up": "permanent"}
        assert failed.retry_at is None

    async def test_what_a_server_says_is_made_storable(self) -> None:
        said, cleaned = "5.1.1\0 no\ud800", "5.1.1\ufffd no\ufffd"
        one = Attempt(
            number=4,
            provider="smtp",
            outcome=Outcome.PERMANENT,
            started_at=CLAIMED_AT,
            duration_ms=5,
            code=said,
            detail=said,
        )
        delivered = answer(Outcome.PERMANENT, code=said, reason=said, provider_message_id=said, attempts=(one,))
        result, _ = await attempt(claim(), delivered)
        _, failed = changes_of(result)
        assert (failed.reason, failed.provider_message_id, failed.detail["code"]) == (cleaned, cleaned, cleaned)
        assert [(known.code, known.detail) for known in failed.attempts] == [(cleaned, cleaned)]

    async def test_the_last_attempt_that_fails_gives_up(self) -> None:
        result, _ = await attempt(claim(attempts_used=2), answer(Outcome.TRANSIENT))
        _, failed = changes_of(result)
        assert failed.status is Status.FAILED
        assert failed.detail["given_up"] == "attempts_used_up"
        assert failed.reason

    async def test_after_an_unknown_outcome_every_report_says_possible_duplicate(self) -> None:
        result, _ = await attempt(claim(uncertain=True, attempts_used=1), answer(Outcome.ACCEPTED))
        assert [change.detail["possible_duplicate"] for change in changes_of(result)] == [True, True]


class TestDatabaseClock:
    def test_it_is_the_claims_time_and_what_the_monotonic_clock_counted(self) -> None:
        monotonic = Monotonic()
        clock = DatabaseClock(CLAIMED_AT, monotonic(), monotonic)
        assert clock.now() == CLAIMED_AT
        monotonic.seconds += 2.5
        assert clock.now() == CLAIMED_AT + timedelta(seconds=2.5)

    def test_time_that_the_claim_took_counts_against_the_lease(self) -> None:
        monotonic = Monotonic()
        asked_at = monotonic()
        monotonic.seconds += 30.0
        assert DatabaseClock(CLAIMED_AT, asked_at, monotonic).now() == CLAIMED_AT + timedelta(seconds=30)
