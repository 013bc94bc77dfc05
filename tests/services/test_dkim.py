"""Mail by SMTP is signed, and whoever gets it can check it."""

from base64 import b64encode
from pathlib import Path

import dkim
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as elliptic
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from domain.errors import ConfigurationError
from domain.notification import Outcome
from domain.outgoing import File
from tests.contracts.smtp_servers import ScriptedServer, file, mail, provider_for
from workers.email.dkim_signer import DkimSigner
from workers.email.smtp_delivery import Sign

DEADLINE = 10.0
RSA_KEY, ED25519_KEY = rsa(65537, 2048), Ed25519PrivateKey.generate()
Key = RSAPrivateKey | Ed25519PrivateKey


def pem(key: Key) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def record(key: Key) -> bytes:
    """What stands in the DNS."""
    if isinstance(key, RSAPrivateKey):
        return b"v=DKIM1; k=rsa; p=" + b64encode(
            key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        )
    return b"v=DKIM1; k=ed25519; p=" + b64encode(key.public_key().public_bytes_raw())


def verified(message: bytes, key: Key) -> bool:
    """Whether the signature holds; the key is asked for by the right name only."""
    keys = {b"mail._domainkey.heliograph.test.": record(key)}
    return bool(dkim.verify(message, dnsfunc=lambda name, timeout=5: keys.get(name)))


async def received(sign: Sign | None, *files: File) -> bytes:
    """Our mail as the next server has it."""
    async with ScriptedServer().running() as server:
        provider = provider_for(server.url(), sign=sign)
        headers = (("Reply-To", "help@heliograph.test"), ("List-Unsubscribe", f"<https://heliograph.test/{'u' * 90}>"))
        answer = await provider.send(mail(headers=headers, files=files), DEADLINE)
        await provider.close()
    assert answer.outcome is Outcome.ACCEPTED
    return server.mails[0].replace(b"\r\n..", b"\r\n.")


@pytest.mark.parametrize("key", [RSA_KEY, ED25519_KEY], ids=["rsa", "ed25519"])
async def test_a_signature_holds_until_something_changes(key: Key) -> None:
    message = await received(DkimSigner("heliograph.test", "mail", pem(key)).signed)
    assert message.startswith(b"DKIM-Signature: ")
    assert b"c=relaxed/relaxed" in message
    assert verified(message, key)
    assert verified(message.replace(b"\r\nSubject: ", b"\r\nSubject:  "), key), "relaxed: white space may change"
    for before, after in ((b"Hello", b"Hallo"), (b"\r\nFrom: ", b"\r\nFrom: x"), (b"Reply-To: help", b"Reply-To: x")):
        assert before in message
        assert not verified(message.replace(before, after), key)
    assert not verified(b"From: <eve@example.com>\r\n" + message, key), "nobody can add another sender"


@pytest.mark.parametrize("key", [RSA_KEY, ED25519_KEY], ids=["rsa", "ed25519"])
async def test_files_are_signed_too(key: Key) -> None:
    files = (file("annual  report.pdf"), file("März.bin", bytes(range(256)) * 1_000))
    message = await received(DkimSigner("heliograph.test", "mail", pem(key)).signed, *files)
    assert verified(message, key)
    assert verified(message + b"\r\n\r\n", key), "relaxed: empty lines at the end do not count"
    at = message.rindex(b"filename*0*")
    for changed in (message[:at] + b"x" + message[at + 1 :], message[:-200] + b"A" + message[-199:]):
        assert not verified(changed, key)


async def test_without_a_key_nothing_is_signed() -> None:
    assert b"DKIM-Signature" not in await received(None)


async def test_an_international_domain_is_signed_for_in_its_ascii_form() -> None:
    message = await received(DkimSigner("straße.example", "mail", pem(ED25519_KEY)).signed)
    assert b"d=xn--strae-oqa.example;" in message


@pytest.mark.parametrize(
    "key",
    [
        *(b"", b"no key", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
        RSA_KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")),
        RSA_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        elliptic(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    ],
    ids=["empty", "nonsense", "damaged", "with a password", "public", "elliptic"],
)
def test_a_key_that_cannot_sign_stops_the_start_with_one_line(key: bytes, tmp_path: Path) -> None:
    path = tmp_path / "dkim.pem"
    path.write_bytes(key)
    with pytest.raises(ConfigurationError, match=r"^HELIOGRAPH_DKIM_KEY_FILE: [^\n]+\.$") as refused:
        DkimSigner.from_file("heliograph.test", "mail", str(path))
    assert "PRIVATE" not in refused.value.message


@pytest.mark.parametrize(
    ("domain", "selector", "named"), [("no domain", "mail", "DOMAIN"), ("a.test", "no selector", "SELECTOR")]
)
def test_a_name_that_cannot_be_stops_the_start(domain: str, selector: str, named: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^HELIOGRAPH_DKIM_{named}: "):
        DkimSigner(domain, selector, pem(ED25519_KEY))


def test_a_file_that_is_not_there_is_said_so() -> None:
    with pytest.raises(ConfigurationError, match=r"^HELIOGRAPH_DKIM_KEY_FILE: the file cannot be read"):
        DkimSigner.from_file("a.test", "mail", "nowhere.pem")
