"""The audits of the npm package `graphql-http`: what GraphQL over HTTP demands, recommends and permits."""

import json

import pytest

from tests.audit.programs import node, output
from tests.servers.roles import API_KEY

REFUSED_OPTIONS: dict[str, str] = {}
"""The ids of audits that we fail on purpose, all of them a MAY, each with the reason."""


@pytest.mark.usefixtures("packages")
async def test_every_audit_passes(url: str) -> None:
    results = json.loads(await output(node("audit.mjs", url, API_KEY)))
    assert len(results) >= 60, "the package has so many"
    failed = {result["id"]: f"{result['name']}: {result['reason']}" for result in results if result["status"] != "ok"}
    assert {id: why for id, why in failed.items() if id not in REFUSED_OPTIONS} == {}
    assert set(REFUSED_OPTIONS) <= {id for id, why in failed.items() if why.startswith("MAY")}
