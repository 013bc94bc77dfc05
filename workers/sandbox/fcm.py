"""A local FCM: answers `POST /v1/projects/{project}/messages:send` as the published HTTP v1 API does.

It keeps what it accepts, so that a developer can look at it and a test can assert on it. Tokens choose their fate by
containing one of the words in `workers.sandbox.fates`; every other token is accepted.
"""

import asyncio
import json
import uuid
from collections import OrderedDict, deque
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from domain.ids import NOTIFICATION, is_id
from workers.sandbox.afterwards import Afterwards
from workers.sandbox.fates import Play, PushFate, push_fate
from workers.sandbox.fcm_refusals import UNAUTHENTICATED, UNAVAILABLE, Refusal, invalid
from workers.sandbox.server import LocalServer

MAX_BODY = 64 * 1024
MAX_PAYLOAD = 4096
SLOW_SECONDS = 2.0


class ReceivedPush(msgspec.Struct, frozen=True, kw_only=True):
    """A message that was accepted, as it came over the wire (`message` is FCM's Message resource)."""

    id: str
    name: str
    project: str
    token: str
    message: dict[str, Any]
    received_at: datetime


class FcmStore:
    """The last `capacity` messages that the endpoint accepted, oldest first."""

    def __init__(self, capacity: int = 1000) -> None:
        self._messages: deque[ReceivedPush] = deque(maxlen=capacity)  # of 64 kB each at most: `MAX_BODY`
        self._refused_once: OrderedDict[str, None] = OrderedDict()
        self._capacity = capacity

    @property
    def messages(self) -> list[ReceivedPush]:
        """What was accepted, oldest first. A copy."""
        return list(self._messages)

    def find(self, id: str) -> ReceivedPush | None:
        """A message that is still kept."""
        return next((push for push in self._messages if push.id == id), None)

    def accept(self, project: str, message: dict[str, Any]) -> str:
        """Keep a message; answers with the name that it got."""
        id = uuid.uuid4()
        name = f"projects/{project}/messages/{id}"
        received = datetime.now(UTC)
        self._messages.append(
            ReceivedPush(
                id=id.hex, name=name, project=project, token=message["token"], message=message, received_at=received
            )
        )
        return name

    def refuse_once(self, message: dict[str, Any]) -> bool:
        """True the first time that this notification comes for this token. Remembers `capacity` of them."""
        data = message.get("data") or {}
        key = json.dumps([message["token"], data.get("notification_id") or message], sort_keys=True)
        if key in self._refused_once:
            return False
        self._refused_once[key] = None
        if len(self._refused_once) > self._capacity:
            self._refused_once.popitem(last=False)
        return True

    def clear(self) -> None:
        """Forget everything."""
        self._messages.clear()
        self._refused_once.clear()


def fcm_app(store: FcmStore, slow: float = SLOW_SECONDS, afterwards: Afterwards | None = None) -> Starlette:
    """The endpoint as an ASGI application, fit to be mounted. `slow` is how long `sandbox-slow` takes, in seconds."""
    told = afterwards or Afterwards()

    async def send(request: Request) -> JSONResponse:
        return await _answer(request, store, slow, told)

    return Starlette(routes=[Route("/v1/projects/{project}/messages:send", send, methods=["POST"])])


async def _answer(request: Request, store: FcmStore, slow: float, afterwards: Afterwards) -> JSONResponse:
    if not request.headers.get("authorization", "").startswith("Bearer "):
        return UNAUTHENTICATED.response()
    body = await _read(request)
    message = body if isinstance(body, Refusal) else _message(body)
    if isinstance(message, Refusal):
        return message.response()
    fate = push_fate(message["token"])
    if fate.refusal is not None and (not fate.once or store.refuse_once(message)):
        return fate.refusal.response()
    if fate.play is Play.HANG:
        await _until_gone(request)
        return UNAVAILABLE.response()  # nobody is there to read it
    if fate.play is Play.SLOW:
        await asyncio.sleep(slow)
    if body.get("validate_only") is True:
        return JSONResponse({"name": f"projects/{request.path_params['project']}/messages/fake_message_id"})
    name = store.accept(request.path_params["project"], message)
    _announce(message, fate, afterwards)
    return JSONResponse({} if fate.play is Play.NAMELESS else {"name": name})


def _announce(message: Mapping[str, Any], fate: PushFate, afterwards: Afterwards) -> None:
    id = (message.get("data") or {}).get("notification_id", "")
    if is_id(NOTIFICATION, id):
        afterwards.expect(id, fate.later)


async def _read(request: Request) -> Any:
    """The JSON body, or why it is refused. Never holds more than `MAX_BODY` bytes and one chunk."""
    raw = bytearray()
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > MAX_BODY:
            return invalid("Request payload size exceeds the limit.")
    try:
        return json.loads(raw)
    except ValueError:
        return invalid("Invalid JSON payload received.")


def _message(body: Any) -> dict[str, Any] | Refusal:
    """The message of a request, checked as far as we can know FCM's checks."""
    message = body.get("message") if isinstance(body, Mapping) else None
    if not isinstance(message, dict):
        return invalid("Invalid value at 'message'.")
    if not isinstance(message.get("token"), str) or not message["token"]:
        return invalid("Recipient of the message is not set.")
    data = message.get("data", {})
    if not isinstance(data, dict) or not all(isinstance(value, str) for value in data.values()):
        return invalid("Invalid value at 'message.data' (TYPE_STRING)")
    return invalid("Message is too big.") if _size(message) > MAX_PAYLOAD else message


def _size(message: dict[str, Any]) -> int:
    """Bytes of what the device gets: the texts, and the data with its keys."""
    notification = message.get("notification")
    texts = list(notification.values()) if isinstance(notification, dict) else []
    parts = [*texts, message.get("data", {})]
    return len(json.dumps(parts, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass"))


async def _until_gone(request: Request) -> None:
    """Wait until the client has given up: nothing piles up behind a token that never answers."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


class FcmEndpoint:
    """The endpoint on a port of its own, on the running event loop. Port 0 takes a free one.

    `capacity` bounds what `store` remembers.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        capacity: int = 1000,
        *,
        slow: float = SLOW_SECONDS,
        afterwards: Afterwards | None = None,
    ) -> None:
        self.store = FcmStore(capacity)
        self._server = LocalServer(fcm_app(self.store, slow, afterwards), host, port)

    @property
    def port(self) -> int:
        """The port that it listens on; known once it was started."""
        return self._server.port

    @property
    def url(self) -> str:
        """What to give `FcmProvider` as its `url`."""
        return self._server.url

    async def start(self) -> None:
        """Listen. Returns when connections are answered; raises `OSError` when the port is taken."""
        await self._server.start()

    async def stop(self) -> None:
        """Stop listening; requests that hang are dropped. May be called twice."""
        await self._server.stop()
