"""Refuses to start with secrets that others can guess. The embedded system, on one machine, may have any."""

from collections.abc import Collection

from api.security import PREFIX
from api.settings import PREFIX as VARIABLE
from api.settings import Settings
from domain.errors import ConfigurationError

NEEDED = ("service_token",)
"""Whoever uses these cannot do without."""
CHECKED = (*NEEDED, "secret", "api_key", "jwt_secret", "mailgun_signing_key", "onesignal_webhook_secret")
MIN_TOKEN = 16
MIN_KEY = 24
MIN_DISTINCT = 5
MIN_OWN = 8
"""Letters and digits that a secret must have besides the words that others try first."""
DEVELOPMENT_KEY = PREFIX + "dev_"

WELL_KNOWN = (
    "0123456789",
    "1234567",
    "abcdefgh",
    "changeit",
    "changeme",
    "changethis",
    "default",
    "development",
    "example",
    "heliograph",
    "insecure",
    "letmein",
    "passw0rd",
    "password",
    "placeholder",
    "qwerty",
    "replaceme",
    "secret",
    "test1234",
    "testtest",
)
"""What others try first. None is short, so chance does not hit upon them."""


def refuse_weak_secrets(settings: Settings, names: Collection[str]) -> None:
    """Raises `ConfigurationError`, with one line that names the variable, for the first bad secret.

    `names` are the settings that the role uses. It never says what the secret is.
    """
    for name in CHECKED:
        if name in names:
            _check(name, getattr(settings, name))
    if {"jwks_url", "jwt_secret"} & set(names) and settings.jwks_url and settings.jwt_secret:
        raise _refused("jwks_url", "set it or HELIOGRAPH_JWT_SECRET, not both")


def _check(name: str, value: str | None) -> None:
    if not value:
        if name in NEEDED:
            raise _refused(name, "is not set. `openssl rand -hex 32` prints a good one")
        return
    if name == "service_token" and len(value) < MIN_TOKEN:
        raise _refused(name, f"is shorter than {MIN_TOKEN} characters. `openssl rand -hex 32` prints a good one")
    if name == "api_key":
        _check_key(value)
    if (weakness := weakness_of(value.removeprefix(PREFIX))) is not None:
        raise _refused(name, f"{weakness}. `openssl rand -hex 32` prints a good one")


def _check_key(key: str) -> None:
    if key.startswith(DEVELOPMENT_KEY):
        raise _refused("api_key", "is the key of an embedded system. Make another one for this system")
    if not key.startswith(PREFIX) or len(key) - len(PREFIX) < MIN_KEY:
        raise _refused("api_key", f"takes {PREFIX} and at least {MIN_KEY} characters that nobody can guess")


def weakness_of(secret: str) -> str | None:
    """Why a secret can be guessed, None when it looks random; one that is random looks so, as good as always."""
    if len(set(secret)) < MIN_DISTINCT:
        return "is made of very few different characters"
    if secret in (secret + secret)[1:-1]:
        return "repeats itself"
    own = "".join(character for character in secret.lower() if character.isalnum())
    for word in WELL_KNOWN:
        own = own.replace(word, "")
    return "is little more than words that others try first" if len(own) < MIN_OWN else None


def _refused(name: str, why: str) -> ConfigurationError:
    return ConfigurationError(f"{VARIABLE}{name.upper()}: {why}.")
