"""Whether somebody may be contacted: what holds whatever they chose."""

from datetime import UTC, datetime

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from domain.notification import Channel, Priority
from domain.preferences import ChannelPreference, Preferences, QuietHours
from domain.recipient import Device, Purpose, Recipient, Why, may_contact

CATEGORIES = ("news", "offers", "security")
TOKENS = ("token-1", "token-2")
ADDRESS = "ada@example.com"

channels = st.sampled_from(list(Channel))
purposes = st.builds(Purpose, category=st.sampled_from(CATEGORIES), priority=st.sampled_from(list(Priority)))
moments = st.datetimes(datetime(2024, 1, 1), datetime(2028, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
chosen = st.dictionaries(
    st.tuples(channels, st.sampled_from([None, *CATEGORIES])), st.booleans(), max_size=8
)  # no channel and category twice
suppressions = st.dictionaries(st.sampled_from([ADDRESS, *TOKENS]), st.sampled_from(["hard bounce", "complaint"]))
times = st.times().map(lambda moment: f"{moment:%H:%M}")
quiet_hours = st.builds(QuietHours, start=times, end=times).filter(lambda quiet: quiet.start != quiet.end)
zones = st.sampled_from(["UTC", "Europe/Berlin", "America/Sao_Paulo", "Australia/Lord_Howe"]) | st.text(max_size=40)
Chosen = dict[tuple[Channel, str | None], bool]


def preferences_of(choices: Chosen, quiet: QuietHours | None = None) -> Preferences:
    """In the order of the dictionary."""
    listed = (
        ChannelPreference(channel=channel, category=category, enabled=enabled)
        for (channel, category), enabled in choices.items()
    )
    return Preferences(channels=tuple(listed), quiet_hours=quiet)


recipients = st.builds(
    Recipient,
    email=st.sampled_from([None, ADDRESS]),
    devices=st.lists(st.sampled_from(TOKENS), unique=True).map(
        lambda tokens: tuple(Device(id=None, token=token) for token in tokens)
    ),
    time_zone=zones,
    preferences=st.builds(preferences_of, chosen, st.none() | quiet_hours),
)


@given(chosen, channels, st.sampled_from(CATEGORIES))
def test_the_more_specific_choice_decides_and_what_nothing_was_said_about_is_wanted(
    choices: Chosen, channel: Channel, category: str
) -> None:
    wanted = choices.get((channel, category), choices.get((channel, None), True))
    assert (preferences_of(choices).refusal(channel, category) is None) == wanted


@given(chosen, channels, st.sampled_from(CATEGORIES), st.randoms(use_true_random=False))
def test_the_order_of_choices_does_not_matter(choices: Chosen, channel: Channel, category: str, random: object) -> None:
    shuffled = list(choices.items())
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert preferences_of(dict(shuffled)).refusal(channel, category) == preferences_of(choices).refusal(
        channel, category
    )


@given(recipients, channels, purposes, moments, suppressions)
def test_every_decision_explains_itself(
    recipient: Recipient, channel: Channel, purpose: Purpose, at: datetime, suppressed: dict[str, str]
) -> None:
    decision = may_contact(recipient, channel, purpose, at, suppressed)
    assert decision.allowed == (decision.code is None) == (decision.reason is None)
    assert decision.held == (decision.code is Why.QUIET_HOURS)
    assert decision.refused == (not decision.allowed and not decision.held)
    assert decision.until is None or decision.until > at
    assert decision.reason is None or decision.reason.endswith(".")


@given(recipients, channels, purposes, moments, suppressions)
def test_what_refuses_is_found_in_this_order(
    recipient: Recipient, channel: Channel, purpose: Purpose, at: datetime, suppressed: dict[str, str]
) -> None:
    code = may_contact(recipient, channel, purpose, at, suppressed).code
    points = recipient.contact_points(channel)
    if not points:
        assert code is Why.NO_CONTACT_POINT
    elif set(points) <= set(suppressed):
        assert code is Why.SUPPRESSED
    elif recipient.preferences.refusal(channel, purpose.category) is not None:
        assert code is Why.OPTED_OUT
    else:
        assert code in {None, Why.QUIET_HOURS}


@given(recipients, channels, purposes, moments, suppressions)
def test_critical_passes_quiet_hours_and_nothing_else(
    recipient: Recipient, channel: Channel, purpose: Purpose, at: datetime, suppressed: dict[str, str]
) -> None:
    awake = msgspec.structs.replace(
        recipient, preferences=msgspec.structs.replace(recipient.preferences, quiet_hours=None)
    )
    critical = msgspec.structs.replace(purpose, priority=Priority.CRITICAL)
    expected = may_contact(awake, channel, purpose, at, suppressed)
    decision = may_contact(recipient, channel, critical, at, suppressed)
    assert msgspec.structs.replace(decision, quiet=None) == expected
    assert not decision.held


@given(recipients, channels, purposes, moments, suppressions)
def test_what_is_held_is_allowed_when_the_time_has_come(
    recipient: Recipient, channel: Channel, purpose: Purpose, at: datetime, suppressed: dict[str, str]
) -> None:
    decision = may_contact(recipient, channel, purpose, at, suppressed)
    if decision.until is not None:
        assert may_contact(recipient, channel, purpose, decision.until, suppressed).allowed


@given(recipients, channels, purposes, moments, suppressions, st.sampled_from([ADDRESS, *TOKENS]))
def test_one_more_suppression_never_allows_more(
    recipient: Recipient, channel: Channel, purpose: Purpose, at: datetime, suppressed: dict[str, str], point: str
) -> None:
    before = may_contact(recipient, channel, purpose, at, suppressed)
    after = may_contact(recipient, channel, purpose, at, {**suppressed, point: "complaint"})
    assert before.refused <= after.refused
