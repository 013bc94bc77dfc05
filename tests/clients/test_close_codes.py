"""What each client does when its socket is closed is what docs/clients.md says."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from tests.architecture.test_docs import DOCS, table
from tests.clients.gateway import Gateway
from tests.clients.peer import Peer
from tests.clients.programs import recipe
from tests.e2e.api import Api
from tests.servers.roles import API_KEY

CREATE_KEY = (
    """mutation ($input: CreateApiKeyInput!) { create_api_key(input: $input) { data { secret key { id } } } }"""
)
REVOKE_KEY = "mutation ($id: ID!) { revoke_api_key(id: $id) { success } }"
ROWS = table(DOCS / "clients.md", "close code")


async def reaction(name: str, cell: str) -> str:
    """What a recipe does when its first connection ends as the cell of the table says."""
    code, _, when = cell.partition(" ")
    peer = Peer(int(code) if code.isdigit() else None, acknowledged=when != "at once")
    async with peer.serve(), recipe(name, "ntf_1", port=peer.port, HELIOGRAPH_KEY=API_KEY) as program:
        await program.rest()
    return "connects again" if peer.connections == 2 else "ends"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
async def test_each_client_does_what_the_table_says(row: list[str]) -> None:
    code, _, node, python = row
    reactions = await asyncio.gather(reaction("watch.mjs", code), reaction("gql_watch.py", code))
    assert list(reactions) == [node, python]


async def test_the_table_has_every_close_code_of_the_gateway() -> None:
    gateway = {row[0] for row in table(DOCS / "live-status.md", "close code")}
    assert gateway <= {row[0].split()[0] for row in ROWS}


@pytest.mark.parametrize("key", ["hg_wrong", ""])
async def test_a_bad_key_ends_at_once(gateway: Gateway, key: str) -> None:
    async with recipe("watch.mjs", "ntf_1", port=gateway.port, HELIOGRAPH_KEY=key) as program:
        assert await program.rest() == ['{"code":4403}']


async def test_a_key_that_is_revoked_is_tried_once_more(gateway: Gateway, api: Api) -> None:
    id = await api.send_one(send_at=(datetime.now(UTC) + timedelta(hours=1)).isoformat())
    made = (await api.payload(CREATE_KEY, input={"name": "page", "scopes": ["notifications:read"]}))["data"]
    async with recipe("watch.mjs", id, port=gateway.port, HELIOGRAPH_KEY=made["secret"]) as program:
        await program.until("SCHEDULED")
        assert (await api.payload(REVOKE_KEY, id=made["key"]["id"]))["success"]
        assert (await program.rest())[1:] == ['{"code":4403}']
