"""What each client does when its socket is closed is what docs/clients.md says."""

import asyncio

import pytest

from tests.architecture.test_docs import DOCS, table
from tests.clients.gateway import Gateway
from tests.clients.peer import Peer
from tests.clients.programs import recipe
from tests.servers.roles import API_KEY

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


@pytest.mark.parametrize(("key", "code"), [("hg_wrong", 4403), ("", 4403)])
async def test_a_bad_key_ends_at_once(gateway: Gateway, key: str, code: int) -> None:
    async with recipe("watch.mjs", "ntf_1", port=gateway.port, HELIOGRAPH_KEY=key) as program:
        assert await program.rest() == [f'{{"code":{code}}}']
