"""From FCM's words to ours: what an answer of the HTTP v1 API means for the notification."""

from typing import Any

from domain.notification import Outcome
from domain.outgoing import Answer
from workers.http_answer import json_object
from workers.http_pool import Reply
from workers.push.reading import retry_after, shown

_FCM_ERROR = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
_PERMANENT_CODES = frozenset({"UNREGISTERED", "SENDER_ID_MISMATCH", "INVALID_ARGUMENT"})
_PERMANENT_STATUS = frozenset({400, 413})
_UNKNOWN_STATUS = frozenset({502, 504})
"""A proxy in front of FCM lost the answer; the request may have passed."""


def answer_of(reply: Reply, now: float, *, secret: str) -> Answer:
    """Classify a reply. `now` is in seconds since the epoch; `secret`, the device token, is kept out of the answer.

    What is neither accepted nor refused for this device is TRANSIENT: a project that is set up wrongly (401, 403, 404)
    is for the operator to mend, and must not cost a recipient the notification.
    """
    content = json_object(reply.body)
    if reply.status == 200:
        return _taken(content)
    code, message = _problem(reply.status, content)
    outcome = _outcome(reply.status, code)
    return Answer(
        outcome=outcome,
        code=code,
        detail=shown(message, secret),
        retry_after=retry_after(reply, now) if outcome is Outcome.TRANSIENT else None,
        retire_contact_point=code == "UNREGISTERED",
        rate_limited=reply.status == 429,
    )


def _taken(content: dict[str, Any]) -> Answer:
    name = content.get("name")
    if isinstance(name, str) and name:
        return Answer(outcome=Outcome.ACCEPTED, provider_message_id=name)
    return Answer(outcome=Outcome.UNKNOWN, code="no_message_name", detail="FCM answered 200 without a message name.")


def _problem(status: int, content: dict[str, Any]) -> tuple[str, str]:
    """FCM's own error code, else the general one, else the HTTP status; and the message."""
    error = content.get("error")
    error = error if isinstance(error, dict) else {}
    message = error.get("message") or f"FCM answered {status}."
    details = error.get("details")
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, dict) and detail.get("@type") == _FCM_ERROR and detail.get("errorCode"):
            return str(detail["errorCode"]), str(message)
    return str(error.get("status") or f"HTTP_{status}"), str(message)


def _outcome(status: int, code: str) -> Outcome:
    if code in _PERMANENT_CODES or status in _PERMANENT_STATUS:
        return Outcome.PERMANENT
    return Outcome.UNKNOWN if status in _UNKNOWN_STATUS else Outcome.TRANSIENT
