"""Send an email: python gql_send.py ada@example.com"""

import asyncio
import os
import sys

from gql import Client, gql
from gql.transport.httpx import HTTPXAsyncTransport

URL = os.environ.get("HELIOGRAPH_URL", "http://localhost:8000")
HEADERS = {"Authorization": f"Bearer {os.environ['HELIOGRAPH_KEY']}"}
SEND = """mutation Send($input: SendNotificationInput!) {
  send_notification(input: $input) {
    success
    error { code message ... on ValidationError { fields { path message } } }
    data { notifications { id status } }
  }
}"""


async def main(email: str) -> None:
    request = gql(SEND)
    request.variable_values = {"input": {"recipient": {"email": email}, "content": {"subject": "Hi", "text": "Hello"}}}
    async with Client(transport=HTTPXAsyncTransport(f"{URL}/graphql", headers=HEADERS)) as session:
        payload = (await session.execute(request))["send_notification"]
    if payload["success"]:
        print(payload["data"]["notifications"][0]["id"])
    else:
        print(payload["error"])


asyncio.run(main(sys.argv[1]))
