"""What the pages show of a mail and of a push: plain texts, whatever shape a stranger gave it."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from workers.sandbox.fcm import ReceivedPush
from workers.sandbox.mail import KeptMail

MAX_SHOWN = 256 * 1024
"""Characters of a text that a page shows; the rest is to be had raw."""


def moment(at: datetime) -> dict[str, str]:
    """A time for machines and for people, in UTC."""
    return {"at": at.isoformat(), "shown_at": f"{at:%Y-%m-%d %H:%M:%S} UTC"}


def mail_row(kept: KeptMail) -> dict[str, str]:
    """A line of the list; reads the headers only."""
    return {"id": kept.id, "subject": kept.subject, "to": ", ".join(kept.recipients), **moment(kept.received_at)}


def mail_page(kept: KeptMail) -> dict[str, Any]:
    """All that the page of one mail shows, but for its HTML: that is a page of its own."""
    mail = kept.mail
    envelope = f"{mail.envelope_sender or '<>'} → {', '.join(mail.envelope_recipients)}"
    source = kept.raw[:MAX_SHOWN].decode("utf-8", "replace")
    return {
        "mail": {
            "id": mail.id,
            "subject": mail.subject,
            "sender": mail.sender,
            "recipient": mail.recipient,
            "envelope": envelope,
            "size": f"{mail.size:,}",
            **moment(mail.received_at),
        },
        "has_html": mail.html is not None,
        "has_text": mail.text is not None,
        "text": (mail.text or "")[:MAX_SHOWN],
        "files": [
            {"number": number, "name": file.filename, "type": file.content_type, "size": f"{file.size:,}"}
            for number, file in enumerate(mail.attachments)
        ],
        "headers": [list(header) for header in mail.headers],
        "source": source,
        "cut": len(kept.raw) > MAX_SHOWN,
    }


def push_texts(push: ReceivedPush) -> str:
    """What a search looks into: the token and what is shown first."""
    told = _object(push.message.get("notification"))
    return " ".join([push.token, _text(told.get("title")), _text(told.get("body"))])


def push_card(push: ReceivedPush) -> dict[str, Any]:
    """A card of the list. The image's address is only shown, never loaded."""
    told, data = _object(push.message.get("notification")), _object(push.message.get("data"))
    return {
        "id": push.id,
        "title": _text(told.get("title")),
        "body": _text(told.get("body")),
        "image": _text(told.get("image")),
        "token": push.token,
        "actions": _actions(data.get("actions")),
        "data": [[name, _text(value)] for name, value in data.items() if name != "actions"],
        **moment(push.received_at),
    }


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _actions(value: Any) -> list[str]:
    """The buttons, as `workers.push.fcm_message` writes them; whatever else there is, as it came."""
    if not isinstance(value, str):
        return []
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        return [value]
    if not isinstance(found, list):
        return [value]
    return [_action(_object(each)) or _text(each) for each in found]


def _action(action: Mapping[str, Any]) -> str:
    title, url = _text(action.get("title")), _text(action.get("url"))
    return f"{title} → {url}" if title and url else title
