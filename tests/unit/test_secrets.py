"""A start refuses secrets that can be guessed, names the variable, and takes whatever is random."""

import random
import secrets
import string
from typing import Any

import pytest

from api.secrets_check import CHECKED, refuse_weak_secrets, weakness_of
from api.settings import Settings, load_settings
from domain.errors import ConfigurationError

GOOD: dict[str, Any] = {
    "service_token": secrets.token_hex(16),
    "secret": secrets.token_hex(32),
    "api_key": "hg_" + secrets.token_urlsafe(32),
    "jwt_secret": secrets.token_urlsafe(32),
}
ALL = (*CHECKED, "jwks_url")


def settings(**changes: Any) -> Settings:
    """Good secrets, but for these."""
    return load_settings().model_copy(update={**GOOD, **changes})


def refusal(**changes: Any) -> str:
    """What is said of them."""
    with pytest.raises(ConfigurationError) as caught:
        refuse_weak_secrets(settings(**changes), ALL)
    return caught.value.message


def test_good_secrets_are_taken() -> None:
    refuse_weak_secrets(settings(), ALL)
    refuse_weak_secrets(settings(api_key=None, jwt_secret=None, secret=None), ALL)
    refuse_weak_secrets(settings(jwt_secret="the-secret-of-staging-4711-moss-lantern"), ALL)
    refuse_weak_secrets(settings(jwt_secret=None, jwks_url="https://id.example/jwks"), ALL)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("service_token", None),
        ("service_token", ""),
        ("service_token", "9d2fec5a68a89c"),
        ("service_token", "change-me-change-me-now"),
        ("service_token", "aaaaaaaaaaaaaaaaaaaaaaaa"),
        ("service_token", "abcdefabcdefabcdef"),
        ("secret", "default-secret-for-development-0123456789"),
        ("jwt_secret", "Change-This-Example-Password-1"),
        ("jwt_secret", "heliograph secret test1234 heliograph"),
        ("api_key", "hg_dev_M5UOCu5AzJvVJKH8zd4BHJew926Shc7x"),
        ("api_key", "hg_" + "0a1b2c3d4e5f6a7b8c9d0e1"),
        ("api_key", "dd89f523d3956b68bfe94a70c1f78bdbce6b9906c2d5647226f26b1ea0b0852c"),
        ("api_key", "hg_" + "changeme" * 4),
    ],
)
def test_a_weak_secret_is_refused_in_one_line_that_names_its_variable(name: str, value: str | None) -> None:
    message = refusal(**{name: value})
    assert message.startswith(f"HELIOGRAPH_{name.upper()}: ")
    assert "\n" not in message
    assert not value or value not in message


def test_two_ways_to_verify_tokens_are_one_too_many() -> None:
    assert "not both" in refusal(jwks_url="https://id.example/jwks")


def test_a_role_answers_only_for_what_it_uses() -> None:
    refuse_weak_secrets(settings(secret=None, jwt_secret="changeme" * 5, api_key="x"), ["service_token"])


@pytest.mark.parametrize(
    ("alphabet", "length"),
    [("0123456789abcdef", 16), ("0123456789abcdef", 64), (string.ascii_letters + string.digits + "-_", 24)],
)
def test_what_is_random_is_never_called_weak(alphabet: str, length: int) -> None:
    chance = random.Random(20)
    for _ in range(5_000):
        assert weakness_of("".join(chance.choices(alphabet, k=length))) is None
