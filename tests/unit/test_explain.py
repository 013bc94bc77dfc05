"""Why: what is kept of a decision becomes one sentence for people, and the same for programs."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from domain.explain.decisions import decisions_of
from domain.explain.told import DecisionKind, Explanation, Told
from domain.notification import Channel, Outcome, Status
from domain.preferences import Rule
from domain.reasons import Acceptance, Named, PassedOver, Route, Step
from domain.recipient import Quiet, Why
from tests.unit.explained import ACCEPTED, NOON, accepted, at, call, ended, entry, told

Kind = DecisionKind
NIGHT = Quiet(end="07:00", zone="Europe/Berlin", until=at(3600))
PINNED = {"key": "welcome", "version": 3, "locale": "pt", "locale_fallback": ["pt-BR", "pt"]}


def of_kind(story: Told, kind: DecisionKind) -> list[Explanation]:
    return [each for each in decisions_of(story) if each.kind is kind]


def sentence(story: Told, kind: DecisionKind) -> str:
    """The one decision of this kind."""
    (found,) = of_kind(story, kind)
    return found.sentence


def changed(**changes: Any) -> Acceptance:
    return msgspec.structs.replace(ACCEPTED, **changes)


class TestAcceptance:
    def test_a_channel_that_was_asked_for(self) -> None:
        assert sentence(told(accepted()), Kind.CHANNEL) == "The caller asked for EMAIL."

    def test_a_channel_that_was_chosen_and_those_that_were_not(self) -> None:
        why = changed(channel=Named.NOBODY, left_out={Channel.PUSH: Why.OPTED_OUT})
        (decision,) = of_kind(told(accepted(why)), Kind.CHANNEL)
        assert decision.sentence == (
            "The caller named no channel, and there is something to say on EMAIL."
            " Left out: PUSH, because the recipient opted out."
        )
        assert decision.detail == {"channel": "EMAIL", "named_by": "nobody", "left_out": {"PUSH": "opted_out"}}
        assert (decision.at, decision.attempt) == (NOON, None)

    @pytest.mark.parametrize(
        ("named", "ending"), [(Named.CALLER, "the caller asked for it."), (Named.NOBODY, "it was the published one.")]
    )
    def test_the_version_and_who_named_it(self, named: Named, ending: str) -> None:
        story = told(accepted(changed(version=named), detail={"template": PINNED}))
        assert sentence(story, Kind.TEMPLATE) == f"Version 3 of the template 'welcome': {ending}"

    @pytest.mark.parametrize(
        ("named", "tried", "expected"),
        [
            (Named.RECIPIENT, ["pt"], "The locale is pt, which the recipient named."),
            (
                Named.CALLER,
                ["pt-BR", "pt"],
                "The locale is pt: the caller named pt-BR; tried in order were pt-BR, pt.",
            ),
            (
                Named.NOBODY,
                ["pt"],
                "The locale is pt: neither the caller nor the recipient named one, and it is the template's default.",
            ),
            (None, ["pt-BR", "pt"], "The locale is pt; tried in order were pt-BR, pt."),
        ],
    )
    def test_the_locale_and_how_it_was_found(self, named: Named | None, tried: list[str], expected: str) -> None:
        detail = {"template": PINNED | {"locale_fallback": tried}}
        story = told(accepted(changed(locale=named, version=Named.NOBODY), detail=detail))
        assert sentence(story, Kind.LOCALE) == expected

    @pytest.mark.parametrize(
        ("rule", "expected"),
        [
            (Rule.CATEGORY, "The recipient wants email for 'news': they chose so for this category."),
            (Rule.CHANNEL, "The recipient wants email: they chose so for the channel, and nothing for 'news'."),
            (Rule.DEFAULT, "The recipient chose nothing about email or 'news', so it is wanted."),
        ],
    )
    def test_the_preference_that_allowed_it(self, rule: Rule, expected: str) -> None:
        assert sentence(told(accepted(changed(rule=rule))), Kind.PREFERENCE) == expected

    @pytest.mark.parametrize(
        ("code", "kind", "rule"),
        [
            ("no_contact_point", Kind.CHANNEL, None),
            ("suppressed", Kind.SUPPRESSION, None),
            ("opted_out", Kind.PREFERENCE, Rule.CATEGORY),
        ],
    )
    def test_a_refusal_is_told_with_the_sentence_of_then(self, code: str, kind: Kind, rule: Rule | None) -> None:
        row = accepted(changed(rule=rule), Status.SKIPPED, detail={"code": code}, reason="Because.")
        last = of_kind(told(row), kind)[-1]
        assert (last.sentence, (last.detail or {})["code"]) == ("Because.", code)
        assert [each.kind for each in decisions_of(told(row))].count(Kind.PREFERENCE) == (kind is Kind.PREFERENCE)

    def test_quiet_hours_that_hold_it_say_until_when_there_and_here(self) -> None:
        row = accepted(changed(quiet=NIGHT), Status.SCHEDULED, detail={"code": "quiet_hours"}, reason="Quiet.")
        (decision,) = of_kind(told(row), Kind.QUIET_HOURS)
        assert decision.sentence == "Quiet. It is held until 2030-01-31 13:00:00 UTC."
        kept = {"code": "quiet_hours", "passed": False, "until": "2030-01-31T13:00:00Z"}
        assert decision.detail == kept | {"local": "07:00", "time_zone": "Europe/Berlin"}

    def test_quiet_hours_that_critical_passed(self) -> None:
        story = told(accepted(changed(quiet=NIGHT)))
        expected = "The recipient's quiet hours last until 07:00 (Europe/Berlin); CRITICAL passes them."
        assert sentence(story, Kind.QUIET_HOURS) == expected

    def test_the_callers_times(self) -> None:
        story = told(accepted(status=Status.SCHEDULED), send_at=at(60), deliver_by=at(120))
        assert [each.sentence for each in of_kind(story, Kind.SCHEDULE)] == [
            "The caller wants it sent not before 2030-01-31 12:01:00 UTC.",
            "The caller wants it sent before 2030-01-31 12:02:00 UTC or not at all.",
        ]

    def test_what_was_only_remembered_and_what_is_a_test(self) -> None:
        detail = {"template": PINNED, "stale": ["user", "template"], "test": True}
        story = told(accepted(detail=detail))
        assert "as they were last heard of" in sentence(story, Kind.RECIPIENT)
        assert "what was last heard of" in sentence(story, Kind.TEMPLATE)
        assert "sandbox" in sentence(story, Kind.PROVIDER)

    def test_what_was_accepted_before_all_this_was_kept_says_what_is_known(self) -> None:
        story = told(accepted(None, detail={"template": PINNED}))
        assert [each.kind for each in decisions_of(story)] == [Kind.TEMPLATE, Kind.LOCALE]

    def test_without_a_log_there_is_nothing_to_say(self) -> None:
        assert decisions_of(told()) == []

    def test_a_log_whose_beginning_is_gone_says_what_is_left(self) -> None:
        whole = told(accepted(), ended(Status.SENT, 1.0), calls=(call(),))
        rest = msgspec.structs.replace(whole, timeline=whole.timeline[1:])
        assert decisions_of(rest) == [each for each in decisions_of(whole) if each.attempt == 1]


def routed(*steps: Step, devices: int = 0) -> dict[str, Any]:
    return {"routes": (Route(steps=steps, devices=devices),)}


class TestDelivery:
    def test_it_was_asked_again_when_the_attempt_began(self) -> None:
        story = told(accepted(), entry(Status.SENDING, 1.0, attempt=1), ended(Status.SENT, 2.0))
        again = of_kind(story, Kind.PREFERENCE)[-1]
        assert (again.at, again.attempt) == (at(1.99), 1)

    @pytest.mark.parametrize(
        ("steps", "expected"),
        [
            ((Step(provider="a"),), "a was called, the first in order."),
            (
                (Step(provider="a", probe=True),),
                "a was called, the first in order, as the probe of its half-open breaker.",
            ),
            (
                (Step(provider="a", passed_over=PassedOver.BREAKER_OPEN, until=at(30)), Step(provider="b")),
                "a was passed over, because its breaker was open until 2030-01-31 12:00:30 UTC;"
                " b was called, the next in order.",
            ),
            (
                (Step(provider="a"), Step(provider="b")),
                "a was called, the first in order; b was called, because a refused it for now (503).",
            ),
            (
                (Step(provider="a"), Step(provider="b", passed_over=PassedOver.NO_TIME)),
                "a was called, the first in order; b was passed over, because no time was left for it.",
            ),
        ],
    )
    def test_who_was_called_and_who_was_passed_over(self, steps: tuple[Step, ...], expected: str) -> None:
        calls = (call(outcome=Outcome.TRANSIENT, provider="a", code="503"),)
        story = told(accepted(), ended(Status.SENT, 1.0, decided=routed(*steps)), calls=calls)
        assert sentence(story, Kind.PROVIDER) == expected

    @pytest.mark.parametrize("passed_over", list(PassedOver))
    def test_every_reason_to_pass_one_over_has_words(self, passed_over: PassedOver) -> None:
        decided = routed(Step(provider="fcm", passed_over=passed_over), devices=2)
        (decision,) = of_kind(told(accepted(), ended(Status.RETRYING, 1.0, decided=decided)), Kind.PROVIDER)
        assert decision.sentence.startswith("For 2 devices: fcm was passed over, because ")
        assert decision.detail == {"providers": [{"provider": "fcm", "passed_over": passed_over.value}], "devices": 2}

    def test_devices_that_were_left_out(self) -> None:
        story = told(accepted(), ended(Status.SENT, 1.0, decided={"suppressed": 1, "refused": 2}))
        assert sentence(story, Kind.SUPPRESSION) == "Left out: 1 device, suppressed."
        assert sentence(story, Kind.RETRY) == "Left out: 2 devices, refused for good by an earlier attempt."

    def test_who_was_erased_since(self) -> None:
        row = entry(Status.SKIPPED, 1.0, attempt=1, reason="The user was erased.", detail={"code": "erased"})
        assert sentence(told(accepted(), row), Kind.RECIPIENT) == "The user was erased."

    def test_a_retry_says_after_what_and_when(self) -> None:
        calls = (call(outcome=Outcome.TRANSIENT, code="421", retry_at=at(5)),)
        story = told(accepted(), ended(Status.RETRYING, 1.0), calls=calls)
        (decision,) = of_kind(story, Kind.RETRY)
        assert decision.sentence == "smtp refused it for now (421); it is tried again at 2030-01-31 12:00:05 UTC."
        assert decision.detail == {"retry_at": "2030-01-31T12:00:05Z", "uses_attempt": True}

    def test_a_rate_limit_says_that_no_attempt_was_used(self) -> None:
        calls = (call(outcome=Outcome.TRANSIENT, code="429", retry_at=at(60)),)
        story = told(accepted(), ended(Status.RETRYING, 1.0, detail={"put_off": "rate_limited"}), calls=calls)
        assert sentence(story, Kind.RETRY).endswith("This is its rate limit, so no attempt was used.")

    @pytest.mark.parametrize(
        ("detail", "expected"),
        [
            ({"given_up": "permanent", "code": "5.1.1"}, "It is not tried again: refused for good."),
            ({"given_up": "attempts_used_up"}, "It is not tried again: all attempts are used up."),
            ({"code": "something_new"}, "It is not tried again: Because."),
        ],
    )
    def test_giving_up_says_why(self, detail: dict[str, str], expected: str) -> None:
        story = told(accepted(), ended(Status.FAILED, 1.0, detail=detail, reason="Because."))
        assert sentence(story, Kind.RETRY) == expected

    def test_a_resend_after_an_unknown_outcome_is_said_once(self) -> None:
        again = {"possible_duplicate": True}
        sending = entry(Status.SENDING, 3.0, attempt=2, detail=again)
        story = told(accepted(), sending, ended(Status.SENT, 4.0, attempt=2, detail=again))
        assert sentence(story, Kind.RETRY).endswith("it was sent again, and may arrive twice.")

    def test_a_worker_that_fell_silent(self) -> None:
        calls = (call(outcome=Outcome.UNKNOWN, provider="unknown", code="lease_ended", started_at=at(9)),)
        (decision,) = of_kind(told(accepted(), entry(Status.SENDING, 1.0, attempt=1), calls=calls), Kind.RETRY)
        assert (decision.at, decision.attempt) == (at(9), 1)

    def test_what_expired_and_what_was_replayed(self) -> None:
        replayed = {"dead_letter": "dlt_1", "replayed_by": {"id": "key_1", "name": "Eve"}}
        story = told(accepted(), entry(Status.QUEUED, 1.0, detail=replayed), entry(Status.EXPIRED, 2.0, reason="Late."))
        assert sentence(story, Kind.SCHEDULE) == "Late."
        (decision,) = of_kind(story, Kind.RETRY)
        assert decision.detail == {"dead_letter": "dlt_1"}

    def test_decisions_are_in_order_of_time_whatever_the_attempts(self) -> None:
        calls = (
            call(1, Outcome.TRANSIENT, code="421", retry_at=at(3)),
            call(2, Outcome.UNKNOWN, code="lease_ended", provider="unknown", started_at=at(5)),
        )
        story = told(accepted(), ended(Status.RETRYING, 1.0), ended(Status.SENT, 9.0, attempt=3), calls=calls)
        times = [each.at for each in decisions_of(story)]
        assert times == sorted(times)
        assert times[-1] - times[0] > timedelta(seconds=8)
