"""Return paths that name their notification (VERP) and that nobody but us can make.

    bounces+ntf_0190…-5kqabcdefghijkl@example.com
            the id     day and tag

The tag is a keyed hash (HMAC-SHA256, RFC 2104) of the id and the day: whoever has not seen the mail cannot know it, so
nobody can have other people's notifications marked as bounced by trying ids. The day lets old ones lapse.
"""

import base64
import hashlib
import hmac
import re
from datetime import datetime
from enum import StrEnum
from itertools import islice

from domain.errors import ConfigurationError
from domain.ids import NOTIFICATION, new_id
from domain.recipient import email_problem
from workers.email.headers import wire_address

LAPSE_DAYS = 30
"""Mail servers give up within a week; complaints may take longer."""
_DIGITS = "abcdefghijklmnopqrstuvwxyz234567"  # base32: it survives whoever changes the case of an address
_DAY_LENGTH = 3
_DAYS: int = len(_DIGITS) ** _DAY_LENGTH  # 90 years, then days repeat
_TAG_LENGTH = 12  # 60 bits
_SECONDS_A_DAY = 86_400
_LOOKED_AT = 20  # return paths within one mail
_DETAIL = re.compile(rf"(ntf_[0-9a-f]{{32}})-([a-z2-7]{{{_DAY_LENGTH}}})([a-z2-7]{{{_TAG_LENGTH}}})")


class Doubt(StrEnum):
    """Why an address speaks of no notification."""

    STRANGE = "strange"
    """It is no return path of ours."""
    PLAIN = "plain"
    """It is the bounce address itself."""
    FORGED = "forged"
    """It looks like one, but we have not made it."""
    STALE = "stale"
    """It is ours, and older than `LAPSE_DAYS`."""


class ReturnPaths:
    """Makes and reads the return paths at one bounce address, `bounces@example.com`.

    Whoever reads needs the same `secret` as whoever made. Raises `ConfigurationError` for an address that cannot carry
    an id.
    """

    def __init__(self, bounce_address: str, secret: str) -> None:
        self._key = hashlib.sha256(f"return path:{secret}".encode()).digest()
        self._local, _, domain = bounce_address.rpartition("@")
        longest = f"{self._local}+{new_id(NOTIFICATION)}-{'a' * (_DAY_LENGTH + _TAG_LENGTH)}@{domain}"
        problem = email_problem(bounce_address) or email_problem(longest)
        if problem is None and not self._local.isascii():
            problem = "needs SMTPUTF8, which not every server has"
        if problem is not None:
            raise ConfigurationError(f"HELIOGRAPH_BOUNCE_ADDRESS: with an id in it, the address {problem}.")
        self._domain = wire_address(bounce_address).rpartition("@")[2].lower()
        own = re.escape(self._local.encode()) + rb"\+" + _DETAIL.pattern.encode()
        self._anywhere = re.compile(own + b"@" + re.escape(self._domain.encode()) + rb"(?![\w.-])", re.IGNORECASE)

    def make(self, notification_id: str, at: datetime) -> str:
        """The envelope sender of a notification's mail that is sent at this (aware) time."""
        day = _day(at)
        written = "".join(_DIGITS[day // 32**place % 32] for place in reversed(range(_DAY_LENGTH)))
        return f"{self._local}+{notification_id}-{written}{self._tag(notification_id, written)}@{self._domain}"

    def read(self, address: str, now: datetime) -> str | Doubt:
        """The id of the notification that an address speaks of, or why it speaks of none. `now` is aware."""
        local, _, domain = address.lower().rpartition("@")
        own = self._local.lower()
        if local[: len(own)] != own or local[len(own) :][:1] not in ("", "+") or _ascii(domain) != self._domain:
            return Doubt.STRANGE
        if local == own:
            return Doubt.PLAIN
        found = _DETAIL.fullmatch(local[len(own) + 1 :])
        if found is None or not hmac.compare_digest(found[3], self._tag(found[1], found[2])):
            return Doubt.FORGED
        age = (_day(now) - _number(found[2])) % _DAYS
        # A clock that is a day behind the sender's makes tomorrow of today.
        return found[1] if age <= LAPSE_DAYS or age == _DAYS - 1 else Doubt.STALE

    def find(self, content: bytes, now: datetime) -> str | Doubt:
        """The same for the first good return path within a mail: complaints come to the plain address."""
        doubt = Doubt.PLAIN
        for found in islice(self._anywhere.finditer(content), _LOOKED_AT):
            read = self.read(found[0].decode("ascii"), now)
            if not isinstance(read, Doubt):
                return read
            doubt = read
        return doubt

    def _tag(self, notification_id: str, day: str) -> str:
        digest = hmac.new(self._key, f"{notification_id}-{day}".encode(), hashlib.sha256).digest()
        return base64.b32encode(digest).decode("ascii").lower()[:_TAG_LENGTH]


def _ascii(domain: str) -> str:
    try:
        return wire_address(f"x@{domain}").rpartition("@")[2].lower()
    except ValueError:
        return ""


def _day(at: datetime) -> int:
    return int(at.timestamp()) // _SECONDS_A_DAY % _DAYS


def _number(written: str) -> int:
    value = 0
    for digit in written:
        value = value * len(_DIGITS) + _DIGITS.index(digit)
    return value
