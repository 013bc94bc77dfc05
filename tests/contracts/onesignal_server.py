"""A OneSignal to test against: `POST /notifications?c=push` as the published OpenAPI document 11.6 has it.

It is stricter than the real one: a field that the document does not name is refused, and so is a value of another kind.
The end of a subscription id chooses its fate.
"""

import asyncio
import uuid
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

APP_ID = "9d3c2b1a-4f5e-4a6b-8c7d-0e1f2a3b4c5d"
API_KEY = "os_v2_app_testing"

FIELDS: dict[str, type] = {
    "app_id": str,
    "include_subscription_ids": list,
    "contents": dict,
    "headings": dict,
    "data": dict,
    "idempotency_key": str,
    "ttl": int,
    "url": str,
    "collapse_id": str,
    "web_push_topic": str,
    "buttons": list,
    "web_buttons": list,
    "big_picture": str,
    "huawei_big_picture": str,
    "adm_big_picture": str,
    "chrome_web_image": str,
    "ios_attachments": dict,
    "ios_badgeType": str,
    "ios_badgeCount": int,
    "ios_sound": str,
}
"""Those of the document that an adapter of ours may use."""

_NOBODY = {"id": "", "errors": ["All included players are not subscribed"]}
ANSWERS: dict[str, tuple[int, Any, dict[str, str]]] = {
    "dead": (200, _NOBODY, {}),
    "d0ff": (200, {"id": str(uuid.uuid4()), "errors": {"invalid_player_ids": ["{id}"]}}, {}),
    "0400": (400, {"errors": ["Bad subscription {id}."]}, {}),
    "0401": (401, {"errors": ["Access denied."]}, {}),
    "0403": (403, {"errors": ["Forbidden."]}, {}),
    "0429": (429, {"errors": ["API rate limit exceeded"]}, {"retry-after": "1"}),
    "0500": (500, {"errors": ["Internal Server Error"]}, {}),
    "0503": (503, {}, {}),
    "0200": (200, {}, {}),
}
"""Status, body (`{id}` stands for the subscription as it was given) and headers, by the last four digits."""


class OneSignal:
    """What was accepted, in order. A key that was seen before gets the first answer and sends nothing."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.calls = 0
        self._answered: dict[str, str] = {}
        self._once: set[str] = set()

    @property
    def app(self) -> Starlette:
        return Starlette(routes=[Route("/notifications", self._create, methods=["POST"])])

    async def _create(self, request: Request) -> JSONResponse:
        self.calls += 1
        if request.headers.get("authorization") != f"Key {API_KEY}":
            return JSONResponse({"errors": ["Access denied. Please include an 'Authorization: ...' header."]}, 403)
        assert request.query_params.get("c") == "push"
        message = await request.json()
        if problems := _problems(message):
            return JSONResponse({"errors": problems}, 400)
        [subscription] = message["include_subscription_ids"]
        if subscription.endswith("aaaa"):
            while (await request.receive())["type"] != "http.disconnect":
                pass
            return JSONResponse({}, 503)  # nobody is there to read it
        if subscription.endswith("bbbb"):
            await asyncio.sleep(0.05)
        if subscription.endswith("cccc") and message["idempotency_key"] not in self._once:
            self._once.add(message["idempotency_key"])
            return JSONResponse({}, 503)
        if canned := ANSWERS.get(subscription[-4:]):
            status, body, headers = canned
            return JSONResponse(_filled(body, subscription), status, headers=headers)
        return JSONResponse({"id": self._accept(message), "external_id": message["idempotency_key"]})

    def _accept(self, message: dict[str, Any]) -> str:
        key = message["idempotency_key"]
        if key not in self._answered:
            self._answered[key] = str(uuid.uuid4())
            self.messages.append(message)
        return self._answered[key]


def _filled(body: Any, subscription: str) -> Any:
    if isinstance(body, str):
        return body.replace("{id}", subscription)
    if isinstance(body, list):
        return [_filled(item, subscription) for item in body]
    return {name: _filled(value, subscription) for name, value in body.items()} if isinstance(body, dict) else body


def _problems(message: dict[str, Any]) -> list[str]:
    """What the document forbids. Empty when nothing is wrong."""
    wrong = [f"{name} is unknown" for name in message if name not in FIELDS]
    wrong += [f"{name} is of another kind" for name in message if type(message[name]) is not FIELDS.get(name)]
    if wrong:
        return wrong
    if message.get("app_id") != APP_ID:
        wrong.append("app_id not found.")
    if not message.get("contents", {}).get("en"):
        wrong.append("Message Notifications must have English language content")
    if "headings" in message and set(message["headings"]) != set(message["contents"]):
        wrong.append("headings need the languages of contents")
    ids = [*message.get("include_subscription_ids", []), message.get("idempotency_key", str(uuid.uuid4()))]
    wrong += [f"Incorrect format (not a valid UUID): {id_}" for id_ in ids if str(uuid.UUID(id_)) != id_]
    if not 0 <= message.get("ttl", 0) <= 2_419_200:
        wrong.append("ttl must be between 0 and 2419200")
    return [*wrong, *_button_problems(message), *_link_problems(message)]


def _button_problems(message: dict[str, Any]) -> list[str]:
    rules = {"buttons": (3, {"id", "text"}), "web_buttons": (2, {"id", "text", "url"})}
    return [
        f"{name} are not as they must be"
        for name, (most, fields) in rules.items()
        if len(message.get(name, [])) > most or any(set(button) != fields for button in message.get(name, []))
    ]


def _link_problems(message: dict[str, Any]) -> list[str]:
    wrong = [] if message.get("url", "https://").startswith("https://") else ["url must be https"]
    if ("ios_badgeCount" in message) is not (message.get("ios_badgeType") in ("SetTo", "Increase")):
        wrong.append("ios_badgeCount goes with ios_badgeType")
    return wrong
