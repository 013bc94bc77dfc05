"""A client of the gateway as any other: GraphQL over HTTP, and graphql-transport-ws."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self

import httpx
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

SEND = """mutation Send($input: SendNotificationInput!) { send_notification(input: $input) {
  success message error { code message ... on ValidationError { fields { path code message } } }
  data { duplicate accepted request { id request_id total } notifications { id channel status } } } }"""
CANCEL = """mutation ($id: ID!) { cancel_notification(id: $id) {
  success message error { code } data { id status } } }"""
NOTIFICATION = """query ($id: ID!) { notification(id: $id) { success error { code } data {
  id status reason sequence possible_duplicate provider recipient { user_id email }
  template { key version locale locale_fallback }
  attempts { number provider outcome code detail } timeline { sequence status reason } } } }"""
EVENTS = "cursor position sequence notification_id status previous_status attempt reason"
WATCH = f"""subscription ($id: ID!, $after: String, $follow: Boolean! = false) {{
  notification_status(id: $id, after: $after, follow: $follow) {{ {EVENTS} }} }}"""
WATCH_REQUEST = f"""subscription ($id: String!, $after: String) {{
  request_status(request_id: $id, after: $after) {{ {EVENTS} }} }}"""
PROGRESS = """subscription ($id: String!) { request_progress(request_id: $id) {
  total finished percent counts { status count } } }"""
FEED = f"""subscription ($after: String, $filter: StatusFeedFilter) {{
  status_feed(after: $after, filter: $filter) {{ {EVENTS} }} }}"""

CONTENT = {"subject": "Hello", "text": "World", "title": "Hello", "body": "World"}
DEADLINE = 40.0
# A client that leaves in the middle does not wait for what is still on its way.
TIMES: dict[str, Any] = {"open_timeout": DEADLINE, "close_timeout": 0.2}


class SubscriptionError(Exception):
    """The server ended a subscription with errors."""

    def __init__(self, errors: list[dict[str, Any]]) -> None:
        self.errors = errors
        super().__init__(str(errors))


class Api:
    """One caller of one gateway."""

    def __init__(self, port: int, key: str) -> None:
        self.port, self.key = port, key
        headers = {"Authorization": f"Bearer {key}"}
        self.http = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=DEADLINE)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.aclose()

    async def call(self, query: str, **variables: Any) -> dict[str, Any]:
        """One operation's whole answer."""
        answer = await self.http.post("/graphql", json={"query": query, "variables": variables})
        whole: dict[str, Any] = answer.json()
        return whole

    async def payload(self, query: str, **variables: Any) -> dict[str, Any]:
        """The payload of an operation with one root field."""
        answer = await self.call(query, **variables)
        assert "errors" not in answer, answer
        (payload,) = answer["data"].values()
        assert isinstance(payload, dict)
        return payload

    async def send(self, **given: Any) -> dict[str, Any]:
        """Send one email (unless told otherwise); the receipt."""
        whole = {"recipient": {"email": "ada@example.com"}, "content": CONTENT, "channels": ["EMAIL"], **given}
        if given.get("template"):
            del whole["content"]
        payload = await self.payload(SEND, input=whole)
        assert payload["success"], payload
        data: dict[str, Any] = payload["data"]
        return data

    async def send_one(self, **given: Any) -> str:
        """Send one; the notification's id."""
        return str((await self.send(**given))["notifications"][0]["id"])

    async def notification(self, id: str) -> dict[str, Any]:
        """One notification as it stands."""
        data: dict[str, Any] = (await self.payload(NOTIFICATION, id=id))["data"]
        return data

    async def until(self, id: str, *statuses: str) -> dict[str, Any]:
        """Wait until the notification has one of these statuses."""
        async with asyncio.timeout(DEADLINE):
            while (found := await self.notification(id))["status"] not in statuses:  # noqa: ASYNC110 - it is elsewhere
                await asyncio.sleep(0.05)
        return found

    @asynccontextmanager
    async def subscribe(self, query: str, **variables: Any) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        """The events of one subscription on a socket of its own."""
        protocol, headers = Subprotocol("graphql-transport-ws"), {"Authorization": f"Bearer {self.key}"}
        url = f"ws://127.0.0.1:{self.port}/graphql"
        async with connect(url, subprotocols=[protocol], additional_headers=headers, **TIMES) as socket:
            await socket.send(json.dumps({"type": "connection_init"}))
            assert json.loads(await socket.recv())["type"] == "connection_ack"
            payload = {"query": query, "variables": variables}
            await socket.send(json.dumps({"id": "1", "type": "subscribe", "payload": payload}))

            async def events() -> AsyncIterator[dict[str, Any]]:
                while True:
                    async with asyncio.timeout(DEADLINE):
                        message = json.loads(await socket.recv())
                    if message["type"] == "next":
                        if "errors" in message["payload"]:
                            raise SubscriptionError(message["payload"]["errors"])
                        (event,) = message["payload"]["data"].values()
                        yield event
                    elif message["type"] == "error":
                        raise SubscriptionError(message["payload"])
                    elif message["type"] == "complete":
                        return

            yield events()

    async def watch(self, query: str, **variables: Any) -> list[dict[str, Any]]:
        """All events of a subscription that ends by itself."""
        async with self.subscribe(query, **variables) as events:
            return [event async for event in events]

    async def watch_in_pieces(self, query: str, piece: int, **variables: Any) -> list[dict[str, Any]]:
        """The same over many sockets: drop after every `piece` events and go on from the last cursor."""
        seen: list[dict[str, Any]] = []
        after: str | None = None
        while True:
            count = 0
            async with self.subscribe(query, after=after, **variables) as events:
                async for event in events:
                    seen.append(event)
                    after, count = event["cursor"], count + 1
                    if count == piece:
                        break
                else:
                    return seen
