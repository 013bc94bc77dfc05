"""What providers post, as their published formats have it, signed as they sign it."""

import base64
import hashlib
import hmac
import json
import time
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

MAILGUN_KEY = "key-5c9d1b7e4a2f8036c1d7e9b4a6f20385"
ONESIGNAL_SECRET = "b7e41d9c0a52f38e6d1b"
Posted = tuple[bytes, dict[str, str]]


class SendGrid:
    """An account with a key of its own."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())

    @property
    def public_key(self) -> str:
        """As the settings page shows it."""
        der = self._key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return base64.b64encode(der).decode()

    def post(self, events: Any, *, at: float | None = None) -> Posted:
        """Body and headers."""
        body = events if isinstance(events, bytes) else json.dumps(events).encode()
        timestamp = str(int(time.time() if at is None else at))
        signature = self._key.sign(timestamp.encode() + body, ec.ECDSA(hashes.SHA256()))
        return body, {
            "X-Twilio-Email-Event-Webhook-Signature": base64.b64encode(signature).decode(),
            "X-Twilio-Email-Event-Webhook-Timestamp": timestamp,
        }


def sendgrid_event(event: str, id: str, **more: Any) -> dict[str, Any]:
    """One event of the list."""
    return {
        "email": "ada@example.com",
        "timestamp": 1_772_366_400,
        "event": event,
        "sg_event_id": "ZGVsaXZlcmVkLTA",
        "sg_message_id": "14c5d75ce93.dfd.64b469.filter0001.16648.5515E0B88.0",
        "smtp-id": "<14c5d75ce93.dfd.64b469@ismtpd-555>",
        "notification_id": id,
        **more,
    }


def mailgun(event: str, id: str, *, at: float | None = None, token: str = "t" * 50, **more: Any) -> Posted:
    """Body and headers."""
    timestamp = str(int(time.time() if at is None else at))
    signature = hmac.new(MAILGUN_KEY.encode(), f"{timestamp}{token}".encode(), hashlib.sha256).hexdigest()
    data = {
        "event": event,
        "timestamp": 1_772_366_400.25,
        "id": "Ase7i2zsRYeDXztHGENqRA",
        "recipient": "ada@example.com",
        "message": {"headers": {"message-id": "20260301120000.1.ABC@example.com", "subject": "Hi"}},
        "user-variables": {"notification_id": id},
        **more,
    }
    body = {"signature": {"timestamp": timestamp, "token": token, "signature": signature}, "event-data": data}
    return json.dumps(body).encode(), {}


def onesignal(kind: str, id: str, *, secret: str = ONESIGNAL_SECRET) -> Posted:
    """Body and headers, as `docs/callbacks.md` sets them up."""
    body = {
        "kind": kind,
        "timestamp": "1772366400",
        "message_id": "ed46884e-0e3f-4373-9e11-e28f27746d3d",
        "data": {"notification_id": id},
    }
    return json.dumps(body).encode(), {"Authorization": f"Bearer {secret}"}
