"""A gateway in memory in place of the network, for the commands that ask one."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from api.cli import gateway as cli_gateway
from tests.services.gateway_fakes import KEY, Gateway

Handle = Callable[[httpx.Request], httpx.Response]


def answer_with(monkeypatch: pytest.MonkeyPatch, handle: Handle) -> None:
    """Have this answer instead of the network."""

    def client_of(url: str, key: str) -> httpx.Client:
        headers = {"Authorization": f"Bearer {key}"}
        return httpx.Client(base_url=url, headers=headers, transport=httpx.MockTransport(handle))

    monkeypatch.setattr(cli_gateway, "client_of", client_of)


def ask_instead(gateway: Gateway, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Have commands ask this gateway, as somebody whose surroundings name the key."""

    def handle(request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        key = request.headers["authorization"].removeprefix("Bearer ")
        answer = asyncio.run(gateway.post(body["query"], body["variables"], key=key))
        return httpx.Response(answer.status_code, content=answer.content)

    answer_with(monkeypatch, handle)
    monkeypatch.setenv("HELIOGRAPH_API_KEY", KEY)
    monkeypatch.setenv("HELIOGRAPH_VAR_DIR", str(folder))
