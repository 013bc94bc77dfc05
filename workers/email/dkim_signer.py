"""DKIM signatures (RFC 6376): relaxed/relaxed, rsa-sha256 or ed25519-sha256 (RFC 8463) as the key is.

dkimpy writes the signature. Its own RSA is written in Python, takes 11 ms a mail and keeps every other thread waiting,
so an RSA key signs by OpenSSL: less than 1 ms for all of it, as with Ed25519. Call `DkimSigner.signed` off the event
loop all the same.
"""

import base64
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dkim
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from dkim.canonicalization import Relaxed

from domain.errors import ConfigurationError
from domain.recipient import email_problem
from workers.email.headers import wire_address

MIN_RSA_BITS = 1024
"""What verifiers must accept at least (RFC 8301, 3.2); new keys have 2048."""
_SIGNED = (
    *(b"from", b"to", b"subject", b"date", b"message-id", b"reply-to", b"mime-version", b"content-type"),
    *(b"content-transfer-encoding", b"auto-submitted", b"list-unsubscribe", b"list-unsubscribe-post"),
)
_A_LINE = b".\r\n"
_CANONICAL = (b"relaxed", b"relaxed")
_SELECTOR = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")


class DkimSigner:
    """Signs mails for `domain`. `key` is a private key in PEM; its public half is at `selector`._domainkey.`domain`.

    Raises `ConfigurationError`, with one line that names the setting and does not repeat the key.
    """

    def __init__(self, domain: str, selector: str, key: bytes) -> None:
        if (problem := email_problem(f"x@{domain}")) is not None:
            raise ConfigurationError(f"HELIOGRAPH_DKIM_DOMAIN: it {problem}.")
        if not _SELECTOR.fullmatch(selector):
            raise ConfigurationError("HELIOGRAPH_DKIM_SELECTOR: takes letters, digits, dots and hyphens.")
        self._domain = wire_address(f"x@{domain}").rpartition("@")[2].encode("ascii")
        self._selector = selector.encode("ascii")
        self._rsa, self._key = _usable(key)

    @classmethod
    def from_file(cls, domain: str, selector: str, path: str) -> "DkimSigner":
        """The same with the key in a file. Raises `ConfigurationError`."""
        try:
            key = Path(path).read_bytes()
        except OSError as error:
            raise _refused(f"the file cannot be read ({error.strerror})") from error
        return cls(domain, selector, key)

    def signed(self, message: Sequence[bytes]) -> tuple[bytes, ...]:
        """The message with its signature in front. It comes in pieces of whole lines that end in CRLF; the first one
        has all of the head.

        A second From is covered as well: nobody can add one. Raises ValueError for what cannot be signed.
        """
        head, blank, body = message[0].partition(b"\r\n\r\n")
        names = {line.partition(b":")[0].lower() for line in head.split(b"\r\n")}
        covered = [*(name for name in _SIGNED if name in names), b"from"]
        try:
            signer = _Signing(head + blank, self._rsa, _body_hash([body, *message[1:]]))
            signature: bytes = signer.sign(
                self._selector, self._domain, self._key, canonicalize=_CANONICAL, include_headers=covered
            )
        except dkim.DKIMException as error:
            raise ValueError(f"DKIM cannot sign it ({type(error).__name__}).") from error
        return (signature + message[0], *message[1:])


def _body_hash(body: Sequence[bytes]) -> bytes:
    """The `bh` of a body in pieces of whole lines: what is relaxed is relaxed line by line, but for the last lines."""
    digest = hashlib.sha256()
    *most, last = body
    for piece in most:
        digest.update(_relaxed(piece))
    digest.update(Relaxed.canonicalize_body(last))
    return base64.b64encode(digest.digest())


def _relaxed(piece: bytes) -> bytes:
    """A piece that others follow: what is base64 stays as it is."""
    if b" " not in piece and b"\t" not in piece:
        return piece
    # A line after it keeps its own empty lines from being taken for the body's last ones.
    return Relaxed.canonicalize_body(piece + _A_LINE).removesuffix(_A_LINE)  # type: ignore[no-any-return]


class _Signing(dkim.DKIM):  # type: ignore[misc]  # shipped without types
    """dkimpy, except that an RSA key, where there is one, signs the digest itself, and that the body was hashed before:
    it would take a whole mail apart in one call, which for a large one keeps every other thread waiting."""

    def __init__(self, head: bytes, rsa: RSAPrivateKey | None, body_hash: bytes) -> None:
        algorithm = b"ed25519-sha256" if rsa is None else b"rsa-sha256"
        super().__init__(head, signature_algorithm=algorithm, linesep=b"\r\n")
        self._rsa, self._body_hash = rsa, body_hash

    def gen_header(self, fields: Any, names: Any, policy: Any, header: Any, key: Any, standardize: bool = False) -> Any:
        """Any key but its own RSA is asked to sign the digest; by now `fields` says which algorithm it is."""
        if self._rsa is not None:
            self.signature_algorithm, key = b"ed25519-sha256", _ByOpenSsl(self._rsa)
        fields = [(name, self._body_hash if name == b"bh" else value) for name, value in fields]
        return super().gen_header(fields, names, policy, header, key, standardize)


class _ByOpenSsl:
    """An RSA key with the manners of PyNaCl's."""

    def __init__(self, key: RSAPrivateKey) -> None:
        self._key = key
        self.signature = b""

    def sign(self, digest: bytes) -> "_ByOpenSsl":
        """The signature of a SHA-256 digest is then in `signature`."""
        self.signature = self._key.sign(digest, PKCS1v15(), Prehashed(SHA256()))
        return self


def _usable(pem: bytes) -> tuple[RSAPrivateKey | None, bytes]:
    """The key if it is RSA, and either kind as dkimpy wants it."""
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as error:
        raise _refused("it holds no private key in PEM without a password") from error
    if isinstance(key, Ed25519PrivateKey):
        return None, base64.b64encode(key.private_bytes_raw())
    if not isinstance(key, RSAPrivateKey):
        raise _refused("takes an RSA or an Ed25519 key")
    if key.key_size < MIN_RSA_BITS:
        raise _refused(f"an RSA key has at least {MIN_RSA_BITS} bits")
    return key, key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())


def _refused(why: str) -> ConfigurationError:
    return ConfigurationError(f"HELIOGRAPH_DKIM_KEY_FILE: {why}.")
