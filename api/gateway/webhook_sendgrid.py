"""SendGrid's signed event webhook: a list of events, signed as a whole (ECDSA on P-256, over timestamp and body)."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key

from api.gateway.webhooks import FORGED, decoded, moment, require_fresh, word
from domain.callbacks import Callback, CallbackKind
from domain.errors import ConfigurationError, Unauthenticated
from domain.ids import NOTIFICATION, is_id

SIGNATURE = "x-twilio-email-event-webhook-signature"
TIMESTAMP = "x-twilio-email-event-webhook-timestamp"
KINDS = {
    "delivered": CallbackKind.DELIVERED,
    "bounce": CallbackKind.BOUNCED,
    "dropped": CallbackKind.BOUNCED,
    "deferred": CallbackKind.DELAYED,
    "spamreport": CallbackKind.COMPLAINED,
    "open": CallbackKind.OPENED,
    "click": CallbackKind.CLICKED,
    "unsubscribe": CallbackKind.UNSUBSCRIBED,
    "group_unsubscribe": CallbackKind.UNSUBSCRIBED,
}
DROPPED_FOR_GOOD = frozenset({"bounced address", "invalid"})
"""Why SendGrid drops what it would not take today or ever."""


class Event(msgspec.Struct):
    """What we read of one event. `notification_id` is our custom argument."""

    event: str
    timestamp: float
    notification_id: Any = None
    type: Any = None
    status: Any = None
    reason: Any = None
    response: Any = None
    sg_message_id: Any = None


class SendGridWebhook:
    """`api.gateway.webhooks.Webhook`. `key` is the verification key as SendGrid shows it: DER in base64.

    Raises `ConfigurationError` for a key that is none.
    """

    def __init__(self, key: str, skew: float) -> None:
        self._key, self._skew = _public_key(key), skew

    def read(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Sequence[Callback]:
        timestamp = headers.get(TIMESTAMP, "")
        require_fresh(timestamp, now, self._skew)
        try:
            signature = base64.b64decode(headers.get(SIGNATURE, ""), validate=True)
            self._key.verify(signature, timestamp.encode() + body, ec.ECDSA(hashes.SHA256()))
        except (InvalidSignature, ValueError) as error:
            raise Unauthenticated(FORGED) from error
        events = decoded(body, list[Event])
        return [_callback(one) for one in events if one.event in KINDS and _is_ours(one)]


def _is_ours(event: Event) -> bool:
    return isinstance(event.notification_id, str) and is_id(NOTIFICATION, event.notification_id)


def _callback(event: Event) -> Callback:
    return Callback(
        notification_id=event.notification_id,
        kind=KINDS[event.event],
        occurred_at=moment(event.timestamp),
        provider="sendgrid",
        permanent=_is_permanent(event),
        code=word(event.status),
        reason=word(event.reason) or word(event.response),
        provider_message_id=word(event.sg_message_id),
    )


def _is_permanent(event: Event) -> bool:
    """A bounce of the type "blocked" is the mail's or the moment's fault, not the address's."""
    if event.event == "dropped":
        return str(event.reason).lower() in DROPPED_FOR_GOOD
    return event.event == "bounce" and event.type != "blocked" and not str(event.status).startswith("4")


def _public_key(text: str) -> ec.EllipticCurvePublicKey:
    try:
        key = load_der_public_key(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError, TypeError) as error:
        raise ConfigurationError("HELIOGRAPH_SENDGRID_WEBHOOK_KEY: is not a public key.") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ConfigurationError("HELIOGRAPH_SENDGRID_WEBHOOK_KEY: is not a key on the curve P-256.")
    return key
