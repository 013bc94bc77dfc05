"""Whatever is sent, the answer is a refusal with a code or a proper answer; never a 500, never a bug's trace.

What it costs is measured by `python -m bench.hostile`, not here.
"""

import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.services import hostile
from tests.services.gateway_fakes import KEY, Gateway, running_gateway

ACCEPTED = {
    "a comment",
    "commas",
    "byte order marks",
    "a string",
    "a string of escapes",
    "a block string",
    "an empty block string",
    "operations",
    "inline fragments",
    "a chain of fragments",
}
"""Documents that are long but right."""
REFUSALS = {"LIMIT_EXCEEDED", "GRAPHQL_PARSE_FAILED", "GRAPHQL_VALIDATION_FAILED", "VALIDATION_FAILED", "BAD_REQUEST"}


@pytest.fixture
async def gateway(caplog: pytest.LogCaptureFixture) -> AsyncIterator[Gateway]:
    """A gateway that has logged no error when the test is over."""
    async with running_gateway() as running:
        with caplog.at_level(logging.ERROR):
            yield running
        assert caplog.records == []


def codes(answer: Any) -> set[str]:
    """The codes of the errors of an answer."""
    return {error["extensions"]["code"] for error in answer.get("errors", ())}


@pytest.mark.parametrize("name", sorted(hostile.DOCUMENTS.keys() - ACCEPTED))
async def test_documents_are_refused_with_a_code_before_they_run(gateway: Gateway, name: str) -> None:
    answer = await gateway.post(hostile.DOCUMENTS[name])
    assert answer.status_code in (200, 400)
    assert answer.json().get("data") is None
    assert codes(answer.json()) <= REFUSALS
    assert codes(answer.json())
    assert gateway.store.reads == []


@pytest.mark.parametrize("name", sorted(ACCEPTED))
async def test_documents_that_are_only_long_are_answered_or_refused_for_what_they_are(
    gateway: Gateway, name: str
) -> None:
    answer = await gateway.post(hostile.DOCUMENTS[name], operationName="q0" if name == "operations" else None)
    assert answer.json()["data"]


@pytest.mark.parametrize("name", hostile.VARIABLES)
async def test_variables_are_refused_with_a_code_or_taken(gateway: Gateway, name: str) -> None:
    query, variables = hostile.VARIABLES[name]
    body = hostile.text_of({"query": query, "variables": variables})
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    answer = await gateway.http.post("/graphql", content=body, headers=headers)
    assert answer.status_code == 200
    assert codes(answer.json()) <= {"VALIDATION_FAILED"}
    for error in answer.json().get("errors", ()):
        assert 1 <= len(error["extensions"]["fields"]) <= 100


@pytest.mark.parametrize("name", hostile.BODIES)
async def test_bodies_are_refused_or_taken(gateway: Gateway, name: str) -> None:
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    answer = await gateway.http.post("/graphql", content=hostile.BODIES[name], headers=headers)
    expected = (200, set()) if name == "one key again and again" else (400, {"BAD_REQUEST"})
    assert (answer.status_code, codes(answer.json())) == expected


@pytest.mark.parametrize("name", hostile.READS)
async def test_what_is_read_stays_within_the_limits(gateway: Gateway, name: str) -> None:
    await gateway.ask(hostile.READS[name])


@pytest.mark.parametrize("name", hostile.HEADERS)
async def test_headers_are_refused_or_of_no_consequence(gateway: Gateway, name: str) -> None:
    usual = [(b"Authorization", f"Bearer {KEY}".encode()), (b"Content-Type", b"application/json")]
    given = {header for header, _ in hostile.HEADERS[name]}
    headers = [*(pair for pair in usual if pair[0] not in given), *hostile.HEADERS[name]]
    answer = await gateway.http.post("/graphql", content=b'{"query": "{ __typename }"}', headers=headers)
    assert (answer.status_code, codes(answer.json())) in [
        (200, set()),
        (401, {"UNAUTHENTICATED"}),
        (406, {"NOT_ACCEPTABLE"}),
        (415, {"UNSUPPORTED_MEDIA_TYPE"}),
    ]


def test_nothing_is_larger_than_it_says() -> None:
    texts = [*hostile.DOCUMENTS.values(), *hostile.READS.values(), *hostile.FRAMES.values()]
    texts += [hostile.text_of(variables) for _, variables in hostile.VARIABLES.values()]
    assert max(map(len, [*texts, *hostile.BODIES.values()])) <= hostile.SIZE
