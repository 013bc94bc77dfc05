"""Schemathesis makes up operations from the schema; whatever they ask, a running gateway answers as it promises."""

from pathlib import Path
from typing import Any

import pytest
import schemathesis
from graphql import build_schema
from hypothesis import given
from hypothesis import strategies as st
from schemathesis.core.result import Ok
from schemathesis.graphql import nodes

from tests.fuzz.effort import effort
from tests.servers.roles import API_KEY, Process

EXAMPLES = 8
"""For each field of `Query` and `Mutation`."""
EXPECTED = {
    "FORBIDDEN",
    "GRAPHQL_PARSE_FAILED",
    "GRAPHQL_VALIDATION_FAILED",
    "LIMIT_EXCEEDED",
    "NOT_FOUND",
    "RATE_LIMITED",
    "VALIDATION_FAILED",
}
"""What a client can bring about by what it asks; anything else is ours."""

TIMES = st.datetimes().map(lambda moment: moment.isoformat() + "Z")
schemathesis.graphql.scalar("DateTime", st.one_of(TIMES, st.text(max_size=30)).map(nodes.String))
schemathesis.graphql.scalar("BigInt", st.integers().map(nodes.Int))
schemathesis.graphql.scalar(
    "JSON",
    st.one_of(
        st.text(max_size=20).map(nodes.String),
        st.integers().map(nodes.Int),
        st.floats(allow_nan=False, allow_infinity=False).map(nodes.Float),
        st.booleans().map(nodes.Boolean),
    ),
)


ROOT_SCHEMA = Path(__file__).parents[2] / "schema.graphql"
SCHEMA = schemathesis.graphql.from_path(str(ROOT_SCHEMA))
# Its own way to make tests does not fit this pytest.
OPERATIONS = {found.ok().label: found.ok() for found in SCHEMA.get_all_operations() if isinstance(found, Ok)}


def test_every_field_is_asked_for() -> None:
    roots = build_schema(ROOT_SCHEMA.read_text())
    assert roots.query_type is not None
    assert roots.mutation_type is not None
    fields = {f"Query.{name}" for name in roots.query_type.fields}
    assert OPERATIONS.keys() == fields | {f"Mutation.{name}" for name in roots.mutation_type.fields}


@pytest.mark.parametrize("name", OPERATIONS)
def test_whatever_is_asked_is_answered(process: Process, name: str) -> None:
    url, headers = f"http://127.0.0.1:{process.port}/graphql", {"Authorization": f"Bearer {API_KEY}"}

    @effort(EXAMPLES)
    @given(OPERATIONS[name].as_strategy())
    def ask(case: Any) -> None:
        response = case.call(base_url=url, headers=headers)
        assert response.status_code == 200, response.text
        answer = response.json()
        codes = {error["extensions"]["code"] for error in answer.get("errors", ())}
        assert codes <= EXPECTED, response.text
        assert codes or answer["data"] is not None

    ask()
