"""From OneSignal's words to ours: what an answer of `POST /notifications` means for the notification."""

from typing import Any

from domain.notification import Outcome
from domain.outgoing import Answer
from workers.http_answer import json_object
from workers.http_pool import Reply
from workers.push.reading import retry_after, shown

_PERMANENT_STATUS = frozenset({400, 413})
_UNKNOWN_STATUS = frozenset({500, 502, 504})
"""OneSignal says of these that the message may have been taken; the others are refusals."""
_UNSUBSCRIBED = ("invalid_player_ids", "invalid_subscription_ids")
_NOBODY = "not subscribed"


def answer_of(reply: Reply, now: float, *, secret: str) -> Answer:
    """Classify a reply. `now` is in seconds since the epoch; `secret`, the subscription id, is kept out of the answer.

    A key or an app that is set up wrongly (401, 403, 404) is for the operator to mend: TRANSIENT, an outage.
    """
    content = json_object(reply.body)
    if reply.status == 200:
        return _taken(content, secret)
    outcome = _outcome(reply.status)
    return Answer(
        outcome=outcome,
        code=f"HTTP_{reply.status}",
        detail=shown(_sentence(content) or f"OneSignal answered {reply.status}.", secret),
        retry_after=retry_after(reply, now) if outcome is Outcome.TRANSIENT else None,
        rate_limited=reply.status == 429,
    )


def _taken(content: dict[str, Any], secret: str) -> Answer:
    """200 says only that the request was understood. An empty id: nobody was there to send it to."""
    id_, errors = content.get("id"), content.get("errors")
    if _is_unsubscribed(errors, secret):
        detail = "OneSignal knows no such subscription, or it was unsubscribed."
        return Answer(outcome=Outcome.PERMANENT, code="not_subscribed", detail=detail, retire_contact_point=True)
    if id_ == "":
        detail = shown(_sentence(content) or "OneSignal sent it to nobody.", secret)
        return Answer(outcome=Outcome.PERMANENT, code="no_recipient", detail=detail)
    if isinstance(id_, str):
        return Answer(outcome=Outcome.ACCEPTED, provider_message_id=id_)
    return Answer(outcome=Outcome.UNKNOWN, code="no_message_id", detail="OneSignal answered 200 without a message id.")


def _is_unsubscribed(errors: Any, subscription: str) -> bool:
    """A list speaks of all whom the message was for, and that is this one; an object names those that are meant."""
    if isinstance(errors, list):
        return any(isinstance(error, str) and _NOBODY in error for error in errors)
    if not isinstance(errors, dict):
        return False
    named = [id_ for name in _UNSUBSCRIBED if isinstance(errors.get(name), list) for id_ in errors[name]]
    return subscription.lower() in (id_.lower() for id_ in named if isinstance(id_, str))


def _outcome(status: int) -> Outcome:
    if status in _PERMANENT_STATUS:
        return Outcome.PERMANENT
    return Outcome.UNKNOWN if status in _UNKNOWN_STATUS else Outcome.TRANSIENT


def _sentence(content: dict[str, Any]) -> str:
    errors = content.get("errors")
    return "; ".join(error for error in errors if isinstance(error, str)) if isinstance(errors, list) else ""
