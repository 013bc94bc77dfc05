"""Who may call the gateway, made from the settings: API keys, end users' tokens, rate limits."""

from functools import partial

import msgspec

from api.api_keys import ApiKeys
from api.changes import Changes
from api.database import Database
from api.gateway.sockets import Sockets
from api.published_keys import PublishedKeys
from api.rate_limits import RateLimiter
from api.security import Credentials
from api.settings import Settings
from api.system import System
from api.tokens import SharedSecret, SigningKeys, Tokens


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """What tells callers from each other. `sockets` are closed when their credential ends."""

    keys: ApiKeys
    credentials: Credentials
    limiter: RateLimiter
    sockets: Sockets


def open_identity(settings: Settings, system: System, database: Database, changes: Changes) -> Identity:
    """Everything that the settings say of it. Keys that are revoked elsewhere are heard of through `changes`."""
    keys, sockets = ApiKeys(database, tell=changes.tell), Sockets()
    changes.heed(keys.heed)
    keys.on_revoked(sockets.revoke)
    system.add("api keys", start=keys.start, stop=keys.stop)
    if settings.api_key is not None:
        ensure = partial(keys.ensure_key, settings.api_key, name="HELIOGRAPH_API_KEY", client="default")
        system.add("api key", start=ensure)
    limiter = RateLimiter(settings.rate_limit, settings.cache_url)
    system.add("rate limits", stop=limiter.close)
    return Identity(
        keys=keys, credentials=Credentials(keys, _tokens(settings, system)), limiter=limiter, sockets=sockets
    )


def _tokens(settings: Settings, system: System) -> Tokens | None:
    """The tokens of end users; None where no setting says how they are signed."""
    signing: SigningKeys
    if settings.jwt_secret is not None:
        signing = SharedSecret(settings.jwt_secret)
    elif settings.jwks_url is not None:
        signing = PublishedKeys(settings.jwks_url)
        system.add("published keys", stop=signing.close)
    else:
        return None
    return Tokens(signing, audience=settings.jwt_audience, issuer=settings.jwt_issuer)
