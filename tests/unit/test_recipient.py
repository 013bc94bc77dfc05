"""Addresses and tokens: what is taken, what is refused, and whether a channel reaches somebody."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.notification import Channel
from domain.recipient import (
    MAX_ADDRESS,
    MAX_LOCAL_PART,
    Device,
    Recipient,
    email_problem,
    may_contact,
    reachable,
    token_problem,
)

WITH_EMAIL = Recipient(email="ada@example.com")
WITH_DEVICE = Recipient(devices=(Device(id="dev_1", token="token-123"),))


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


@pytest.mark.parametrize(
    ("recipient", "channel", "word"),
    [
        (WITH_DEVICE, Channel.EMAIL, "email"),
        (WITH_EMAIL, Channel.PUSH, "device"),
        (Recipient(), Channel.PUSH, "device"),
    ],
)
def test_who_has_no_contact_point_is_not_contacted_and_the_reason_says_so(
    recipient: Recipient, channel: Channel, word: str
) -> None:
    decision = may_contact(recipient, channel)
    assert not decision.allowed
    assert word in (decision.reason or "")


def test_who_has_one_is_contacted() -> None:
    assert may_contact(WITH_EMAIL, Channel.EMAIL).allowed
    assert may_contact(WITH_DEVICE, Channel.PUSH).allowed


def test_reachable_keeps_the_given_order() -> None:
    both = Recipient(email="ada@example.com", devices=WITH_DEVICE.devices)
    assert reachable(both, [Channel.PUSH, Channel.EMAIL]) == [Channel.PUSH, Channel.EMAIL]
    assert reachable(WITH_EMAIL, [Channel.PUSH, Channel.EMAIL]) == [Channel.EMAIL]
    assert reachable(Recipient(), Channel) == []
