"""Which refusals are of the address itself, and what becomes of the word."""

from datetime import UTC, datetime

import pytest

from domain.events import StatusChanged
from domain.notification import Status
from domain.refusals import REFUSED_ADDRESS, RefusedAddress, refused_addresses
from workers.email.refused_address import refuses_address

NOW = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.mark.parametrize("code", ["5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.2.1"])
def test_a_code_that_says_so_is_enough(code: str) -> None:
    assert refuses_address(550, f"{code} go away")
    assert refuses_address(553, f"{code} <(address)>\nand more")


@pytest.mark.parametrize(
    "code",
    [
        "5.1.0",
        "5.1.4",
        "5.1.7",
        "5.1.8",
        "5.1.11",
        "5.2.2",
        "5.2.3",
        "5.3.0",
        "5.3.4",
        "5.4.4",
        "5.5.1",
        "5.6.0",
        "5.7.1",
    ],
)
def test_any_other_code_is_believed_whatever_the_words_are(code: str) -> None:
    assert not refuses_address(550, f"{code} no such user: user unknown")


@pytest.mark.parametrize(
    "words",
    [
        "No such user here",
        "no such local user",
        "Unknown user",
        "User unknown",
        "sorry, no mailbox here by that name: mailbox not found",
        "<(address)>: Recipient address rejected: User unknown in virtual mailbox table",
        "recipient <ada> does not exist",
        "5.0.0 User unknown",
        "Invalid recipient",
    ],
)
def test_without_a_code_550_and_plain_words_are_needed(words: str) -> None:
    assert refuses_address(550, words)
    assert not refuses_address(554, words)


@pytest.mark.parametrize(
    "words",
    [
        "",
        "Requested action not taken: mailbox unavailable",
        "go away",
        "Sender verify failed: no such user",
        "Unknown user; relaying denied",
        "Rejected by policy: user unknown to us",
        "mailbox not found, or its quota is used up",
        "4.1.1 user unknown",
    ],
)
def test_what_may_mean_something_else_is_not_taken_for_it(words: str) -> None:
    assert not refuses_address(550, words)


def failed(**more: object) -> StatusChanged:
    plain = {"status": Status.FAILED, "token": "clm_1", "detail": {REFUSED_ADDRESS: True, "code": "5.1.1"}}
    return StatusChanged(notification_id="ntf_1", occurred_at=NOW, **(plain | more))  # type: ignore[arg-type]


def test_a_failure_that_says_so_speaks_of_the_address() -> None:
    assert refused_addresses([failed()]) == [RefusedAddress(notification_id="ntf_1", token="clm_1", code="5.1.1")]


@pytest.mark.parametrize(
    "more",
    [
        {"status": Status.RETRYING},
        {"token": None},
        {"detail": {"code": "5.1.1"}},
        {"detail": {REFUSED_ADDRESS: "yes", "code": "5.1.1"}},
    ],
)
def test_nothing_else_does(more: dict[str, object]) -> None:
    assert refused_addresses([failed(**more)]) == []


@pytest.mark.parametrize("code", [None, 5, ["5.1.1"]])
def test_a_code_that_is_none_is_left_out(code: object) -> None:
    (one,) = refused_addresses([failed(detail={REFUSED_ADDRESS: True, "code": code})])
    assert one.code is None
