"""Watch a notification until its final status, whatever is restarted meanwhile: python gql_watch.py ntf_…"""

import asyncio
import json
import os
import random
import sys
from collections.abc import AsyncIterator
from typing import Any

from gql import Client, gql
from gql.transport.exceptions import TransportConnectionFailed
from gql.transport.websockets import WebsocketsTransport
from websockets.exceptions import ConnectionClosed

URL = os.environ.get("HELIOGRAPH_URL", "http://localhost:8000").replace("http", "ws", 1)
CREDENTIALS = {"Authorization": f"Bearer {os.environ['HELIOGRAPH_KEY']}"}
WATCH = """subscription Watch($id: ID!, $after: String) {
  notification_status(id: $id, after: $after) { cursor position notification_id sequence status }
}"""
LOST = {1001, 1005, 1006, 1012, 1013, 4408}
"""The close codes after which to connect again."""


async def events(query: str, after: str | None = None, **variables: Any) -> AsyncIterator[dict[str, Any]]:
    """The events of a subscription, each once. Raises what neither time nor another connection can mend."""
    failures = 0
    while True:
        transport = WebsocketsTransport(f"{URL}/graphql", init_payload=CREDENTIALS, close_timeout=2)
        request = gql(query)
        request.variable_values = {**variables, "after": after}
        try:
            async with Client(transport=transport) as session:
                async for result in session.subscribe(request):
                    (event,) = result.values()
                    yield event
                    after, failures = event["cursor"], 0
            return
        except (TransportConnectionFailed, TimeoutError) as error:
            if close_code(error) not in LOST:
                raise
        await asyncio.sleep(random.uniform(0, min(30, 0.5 * 2**failures)))
        failures += 1


def close_code(error: Exception) -> int:
    """What the gateway closed the socket with; 1006 where it could not say or was not there."""
    closed = error.__cause__
    return closed.rcvd.code if isinstance(closed, ConnectionClosed) and closed.rcvd else 1006


async def main(id: str) -> None:
    async for event in events(WATCH, id=id):
        print(json.dumps(event), flush=True)


asyncio.run(main(sys.argv[1]))
