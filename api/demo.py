"""What `make run` shows first: one email and one push through the whole path, with their live status.

It is a client like any other: GraphQL over HTTP to send, graphql-transport-ws to watch.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any

import httpx

from api import subscriber
from api.cli.show import event_line
from api.embedded import development_key
from api.settings import Settings

DEADLINE = 20.0
USER = "usr_demo"
TEMPLATE = "welcome"

CREATE_USER = """mutation ($input: CreateUserInput!) { create_user(input: $input) { success message } }"""
REGISTER_DEVICE = """mutation ($user: ID!, $input: RegisterDeviceInput!) {
  register_device(user_id: $user, input: $input) { success message } }"""
CREATE_TEMPLATE = """mutation ($input: CreateTemplateInput!) { create_template(input: $input) { success message } }"""
SEND = """mutation ($input: SendNotificationInput!) {
  send_notification(input: $input) { success message data { request { request_id } } } }"""
WATCH = """subscription ($id: String!) {
  request_status(request_id: $id) { sequence channel status provider reason occurred_at } }"""

WELCOME = {
    "key": TEMPLATE,
    "name": "Welcome",
    "default_locale": "en",
    "publish": True,
    "version": {
        "locales": [
            {
                "locale": "en",
                "subject": "Welcome, {{ name }}",
                "html": "<h1>Hello {{ name }}</h1><p>This mail went the whole way; each step was logged.</p>",
                "title": "Welcome, {{ name }}",
                "body": "This push went the whole way too.",
            },
            {
                "locale": "de",
                "subject": "Willkommen, {{ name }}",
                "html": "<h1>Hallo {{ name }}</h1><p>Diese Mail ging den ganzen Weg.</p>",
                "title": "Willkommen, {{ name }}",
                "body": "Auch dieser Push ging den ganzen Weg.",
            },
        ]
    },
}


class Demo:
    """Shows the system that listens on this machine. Running it again sends again, to the same user."""

    def __init__(self, settings: Settings, say: Callable[[str], None] = print) -> None:
        self._key = settings.api_key or development_key(Path(settings.var_dir))
        self._var_dir = settings.var_dir
        self._say = say

    async def show(self, port: int) -> None:
        """Send, print the live status, and say where everything is. Failing is printed, never raised."""
        base = f"http://127.0.0.1:{port}"
        try:
            async with asyncio.timeout(DEADLINE), httpx.AsyncClient(base_url=base, headers=self._headers()) as client:
                await self._prepare(client)
                await self._send_and_watch(client, base)
        except (TimeoutError, OSError, httpx.HTTPError, RuntimeError, subscriber.Lost, subscriber.Refused) as error:
            self._say(f"The demonstration did not get through: {error!r}")
        self._say(self._addresses(base))

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._key}"}

    async def _prepare(self, client: httpx.AsyncClient) -> None:
        """The demo user and template; a second start finds them there."""
        user = {"id": USER, "email": "ada@sandbox.heliograph.test", "name": "Ada", "locale": "en-GB"}
        await self._call(client, CREATE_USER, {"input": user})
        device = {"platform": "WEB", "token": "sandbox-demo-device"}
        await self._call(client, REGISTER_DEVICE, {"user": USER, "input": device})
        await self._call(client, CREATE_TEMPLATE, {"input": WELCOME})

    async def _send_and_watch(self, client: httpx.AsyncClient, base: str) -> None:
        notification = {
            "recipient": {"user_id": USER},
            "template": {"key": TEMPLATE},
            "variables": {"name": "Ada"},
            "channels": ["EMAIL", "PUSH"],
        }
        payload = (await self._call(client, SEND, {"input": notification}))["send_notification"]
        if not payload["success"]:
            raise RuntimeError(payload["message"])
        request_id = payload["data"]["request"]["request_id"]
        self._say(f"\nSent one email and one push to the demo user ({request_id}). Live status:\n")
        async with aclosing(subscriber.results(base, self._key, WATCH, {"id": request_id})) as events:
            async for event in events:
                self._say(f"  {event_line(event).plain}")

    async def _call(self, client: httpx.AsyncClient, query: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        answer = (await client.post("/graphql", json={"query": query, "variables": variables})).json()
        if "errors" in answer:
            raise RuntimeError(answer["errors"][0]["message"])
        data: dict[str, Any] = answer["data"]
        return data

    def _addresses(self, base: str) -> str:
        return f"""
Heliograph is running. Stop it with Ctrl-C; what it accepted stays in {self._var_dir}.

  GraphiQL        {base}/graphql
  REST            {base}/docs
  API key         {self._key}
  Sandbox inbox   {base}/sandbox/inbox
  Health          {base}/health
"""
