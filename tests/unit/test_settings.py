"""Settings that contradict each other stop the start with one line that names them."""

import pytest

from api.settings import SPARE_LEASE, load_settings
from domain.errors import ConfigurationError


def test_a_lease_leaves_time_around_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HELIOGRAPH_LEASE_SECONDS", str(20.0 + SPARE_LEASE))
    assert load_settings().lease_seconds == 20.0 + SPARE_LEASE
    monkeypatch.setenv("HELIOGRAPH_LEASE_SECONDS", str(20.0 + SPARE_LEASE - 0.5))
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    (line,) = caught.value.message.splitlines()
    assert "HELIOGRAPH_DELIVERY_DEADLINE_SECONDS" in line
    assert "HELIOGRAPH_LEASE_SECONDS, which is 25" in line


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("", ()),
        ("*", ("*",)),
        ("https://shop.example, http://localhost:5173", ("https://shop.example", "http://localhost:5173")),
        ("HTTPS://Shop.Example:443/", ("https://shop.example",)),
        ("http://[::1]:80,capacitor://localhost", ("http://[::1]", "capacitor://localhost")),
    ],
)
def test_origins_are_kept_as_browsers_name_them(
    monkeypatch: pytest.MonkeyPatch, given: str, expected: tuple[str, ...]
) -> None:
    monkeypatch.setenv("HELIOGRAPH_ALLOWED_ORIGINS", given)
    assert load_settings().allowed_origins == expected


GOOD_DKIM = {"DKIM_DOMAIN": "example.com", "DKIM_SELECTOR": "mail", "DKIM_KEY_FILE": "dkim.pem"}
GOOD_BOUNCES = {"BOUNCE_ADDRESS": "bounces@example.com", "BOUNCE_LISTEN": "[::1]:2525"}


def test_bounces_and_signatures_are_set_together(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**GOOD_DKIM, **GOOD_BOUNCES}.items():
        monkeypatch.setenv(f"HELIOGRAPH_{name}", value)
    assert load_settings().bounce_endpoint == ("::1", 2525)
    assert load_settings().dkim_key_file == "dkim.pem"


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"BOUNCE_ADDRESS": "bounces"}, "BOUNCE_ADDRESS"),
        ({"EMAIL_REPLY_TO": "a b@example.com"}, "EMAIL_REPLY_TO"),
        ({"EMAIL_FROM": "nobody"}, "EMAIL_FROM"),
        ({"BOUNCE_LISTEN": "127.0.0.1:2525"}, "BOUNCE_LISTEN"),
        *(
            ({**GOOD_BOUNCES, "BOUNCE_LISTEN": bad}, "BOUNCE_LISTEN")
            for bad in ("2525", "host", ":25", "a:b", "a:99999")
        ),
        *(({**GOOD_DKIM, missing: ""}, "DKIM_KEY_FILE") for missing in GOOD_DKIM),
    ],
)
def test_mail_settings_that_cannot_be_are_named_in_one_line(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], named: str
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(f"HELIOGRAPH_{name}", value)
    with pytest.raises(ConfigurationError, match=rf"^HELIOGRAPH_{named}: [^\n]+$"):
        load_settings()


@pytest.mark.parametrize(
    "given", ["shop.example", "https://shop.example/page", "https://", "https://a:x", "https://a@b"]
)
def test_what_is_no_origin_is_refused(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv("HELIOGRAPH_ALLOWED_ORIGINS", given)
    with pytest.raises(ConfigurationError, match="HELIOGRAPH_ALLOWED_ORIGINS"):
        load_settings()


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"PUSH_PROVIDERS": "fcm,carrier-pigeon"}, "HELIOGRAPH_PUSH_PROVIDERS"),
        ({"ONESIGNAL_URL": "ftp://push.example"}, "HELIOGRAPH_ONESIGNAL_URL"),
    ],
)
def test_a_push_provider_that_nobody_knows_is_refused(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], named: str
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(f"HELIOGRAPH_{name}", value)
    with pytest.raises(ConfigurationError, match=named):
        load_settings()


def test_push_providers_keep_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HELIOGRAPH_PUSH_PROVIDERS", "onesignal, fcm")
    assert load_settings().push_providers == ("onesignal", "fcm")


@pytest.mark.parametrize("name", ["RETENTION_DAYS", "DEAD_LETTER_RETENTION_DAYS"])
@pytest.mark.parametrize("days", ["-1", "0.5", "a week", "36501"])
def test_what_is_kept_is_kept_for_a_day_at_least_or_for_ever(
    monkeypatch: pytest.MonkeyPatch, name: str, days: str
) -> None:
    for good in (0, 1, 90):
        monkeypatch.setenv(f"HELIOGRAPH_{name}", str(good))
        assert getattr(load_settings(), name.lower()) == good
    monkeypatch.setenv(f"HELIOGRAPH_{name}", days)
    with pytest.raises(ConfigurationError, match=f"HELIOGRAPH_{name}"):
        load_settings()
