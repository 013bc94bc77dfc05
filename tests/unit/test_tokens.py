"""The tokens of end users: which are taken, for whom, and where the keys come from that they are verified with."""

import asyncio
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from jwt.utils import base64url_encode

from api import published_keys
from api.published_keys import PublishedKeys
from api.security import Credentials, Kind, Principal
from api.tokens import USER_ID, SharedSecret, Tokens
from api.users.inputs import CreateUser
from domain.errors import Unauthenticated, UpstreamUnavailable

SECRET = "0123456789abcdef" * 4
RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()


def token(key: Any = SECRET, algorithm: str = "HS256", *, kid: str | None = None, **claims: Any) -> str:
    """A token of the user `ada` that is good for an hour, but for what the claims say; None leaves one out."""
    payload = {"sub": "ada", "exp": time.time() + 3600, **claims}
    headers = {"kid": kid} if kid else {}
    return jwt.encode({name: value for name, value in payload.items() if value is not None}, key, algorithm, headers)


def tokens(**settings: str) -> Tokens:
    """What verifies tokens signed with `SECRET`."""
    return Tokens(SharedSecret(SECRET), **settings)


async def refusal(verifier: Tokens, credential: str) -> str:
    """Why it is refused."""
    with pytest.raises(Unauthenticated) as caught:
        await verifier.authenticate(credential)
    return caught.value.message


# ----------------------------------------------------------------------------------------------------- the principal


async def test_a_token_is_the_user_that_it_names_and_ends_when_it_says() -> None:
    expires = int(time.time()) + 60
    principal = await tokens().authenticate(token(exp=expires))
    assert principal == Principal(
        client="user:ada",
        key_id="user:ada",
        name="ada",
        scopes=frozenset(),
        kind=Kind.END_USER,
        user_id="ada",
        expires_at=float(expires),
    )


async def test_users_with_long_ids_are_told_apart_within_the_length_of_a_client() -> None:
    ids = ["u" * 64, "u" * 63 + "v"]
    clients = {(await tokens().authenticate(token(sub=id))).client for id in ids}
    assert len(clients) == 2
    assert all(len(client) <= 40 and client.startswith("user#") for client in clients)


@given(st.one_of(st.text(max_size=70), st.from_regex(USER_ID, fullmatch=True)))
def test_whoever_can_be_a_user_can_have_a_token_and_nobody_else(user_id: str) -> None:
    try:
        CreateUser(id=user_id)
        may_exist = True
    except ValueError:
        may_exist = False
    assert (USER_ID.fullmatch(user_id) is not None) == may_exist


async def test_a_token_that_never_ends_within_reason_is_no_trouble() -> None:
    principal = await tokens().authenticate(token(exp=10**30))
    assert principal.expires_at == 253_402_300_799


# ------------------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("claims", "sentence"),
    [
        ({"exp": time.time() - 60}, "This token has expired: get a new one."),
        ({"nbf": time.time() + 10 * 365 * 24 * 3600}, "This token is not valid yet."),
        ({"exp": None}, "This token lacks the claim 'exp'."),
        ({"sub": None}, "This token lacks the claim 'sub'."),
        ({"sub": "not a user!"}, "This token's `sub` is no id of a user."),
        ({"sub": "ada\n"}, "This token's `sub` is no id of a user."),
        ({"sub": 5}, "This is no valid token."),
        ({"exp": "soon"}, "This is no valid token."),
        ({"exp": True}, "This token has expired: get a new one."),
    ],
)
async def test_bad_claims_are_refused_with_the_reason(claims: dict[str, Any], sentence: str) -> None:
    assert await refusal(tokens(), token(**claims)) == sentence


async def test_a_clock_may_differ_by_seconds() -> None:
    assert (await tokens().authenticate(token(exp=time.time() - 2, nbf=time.time() + 2))).user_id == "ada"


async def test_audience_and_issuer_count_when_they_are_set() -> None:
    verifier = tokens(audience="app", issuer="https://id.example")
    good: dict[str, Any] = {"aud": ["app", "other"], "iss": "https://id.example"}
    assert (await verifier.authenticate(token(**good))).user_id == "ada"
    assert await refusal(verifier, token(**{**good, "aud": "else"})) == "This token is for another audience."
    assert await refusal(verifier, token(**{**good, "iss": "https://evil"})) == "This token is from another issuer."
    assert await refusal(verifier, token(**{**good, "aud": None})) == "This token lacks the claim 'aud'."
    assert await refusal(verifier, token(**{**good, "iss": None})) == "This token lacks the claim 'iss'."
    assert (await tokens().authenticate(token(**good))).user_id == "ada"


async def test_only_the_algorithm_of_the_secret_is_taken() -> None:
    unsigned = token("", "none")
    foreign = token("x" * 40)
    for bad in (unsigned, token(algorithm="HS512"), token(RSA, "RS256")):
        assert await refusal(tokens(), bad) == "This token is signed in a way that is not accepted here."
    assert await refusal(tokens(), foreign) == "This token's signature is wrong."


@pytest.mark.parametrize(
    "text", ["", "a.b", "a.b.c", "....", "a" * 9000, "é.é.é", "\ud800.a.b", token()[:-2], "e30.e30."]
)
async def test_what_is_no_token_is_refused(text: str) -> None:
    await refusal(tokens(), text)


async def test_a_token_that_was_changed_is_refused_after_the_good_one_was_seen() -> None:
    verifier, good = tokens(), token()
    await verifier.authenticate(good)
    head, _, signature = good.split(".")
    other = token(sub="eve").split(".")[1]
    assert await refusal(verifier, f"{head}.{other}.{signature}") == "This token's signature is wrong."


# ------------------------------------------------------------------------------------------------------ remembering


async def test_a_good_token_is_verified_once(monkeypatch: pytest.MonkeyPatch) -> None:
    verifier, good = tokens(), token()
    first = await verifier.authenticate(good)
    monkeypatch.setattr(jwt, "decode", lambda *_, **__: pytest.fail("verified again"))
    assert await verifier.authenticate(good) is first


async def test_what_was_remembered_ends_with_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    verifier, good = tokens(), token(exp=int(time.time()) + 60)
    await verifier.authenticate(good)
    later = time.time() + 100
    monkeypatch.setattr(time, "time", lambda: later)
    monkeypatch.setattr(jwt, "decode", _expired)
    assert await refusal(verifier, good) == "This token has expired: get a new one."


def _expired(*_: Any, **__: Any) -> None:
    raise jwt.ExpiredSignatureError


# --------------------------------------------------------------------------------------------------- published keys


class Site:
    """A sign-in service that publishes keys. It counts how often it is asked."""

    def __init__(self, **keys: Any) -> None:
        self.keys, self.asked = keys, 0
        self.answer: Callable[[], httpx.Response] | None = None
        self.passed = 0.0

    async def handle(self, _: httpx.Request) -> httpx.Response:
        """One request."""
        self.asked += 1
        await asyncio.sleep(0)
        if self.answer is not None:
            return self.answer()
        return httpx.Response(200, json={"keys": [{"kid": kid, **published(key)} for kid, key in self.keys.items()]})

    def published_keys(self) -> PublishedKeys:
        """Its keys."""
        transport, now = httpx.MockTransport(self.handle), time.monotonic()
        return PublishedKeys("https://id.example/jwks", transport=transport, clock=lambda: now + self.passed)


def published(key: Any) -> dict[str, Any]:
    """The public half, as a JWK; what is a text is a secret that was published by mistake."""
    if isinstance(key, str):
        return {"kty": "oct", "k": key}
    if isinstance(key, rsa.RSAPrivateKey):
        return dict(RSAAlgorithm.to_jwk(key.public_key(), as_dict=True))
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return dict(ECAlgorithm.to_jwk(key.public_key(), as_dict=True))
    return dict(OKPAlgorithm.to_jwk(key.public_key(), as_dict=True))


async def test_published_keys_verify_each_kind_of_signature() -> None:
    site = Site(r=RSA, e=EC, d=ED)
    verifier = Tokens(site.published_keys())
    for key, algorithm, kid in ((RSA, "RS256", "r"), (EC, "ES256", "e"), (ED, "EdDSA", "d")):
        assert (await verifier.authenticate(token(key, algorithm, kid=kid))).user_id == "ada"
    assert site.asked == 1


async def test_a_token_without_a_key_id_is_verified_with_the_only_key() -> None:
    assert (await Tokens(Site(r=RSA).published_keys()).authenticate(token(RSA, "RS256"))).user_id == "ada"
    await refusal(Tokens(Site(r=RSA, e=EC).published_keys()), token(RSA, "RS256"))


async def test_a_public_key_never_passes_for_a_secret() -> None:
    secret = b"secret" * 6
    verifier = Tokens(Site(r=RSA, o=base64url_encode(secret).decode()).published_keys())
    public = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    assert "not accepted" in await refusal(verifier, forged(public, "r"))
    assert "not published" in await refusal(verifier, forged(secret, "o"))


def forged(secret: bytes, kid: str) -> str:
    """What the library refuses to make: signed with HS256 by whatever there is."""
    parts = ({"alg": "HS256", "kid": kid}, {"sub": "ada", "exp": int(time.time()) + 60})
    signed = b".".join(base64url_encode(json.dumps(part).encode()) for part in parts)
    return b".".join([signed, base64url_encode(hmac.digest(secret, signed, "sha256"))]).decode()


async def test_who_comes_together_makes_one_fetch() -> None:
    site = Site(r=RSA)
    verifier = Tokens(site.published_keys())
    await asyncio.gather(*(verifier.authenticate(token(RSA, "RS256", kid="r", n=n)) for n in range(20)))
    assert site.asked == 1


async def test_a_new_key_is_found_and_made_up_ones_do_not_cost_a_fetch_each() -> None:
    site = Site(old=RSA)
    verifier = Tokens(site.published_keys())
    await verifier.authenticate(token(RSA, "RS256", kid="old"))
    site.keys = {"new": EC}
    for _ in range(10):
        assert "not published" in await refusal(verifier, token(EC, "ES256", kid="new"))
    assert site.asked == 1
    site.passed += published_keys.RETRY
    assert (await verifier.authenticate(token(EC, "ES256", kid="new"))).user_id == "ada"
    assert site.asked == 2


@pytest.mark.parametrize(
    "answer",
    [
        lambda: httpx.Response(503),
        lambda: httpx.Response(200, text="<html>"),
        lambda: httpx.Response(200, json=["keys"]),
        lambda: httpx.Response(200, json={"keys": []}),
        lambda: httpx.Response(200, json={"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}),
    ],
)
async def test_old_keys_are_good_while_the_site_is_away(answer: Callable[[], httpx.Response]) -> None:
    site = Site(r=RSA)
    keys = site.published_keys()
    verifier = Tokens(keys)
    await verifier.authenticate(token(RSA, "RS256", kid="r"))
    site.answer = answer
    site.passed += published_keys.MAX_AGE + 1
    for n in range(3):
        assert (await verifier.authenticate(token(RSA, "RS256", kid="r", n=n))).user_id == "ada"
    await keys._tasks.drain(5)
    assert site.asked == 2
    with pytest.raises(UpstreamUnavailable):
        await verifier.authenticate(token(EC, "ES256", kid="unheard_of"))


async def test_keys_grow_old_and_a_withdrawn_one_is_refused_then() -> None:
    site = Site(bad=RSA)
    keys = site.published_keys()
    verifier = Tokens(keys)
    await verifier.authenticate(token(RSA, "RS256", kid="bad"))
    site.keys = {"good": EC}
    site.passed += published_keys.MAX_AGE + 1
    await verifier.authenticate(token(RSA, "RS256", kid="bad", n=1))  # the old set, while the new one is fetched
    await keys._tasks.drain(5)
    assert "not published" in await refusal(verifier, token(RSA, "RS256", kid="bad", n=2))


async def test_a_site_that_was_never_there_makes_nobody_a_liar() -> None:
    site = Site(r=RSA)
    site.answer = lambda: httpx.Response(500)
    verifier = Tokens(site.published_keys())
    with pytest.raises(UpstreamUnavailable):
        await verifier.authenticate(token(RSA, "RS256", kid="r"))
    site.answer = None
    site.passed += published_keys.FIRST_RETRY
    assert (await verifier.authenticate(token(RSA, "RS256", kid="r"))).user_id == "ada"


# ------------------------------------------------------------------------------------------------- which credential


class Named:
    """A verifier that says who was asked."""

    def __init__(self, name: str) -> None:
        self._name = name

    async def authenticate(self, credential: str) -> Principal:
        """Always somebody."""
        return Principal(client=self._name, key_id=credential, name="", scopes=frozenset())


@pytest.mark.parametrize(
    ("headers", "who"),
    [
        ({"authorization": "Bearer hg_key"}, ("keys", "hg_key")),
        ({"authorization": "bearer  a.b.c "}, ("tokens", "a.b.c")),
        ({"x-api-key": "hg_key"}, ("keys", "hg_key")),
        ({"x-api-key": "a.b.c"}, ("keys", "a.b.c")),
        ({"authorization": "Basic abc", "x-api-key": "hg_key"}, ("keys", "hg_key")),
    ],
)
async def test_the_shape_of_a_credential_says_what_it_is(headers: dict[str, str], who: tuple[str, str]) -> None:
    principal = await Credentials(Named("keys"), Named("tokens")).authenticate_headers(headers)
    assert (principal.client, principal.key_id) == who


async def test_without_tokens_everything_is_a_key_and_nothing_is_nobody() -> None:
    credentials = Credentials(Named("keys"))
    assert (await credentials.authenticate_headers({"authorization": "Bearer a.b.c"})).client == "keys"
    with pytest.raises(Unauthenticated):
        await credentials.authenticate_headers({"authorization": "Bearer "})
