"""Which providers are made from which settings, and what stops the start: one line that names the variable."""

import pytest

from api.provider_rates import ProviderRate
from api.providers import email_providers, mails_at_once, paces
from api.settings import load_settings
from domain.errors import ConfigurationError

COMPLETE = {
    "SMTP_URL": "smtp://mail.example.com",
    "SENDGRID_API_KEY": "SG.secret-of-the-account",
    "MAILGUN_API_KEY": "key-secret-of-the-account",
    "MAILGUN_DOMAIN": "mg.example.com",
}


def given(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(f"HELIOGRAPH_{name}", value)


@pytest.mark.parametrize("names", ["smtp", "sendgrid,smtp", "mailgun, sendgrid , smtp"])
async def test_they_come_in_the_order_of_the_setting(monkeypatch: pytest.MonkeyPatch, names: str) -> None:
    given(monkeypatch, EMAIL_PROVIDERS=names, **COMPLETE)
    providers = email_providers(load_settings())
    assert [provider.name for provider in providers] == [name.strip() for name in names.split(",")]
    for provider in providers:
        await provider.close()


@pytest.mark.parametrize("missing", COMPLETE)
def test_each_needs_its_own_settings(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    given(monkeypatch, **{**COMPLETE, "EMAIL_PROVIDERS": "smtp,sendgrid,mailgun", missing: ""})
    with pytest.raises(ConfigurationError) as caught:
        email_providers(load_settings())
    assert caught.value.message.startswith(f"HELIOGRAPH_{missing}: ")
    assert len(caught.value.message.splitlines()) == 1
    assert "of-the-account" not in caught.value.message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("EMAIL_PROVIDERS", "smtp,pigeon"),
        ("EMAIL_PROVIDERS", "smtp,smtp"),
        ("EMAIL_PROVIDERS", ","),
        ("SENDGRID_URL", "ftp://example.com"),
        ("MAILGUN_URL", "https://"),
        ("SENDGRID_API_KEY", "two\nlines"),
        ("MAILGUN_API_KEY", "Schlüssel"),
        ("MAILGUN_DOMAIN", "example"),
        ("MAILGUN_DOMAIN", "mg.example.com/../x"),
        ("PROVIDER_RATES", "smtp"),
        ("PROVIDER_RATES", "smtp:0/second"),
        ("PROVIDER_RATES", "smtp:10/day"),
        ("PROVIDER_RATES", "pigeon:10/second"),
        ("PROVIDER_RATES", "fcm:10/second"),
        ("PROVIDER_RATES", "smtp:1/second,smtp:2/second"),
    ],
)
def test_a_bad_value_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    given(monkeypatch, **{name: value})
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    assert caught.value.message.startswith(f"HELIOGRAPH_{name}: ")
    assert len(caught.value.message.splitlines()) == 1


def test_rates_are_read_and_only_those_have_a_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, PROVIDER_RATES="sendgrid:600/minute, smtp:20/second,mailgun:9/hour")
    settings = load_settings()
    assert settings.provider_rates == {
        "sendgrid": ProviderRate(600, 60.0),
        "smtp": ProviderRate(20, 1.0),
        "mailgun": ProviderRate(9, 3600.0),
    }
    assert set(paces(settings)) == {"sendgrid", "smtp", "mailgun"}
    assert paces(load_settings(provider_rates="")) == {}


def test_keys_are_not_in_what_settings_print(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, **COMPLETE)
    assert "of-the-account" not in repr(load_settings())


def test_a_worker_has_no_more_mails_in_hand_than_have_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, SMTP_POOL="5", WORKER_CONCURRENCY="10000")
    with_smtp = mails_at_once(load_settings(email_providers="sendgrid,smtp"))
    assert with_smtp < mails_at_once(load_settings(email_providers="sendgrid"))
    assert mails_at_once(load_settings(worker_concurrency=3)) == 3
