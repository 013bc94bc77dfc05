"""A return path names its notification to us, and nobody else can make one."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import ConfigurationError
from domain.ids import NOTIFICATION, new_id
from domain.recipient import email_problem
from workers.email.return_path import LAPSE_DAYS, Doubt, ReturnPaths

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ID = "ntf_0199f2c4b7a17cc1a3d2e5f60718293a"
PATHS = ReturnPaths("bounces@example.com", "s" * 32)
PATH = PATHS.make(ID, NOW)


def test_it_says_which_notification_in_an_address_that_every_server_takes() -> None:
    assert PATH.startswith(f"bounces+{ID}-")
    assert email_problem(PATH) is None
    assert PATHS.read(PATH, NOW) == ID


@pytest.mark.parametrize("change", [str.upper, str.title, lambda path: path.replace("example.com", "EXAMPLE.com")])
def test_whoever_changes_its_case_changes_nothing(change: "type[str]") -> None:
    assert PATHS.read(change(PATH), NOW) == ID


def test_it_lapses() -> None:
    assert PATHS.read(PATH, NOW + timedelta(days=LAPSE_DAYS)) == ID
    assert PATHS.read(PATH, NOW + timedelta(days=LAPSE_DAYS + 1)) is Doubt.STALE
    assert PATHS.read(PATH, NOW - timedelta(days=1)) == ID
    assert PATHS.read(PATH, NOW - timedelta(days=2)) is Doubt.STALE


@given(st.integers(len("bounces+"), len(PATH) - len("@example.com") - 1), st.sampled_from("abcdef234567"))
def test_no_part_of_it_can_be_changed(at: int, character: str) -> None:
    changed = PATH[:at] + character + PATH[at + 1 :]
    assert PATHS.read(changed, NOW) == (ID if changed == PATH else Doubt.FORGED)


def test_another_secret_makes_others() -> None:
    assert ReturnPaths("bounces@example.com", "t" * 32).read(PATH, NOW) is Doubt.FORGED


@pytest.mark.parametrize(
    ("address", "doubt"),
    [
        ("bounces@example.com", Doubt.PLAIN),
        ("BOUNCES@Example.COM", Doubt.PLAIN),
        (f"bounces+{ID}@example.com", Doubt.FORGED),
        ("bounces+@example.com", Doubt.FORGED),
        (f"bounces+{ID}-ßßß@example.com", Doubt.FORGED),
        ("bouncesx@example.com", Doubt.STRANGE),
        ("bounces", Doubt.STRANGE),
        ("", Doubt.STRANGE),
        ("bounces@example.org", Doubt.STRANGE),
        ("bounces@..", Doubt.STRANGE),
    ],
)
def test_anything_else_is_no_return_path(address: str, doubt: Doubt) -> None:
    assert PATHS.read(address, NOW) is doubt


@given(st.text(max_size=80), st.binary(max_size=200))
def test_no_address_and_no_mail_does_harm(address: str, content: bytes) -> None:
    assert isinstance(PATHS.read(address, NOW), Doubt)
    assert isinstance(PATHS.find(content, NOW), Doubt)


def test_it_is_found_within_a_mail() -> None:
    other = ReturnPaths("bounces@example.com", "t" * 32).make(new_id(NOTIFICATION), NOW)
    assert PATHS.find(f"Return-Path: <{other}>\r\nOriginal-Mail-From: <{PATH}>\r\n".encode(), NOW) == ID
    assert PATHS.find(f"Return-Path: <{other}>".encode(), NOW) is Doubt.FORGED
    assert PATHS.find(b"nothing", NOW) is Doubt.PLAIN
    assert PATHS.find(f"<{PATH}.org>".encode(), NOW) is Doubt.PLAIN


def test_the_domain_may_be_international_and_the_name_may_have_a_plus() -> None:
    paths = ReturnPaths("b+x@straße.example", "s" * 32)
    path = paths.make(ID, NOW)
    assert path.endswith("@xn--strae-oqa.example")
    assert paths.read(path, NOW) == ID
    assert paths.read(path.replace("xn--strae-oqa", "straße"), NOW) == ID


@pytest.mark.parametrize("address", ["bounces", f"{'b' * 12}@example.com", "grüße@example.com", "a b@example.com"])
def test_an_address_that_cannot_carry_an_id_stops_the_start(address: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^HELIOGRAPH_BOUNCE_ADDRESS: [^\n]+$"):
        ReturnPaths(address, "s" * 32)
