"""Addresses and tokens: what is taken, what is refused; and whether somebody may be contacted, and why not."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.notification import Channel, Priority
from domain.preferences import ChannelPreference, Preferences, QuietHours, Rule
from domain.recipient import (
    MAX_ADDRESS,
    MAX_LOCAL_PART,
    Decision,
    Device,
    Purpose,
    Recipient,
    Why,
    email_problem,
    may_contact,
    token_problem,
)

ADDRESS = "ada@example.com"
WITH_EMAIL = Recipient(email=ADDRESS)
WITH_DEVICES = Recipient(devices=(Device(id="dev_1", token="token-1"), Device(id="dev_2", token="token-2")))
MIDNIGHT = datetime(2025, 1, 11, 0, 0, tzinfo=UTC)
NIGHT = QuietHours(start="22:00", end="07:00")


@pytest.mark.parametrize(
    "address",
    [
        "ada@example.com",
        "ada.lovelace+news@mail.example.co.uk",
        "o'brien!#$%&*/=?^_`{|}~-@example.com",
        "a@b",
        "ada@localhost",
        "ada@xn--bcher-kva.example",
        "jürgen@bücher.example",
        "用户@例子.广告",
        "a" * MAX_LOCAL_PART + "@example.com",
        "ada@" + ".".join(["a" * 63] * 3) + ".example",
    ],
)
def test_an_address_of_one_mailbox_is_taken(address: str) -> None:
    assert email_problem(address) is None


@pytest.mark.parametrize(
    "address",
    [
        "",
        "ada",
        "@example.com",
        "ada@",
        "ada lovelace@example.com",
        "Ada <ada@example.com>",
        "ada@example.com, eve@example.com",
        "ada@example.com\r\nBcc: eve@example.com",
        "ada@example.com\n",
        "ada\0@example.com",
        "ada@exam\0ple.com",
        '"ada lovelace"@example.com',
        "ada(comment)@example.com",
        "ada@eve@example.com",
        ".ada@example.com",
        "ada.@example.com",
        "ada..lovelace@example.com",
        "ada@.example.com",
        "ada@example.com.",
        "ada@example..com",
        "ada@-example.com",
        "ada@example-.com",
        "ada@exa_mple.com",
        "ada@[127.0.0.1]",
        "ada@127.0.0.1",
        "ada@example.123",
        "ada@" + "a" * 64 + ".com",
        "a" * (MAX_LOCAL_PART + 1) + "@example.com",
        "a@" + ".".join(["b" * 62] * 5),
        "ada\ud800@example.com",
        "ada@exam\udfffple.com",
        "ada\x85@example.com",
        "ada\u2028@example.com",
        "ada\u00a0@example.com",
        "ada\u202e@example.com",
    ],
)
def test_anything_else_is_refused_with_a_reason(address: str) -> None:
    assert email_problem(address)


@given(st.text(max_size=MAX_ADDRESS + 10))
def test_what_is_taken_is_safe_in_a_header_and_in_a_database(address: str) -> None:
    for candidate in (address, f"{address}@example.com", f"ada@{address}"):
        if email_problem(candidate) is None:
            assert candidate.isprintable()
            assert not set(candidate) & set(' "(),:;<>[\\]')
            assert candidate.count("@") == 1
            assert len(candidate.encode()) > 2


@pytest.mark.parametrize("token", ["a" * 8, "a" * 4096, "fcm:APA91b-_./+=%~", "sandbox-unregistered"])
def test_a_device_token_is_taken(token: str) -> None:
    assert token_problem(token) is None


@pytest.mark.parametrize(
    "token", ["", "short", "a" * 4097, "with space", "line\nbreak-token", "tokén-token", "nul\0nul\0nul"]
)
def test_another_device_token_is_refused(token: str) -> None:
    assert token_problem(token)


# ------------------------------------------------------------------------------------------------- may_contact


def decide(
    recipient: Recipient, channel: Channel = Channel.EMAIL, suppressed: dict[str, str] | None = None, **purpose: Any
) -> Decision:
    """Whether they may be contacted at midnight (UTC) about news, unless said otherwise."""
    return may_contact(recipient, channel, Purpose(**{"category": "news", **purpose}), MIDNIGHT, suppressed or {})


def choosing(*preferences: tuple[Channel, str | None, bool], quiet: QuietHours | None = None) -> Recipient:
    """Somebody in Berlin with an address, who chose this."""
    channels = tuple(ChannelPreference(channel=channel, category=name, enabled=on) for channel, name, on in preferences)
    return Recipient(
        email=ADDRESS, time_zone="Europe/Berlin", preferences=Preferences(channels=channels, quiet_hours=quiet)
    )


def test_who_chose_nothing_and_has_a_contact_point_is_contacted() -> None:
    assert decide(WITH_EMAIL) == Decision(rule=Rule.DEFAULT)
    assert decide(WITH_DEVICES, Channel.PUSH) == Decision(rule=Rule.DEFAULT)


@pytest.mark.parametrize(
    ("recipient", "channel", "reason"),
    [
        (WITH_DEVICES, Channel.EMAIL, "The recipient has no email address."),
        (WITH_EMAIL, Channel.PUSH, "The recipient has no device that push can reach."),
        (Recipient(), Channel.PUSH, "The recipient has no device that push can reach."),
    ],
)
def test_who_has_no_contact_point_is_not_contacted(recipient: Recipient, channel: Channel, reason: str) -> None:
    assert decide(recipient, channel) == Decision(code=Why.NO_CONTACT_POINT, reason=reason)


def test_a_suppressed_address_is_not_contacted_and_the_reason_says_why_it_is() -> None:
    decision = decide(WITH_EMAIL, suppressed={ADDRESS: "hard bounce"})
    assert decision.code is Why.SUPPRESSED
    assert decision.reason == "Every email address of the recipient is suppressed: hard bounce."
    assert decide(WITH_EMAIL, suppressed={"other@example.com": "complaint"}).allowed


def test_one_device_that_is_not_suppressed_is_enough() -> None:
    assert decide(WITH_DEVICES, Channel.PUSH, {"token-1": "unregistered"}).allowed
    assert decide(WITH_DEVICES, Channel.PUSH, {"token-1": "a", "token-2": "b"}).code is Why.SUPPRESSED


def test_who_opted_out_is_not_contacted() -> None:
    whole = decide(choosing((Channel.EMAIL, None, False)))
    assert (whole.code, whole.reason) == (Why.OPTED_OUT, "The recipient opted out of email.")
    one = decide(choosing((Channel.EMAIL, "news", False)))
    assert (one.code, one.reason) == (Why.OPTED_OUT, "The recipient opted out of email for 'news'.")
    assert decide(choosing((Channel.EMAIL, "offers", False))).allowed
    assert decide(choosing((Channel.PUSH, None, False))).allowed


def test_what_is_said_about_the_category_wins() -> None:
    assert decide(choosing((Channel.EMAIL, None, False), (Channel.EMAIL, "news", True))).allowed
    assert not decide(choosing((Channel.EMAIL, None, True), (Channel.EMAIL, "news", False))).allowed


def test_in_quiet_hours_it_is_held_until_they_end() -> None:
    decision = decide(choosing(quiet=NIGHT))
    assert (decision.code, decision.until) == (Why.QUIET_HOURS, datetime(2025, 1, 11, 6, 0, tzinfo=UTC))
    assert decision.reason == "The recipient's quiet hours last until 07:00 (Europe/Berlin)."
    assert decision.held
    assert not decision.allowed
    assert not decision.refused


def test_what_is_critical_passes_quiet_hours_and_nothing_else() -> None:
    assert decide(choosing(quiet=NIGHT), priority=Priority.CRITICAL).allowed
    assert decide(choosing(quiet=NIGHT), priority=Priority.BULK).held
    assert decide(choosing((Channel.EMAIL, None, False)), priority=Priority.CRITICAL).code is Why.OPTED_OUT
    assert decide(WITH_EMAIL, suppressed={ADDRESS: "complaint"}, priority=Priority.CRITICAL).code is Why.SUPPRESSED
    assert decide(Recipient(), priority=Priority.CRITICAL).code is Why.NO_CONTACT_POINT
