"""What is shown of the schema to those who ask for it, and what is not."""

from typing import Any

import pytest
from graphql import get_introspection_query

from api.gateway.validation import Policy
from tests.services.gateway_fakes import SEND, running_gateway

CLOSED = Policy(introspection=False, suggestions=False)
MISSPELT = "{ notificatio { success } }"
WRONG = {"input": {"recipiant": {"email": "a@b.io"}, "priority": "NORMALL"}}


async def errors_of(policy: Policy, query: str, variables: Any = None) -> list[dict[str, Any]]:
    """The errors of an answer without data."""
    async with running_gateway(policy=policy) as gateway:
        answer = (await gateway.post(query, variables)).json()
    assert "data" not in answer
    errors: list[dict[str, Any]] = answer["errors"]
    return errors


@pytest.mark.parametrize("query", [get_introspection_query(), '{ __type(name: "User") { name } }'])
async def test_without_introspection_nobody_is_shown_the_schema(query: str) -> None:
    errors = await errors_of(Policy(introspection=False), query)
    assert {error["extensions"]["code"] for error in errors} == {"GRAPHQL_VALIDATION_FAILED"}
    assert "introspection" in errors[0]["message"]


async def test_typename_is_no_introspection() -> None:
    async with running_gateway(policy=CLOSED) as gateway:
        assert await gateway.ask("{ __typename }") == {"__typename": "Query"}


@pytest.mark.parametrize(
    ("query", "variables"), [(MISSPELT, None), (SEND, WRONG), ("{ user(idd: 1) { success } }", None)]
)
async def test_names_are_suggested_by_setting(query: str, variables: Any) -> None:
    assert "Did you mean" in str(await errors_of(Policy(), query, variables))
    assert "Did you mean" not in str(await errors_of(CLOSED, query, variables))


async def test_a_closed_gateway_serves_what_an_open_one_serves() -> None:
    async with running_gateway(policy=CLOSED) as gateway:
        assert (await gateway.send())["success"]


async def test_a_document_has_few_errors_however_wrong_it_is() -> None:
    errors = await errors_of(Policy(), "{" + " notificatio" * 100 + " }")
    assert len(errors) <= 6
