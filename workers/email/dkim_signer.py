"""DKIM signatures (RFC 6376): relaxed/relaxed, rsa-sha256 or ed25519-sha256 (RFC 8463) as the key is.

dkimpy signs with RSA in Python, which takes milliseconds: call `DkimSigner.signed` off the event loop.
"""

import base64
import re
from pathlib import Path

import dkim
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from domain.errors import ConfigurationError
from domain.recipient import email_problem
from workers.email.headers import wire_address

MIN_RSA_BITS = 1024
"""What verifiers must accept at least (RFC 8301, 3.2); new keys have 2048."""
_SIGNED = (
    *(b"from", b"to", b"subject", b"date", b"message-id", b"reply-to", b"mime-version", b"content-type"),
    *(b"content-transfer-encoding", b"auto-submitted", b"list-unsubscribe", b"list-unsubscribe-post"),
)
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
        self._algorithm, self._key = _usable(key)

    @classmethod
    def from_file(cls, domain: str, selector: str, path: str) -> "DkimSigner":
        """The same with the key in a file. Raises `ConfigurationError`."""
        try:
            key = Path(path).read_bytes()
        except OSError as error:
            raise _refused(f"the file cannot be read ({error.strerror})") from error
        return cls(domain, selector, key)

    def signed(self, message: bytes) -> bytes:
        """The message, whose lines end in CRLF, with its signature in front.

        A second From is covered as well: nobody can add one. Raises ValueError for what cannot be signed.
        """
        names = {line.partition(b":")[0].lower() for line in message.partition(b"\r\n\r\n")[0].split(b"\r\n")}
        covered = [*(name for name in _SIGNED if name in names), b"from"]
        try:
            signer = dkim.DKIM(message, signature_algorithm=self._algorithm, linesep=b"\r\n")
            signature: bytes = signer.sign(
                self._selector, self._domain, self._key, canonicalize=_CANONICAL, include_headers=covered
            )
        except dkim.DKIMException as error:
            raise ValueError(f"DKIM cannot sign it ({type(error).__name__}).") from error
        return signature + message


def _usable(pem: bytes) -> tuple[bytes, bytes]:
    """The algorithm, and the key as dkimpy wants it."""
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as error:
        raise _refused("it holds no private key in PEM without a password") from error
    if isinstance(key, Ed25519PrivateKey):
        return b"ed25519-sha256", base64.b64encode(key.private_bytes_raw())
    if not isinstance(key, RSAPrivateKey):
        raise _refused("takes an RSA or an Ed25519 key")
    if key.key_size < MIN_RSA_BITS:
        raise _refused(f"an RSA key has at least {MIN_RSA_BITS} bits")
    return b"rsa-sha256", key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())


def _refused(why: str) -> ConfigurationError:
    return ConfigurationError(f"HELIOGRAPH_DKIM_KEY_FILE: {why}.")
