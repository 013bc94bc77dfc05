"""Links with which whoever gets a mail gets no more of its kind, by one click and without logging in (RFC 8058).

A link names a notification and is signed, so nobody can make one for a mail that they have not got. The notification
says who it went to and of which category it is, and neither ever changes; so the link holds no personal data.
"""

import hashlib
import hmac
from base64 import urlsafe_b64encode
from collections.abc import Collection

from domain.ids import NOTIFICATION, is_id
from domain.notification import Channel, Priority
from domain.ports import Claim

MAC_BYTES = 18
PATH = "/unsubscribe/"


class UnsubscribeLinks:
    """Makes and reads them. Without a `public_url` no mail has one; mail that is CRITICAL or in one of the
    `transactional` categories has none either: it answers what its recipient did, and is not subscribed to."""

    def __init__(self, secret: str, public_url: str | None = None, transactional: Collection[str] = ()) -> None:
        self._secret = secret.encode()
        self._base = None if public_url is None else public_url.rstrip("/")
        self._transactional = frozenset(transactional)

    def url_of(self, claim: Claim) -> str | None:
        """The link of a mail, or None."""
        if self._base is None or claim.channel is not Channel.EMAIL:
            return None
        if claim.priority is Priority.CRITICAL or claim.category in self._transactional:
            return None
        return f"{self._base}{PATH}{self.token(claim.id)}"

    def token(self, notification_id: str) -> str:
        """What the link of a notification ends with."""
        return f"{notification_id}.{self._mac(notification_id)}"

    def read(self, token: str) -> str | None:
        """The notification that a token is of; None for one that we did not make."""
        id, _, mac = token.partition(".")
        if not is_id(NOTIFICATION, id) or not mac.isascii():
            return None
        return id if hmac.compare_digest(mac, self._mac(id)) else None

    def _mac(self, id: str) -> str:
        digest = hmac.new(self._secret, f"unsubscribe:{id}".encode(), hashlib.sha256).digest()
        return urlsafe_b64encode(digest[:MAC_BYTES]).decode()
