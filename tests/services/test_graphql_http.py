"""GraphQL over HTTP: who gets in, what is refused and how, and that nothing of ours leaks."""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from graphql import (
    get_introspection_query,
)

from api.gateway import graphql_http
from api.gateway.graphql_http import PARTIAL_SUCCESS
from tests.services.gateway_fakes import KEY, Gateway

ADA = {"email": "ada@example.com"}
CONTENT = {"subject": "Hi", "text": "Hello"}


READ = """query ($id: ID!) { notification(id: $id) {
  success error { __typename code message ... on NotFoundError { id } }
  data { id status created_at attempts { number provider outcome } timeline { sequence status cursor position
    notification { id status } } recipient { user { id name } } } } }"""


def error_of(answer: dict[str, Any]) -> dict[str, Any]:
    """The one top-level error."""
    assert "data" not in answer or answer["data"] is None
    error: dict[str, Any]
    (error,) = answer["errors"]
    return error


@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Bearer hg_wrong"}, {"Authorization": "Basic eA=="}, {"X-API-Key": "x"}]
)
async def test_nobody_gets_in_without_a_key(gateway: Gateway, headers: dict[str, str]) -> None:
    answer = await gateway.http.post("/graphql", json={"query": "{ __typename }"}, headers=headers)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert error_of(answer.json())["extensions"] == {"code": "UNAUTHENTICATED"}


async def test_either_header_carries_the_key(gateway: Gateway) -> None:
    for headers in ({"Authorization": f"bearer {KEY}"}, {"X-API-Key": KEY}):
        answer = await gateway.http.post("/graphql", json={"query": "{ __typename }"}, headers=headers)
        assert answer.json() == {"data": {"__typename": "Query"}}


async def test_a_database_that_is_away_is_503(gateway: Gateway) -> None:
    gateway.keys.away = True
    answer = await gateway.post("{ __typename }")
    assert (answer.status_code, error_of(answer.json())["extensions"]["code"]) == (503, "UPSTREAM_UNAVAILABLE")


@pytest.mark.parametrize(
    "body",
    [b'"x"', b"5", b"null", b"[]", b"", b"{", b"\xff\xfe", b'{"query": NaN}', b"[" * 100_000, b'{"query": "\\ud800"}',
     b'{"query": 5}', b'{"query": "{ a }", "variables": 5}', b'{"query": "{ a }", "operationName": 5}',
     b'{"query": "{ a }", "extensions": 5}', b'{"qeury": "{ a }"}'],
)  # fmt: skip
async def test_a_body_that_is_no_request_is_400_as_json(gateway: Gateway, body: bytes) -> None:
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    answer = await gateway.http.post("/graphql", content=body, headers=headers)
    assert (answer.status_code, error_of(answer.json())["extensions"]["code"]) == (400, "BAD_REQUEST")


async def test_methods_types_and_sizes_are_refused_as_json(gateway: Gateway) -> None:
    headers = {"Authorization": f"Bearer {KEY}"}
    form = await gateway.http.post("/graphql", data={"query": "{ __typename }"}, headers=headers)
    put = await gateway.http.put("/graphql", json={}, headers=headers)
    large = await gateway.post("{ __typename }", {"x": "y" * 5_000_000})
    assert [form.status_code, put.status_code, large.status_code] == [415, 405, 413]
    assert all(error_of(answer.json()) for answer in (form, put, large))


async def test_get_is_for_queries(gateway: Gateway) -> None:
    headers = {"Authorization": f"Bearer {KEY}"}
    query = {"query": "query ($i: ID!) { node(id: $i) { id } }", "variables": '{"i": "nobody"}'}
    assert (await gateway.http.get("/graphql", params=query, headers=headers)).json() == {"data": {"node": None}}
    change = {"query": 'mutation { cancel_notification(id: "x") { success } }'}
    answer = await gateway.http.get("/graphql", params=change, headers=headers)
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize(
    "content_type", ["application/json", "Application/JSON; charset=UTF-8", 'application/json;charset="utf8"']
)
async def test_a_body_is_json_in_utf_8(gateway: Gateway, content_type: str) -> None:
    answer = await gateway.post('{ __type(name: "Läufer 🏃") { name } }', headers={"Content-Type": content_type})
    assert answer.json() == {"data": {"__type": None}}


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": ""},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "multipart/form-data; boundary=x"},
        {"Content-Type": "application/graphql"},
        {"Content-Type": "application/json; charset=utf-16"},
        {"Content-Type": "application/json; charset=latin-1; note=utf-8"},
        {"Content-Encoding": "gzip"},
    ],
)
async def test_no_page_of_a_stranger_can_send_a_body_that_is_taken(gateway: Gateway, headers: dict[str, str]) -> None:
    answer = await gateway.post("{ __typename }", headers=headers)
    assert (answer.status_code, error_of(answer.json())["extensions"]["code"]) == (415, "UNSUPPORTED_MEDIA_TYPE")


@pytest.mark.parametrize("accept", ["image/png", "text/html", "application/json;q=0", "text/plain, image/*"])
async def test_who_takes_nothing_that_we_have_is_told_so_as_json(gateway: Gateway, accept: str) -> None:
    answer = await gateway.post("{ __typename }", headers={"Accept": accept})
    assert (answer.status_code, answer.headers["content-type"]) == (406, "application/json; charset=utf-8")
    assert error_of(answer.json())["extensions"]["code"] == "NOT_ACCEPTABLE"


async def test_parameters_of_a_url_that_are_empty_are_left_out(gateway: Gateway) -> None:
    headers = {"Authorization": f"Bearer {KEY}"}
    query = {"query": "{ __typename }", "variables": "", "operationName": "", "extensions": "", "unknown": "1"}
    answer = await gateway.http.get("/graphql", params=query, headers=headers)
    assert answer.json() == {"data": {"__typename": "Query"}}
    for name in ("variables", "extensions"):
        answer = await gateway.http.get("/graphql", params={**query, name: "{"}, headers=headers)
        assert (answer.status_code, error_of(answer.json())["extensions"]["code"]) == (400, "BAD_REQUEST")


async def test_what_is_not_understood_in_a_body_is_passed_over(gateway: Gateway) -> None:
    answer = await gateway.post("{ __typename }", extensions={"some": "value"}, unknown=[1], operationName=None)
    assert answer.json() == {"data": {"__typename": "Query"}}


async def test_head_is_get_without_a_body_and_options_lists_the_methods(gateway: Gateway) -> None:
    headers = {"Authorization": f"Bearer {KEY}"}
    head = await gateway.http.head("/graphql", params={"query": "{ __typename }"}, headers=headers)
    assert (head.status_code, head.headers["content-type"]) == (200, "application/json; charset=utf-8")
    options = await gateway.http.options("/graphql")
    assert (options.status_code, options.headers["allow"]) == (204, "GET, HEAD, POST, OPTIONS")


@pytest.mark.parametrize(
    ("accept", "status"), [("application/json", 200), ("application/graphql-response+json", PARTIAL_SUCCESS)]
)
async def test_a_result_with_errors_is_a_partial_success(gateway: Gateway, accept: str, status: int) -> None:
    gateway.store.failing = RuntimeError("a bug")
    answer = await gateway.post(
        '{ __typename node(id: "ntf_018f0000000070008000000000000000") { id } }', headers={"Accept": accept}
    )
    assert (answer.status_code, answer.json()["data"]) == (status, {"__typename": "Query", "node": None})
    assert answer.json()["errors"]


async def test_a_body_that_does_not_come_is_not_waited_for(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphql_http, "BODY_SECONDS", 0.05)

    async def slow() -> AsyncIterator[bytes]:
        yield b'{"query": '
        await asyncio.Event().wait()

    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    answer = await gateway.http.post("/graphql", content=slow(), headers=headers)
    assert (answer.status_code, answer.headers["connection"]) == (408, "close")
    assert error_of(answer.json())["extensions"]["code"] == "REQUEST_TIMEOUT"


async def test_subscriptions_are_refused_over_plain_http(gateway: Gateway) -> None:
    answer = await gateway.post("subscription { status_feed { cursor } }")
    assert answer.status_code == 400
    assert "WebSocket" in error_of(answer.json())["message"]


@pytest.mark.parametrize(
    ("accept", "status", "media_type"),
    [
        ("", 200, "application/json"),
        ("*/*", 200, "application/json"),
        ("application/json", 200, "application/json"),
        (
            "text/event-stream, application/graphql-response+json, application/json",
            400,
            "application/graphql-response+json",
        ),
        ("application/graphql-response+json;q=0.5, application/json;q=0.9", 200, "application/json"),
    ],
)
@pytest.mark.parametrize("query", ["{", "{ nothing }", "query ($a: ID!) { node(id: $a) { id } }"])
async def test_a_request_error_has_no_data_and_the_status_of_its_media_type(
    gateway: Gateway, query: str, accept: str, status: int, media_type: str
) -> None:
    answer = await gateway.post(query, headers={"Accept": accept})
    assert (answer.status_code, answer.headers["content-type"]) == (status, f"{media_type}; charset=utf-8")
    assert "data" not in answer.json()
    assert error_of(answer.json())["extensions"]["code"]


async def test_several_operations_need_a_name(gateway: Gateway) -> None:
    query = "query A { __typename } query B { __schema { queryType { name } } }"
    assert "operationName" in error_of((await gateway.post(query)).json())["message"]
    assert (await gateway.post(query, operationName="A")).json() == {"data": {"__typename": "Query"}}
    assert (await gateway.post(query, operationName="C")).status_code == 400


async def test_a_bug_is_masked_logged_and_found_by_its_correlation_id(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    gateway.store.failing = RuntimeError("secret of the database")
    with caplog.at_level(logging.ERROR):
        answer = await gateway.post(READ, {"id": "ntf_" + "0" * 32}, headers={"X-Correlation-ID": "trace-me"})
    error = answer.json()["errors"][0]
    assert error["message"] == "Internal error"
    assert error["extensions"] == {"code": "INTERNAL_SERVER_ERROR", "correlation_id": "trace-me"}
    assert "secret" not in answer.text
    assert "trace-me" in caplog.text
    assert "secret of the database" in caplog.text


HOSTILE = {
    "long": "{ __typename #" + "x" * 70_000 + "\n}",
    "tokens": "{" + " __typename" * 5_000 + "}",
    "deep": "{ notification(id: 1) { data { " + "timeline { notification { " * 20 + "id" + " } }" * 20 + " } } }",
    "aliases": "{" + "".join(f" a{n}: __typename" for n in range(40)) + "}",
    "same field": "{" + " user(id: 1) { data { id } }" * 400 + "}",
    "mutations": "mutation {" + ' remove_device(id: "x") { success }' * 6 + "}",
    "expanding": "{ ...F0 } "
    + "".join(f"fragment F{n} on Query {{ ...F{n + 1} ...F{n + 1} }} " for n in range(40))
    + "fragment F40 on Query { user(id: 1) { success } }",
    "circle": "{ ...F } fragment F on Query { ...F }",
    "cost": "{ notifications(limit: 100) { data { timeline { notification { timeline { notification { "
    "timeline { status } attempts { code } } } } } } } }",
    "introspection": "{ __schema { types { fields" + " { type { fields" * 8 + " { name }" + " } }" * 8 + " } } }",
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.timeout(5)
async def test_hostile_documents_are_refused_before_they_run(gateway: Gateway, name: str) -> None:
    answer = await gateway.post(HOSTILE[name])
    assert {error["extensions"]["code"] for error in answer.json()["errors"]} <= {
        "LIMIT_EXCEEDED",
        "GRAPHQL_PARSE_FAILED",
        "GRAPHQL_VALIDATION_FAILED",
    }
    assert gateway.store.reads == []


async def test_introspection_as_tools_ask_for_it_passes(gateway: Gateway) -> None:
    query = get_introspection_query(descriptions=True, specified_by_url=True, input_value_deprecation=True)
    assert (await gateway.ask(query))["__schema"]["queryType"]["name"] == "Query"


async def test_a_known_document_is_not_parsed_again(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    query = "{ __typename }"
    await gateway.ask(query)

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("parsed again")

    monkeypatch.setattr("strawberry.schema.schema.parse", fail)
    monkeypatch.setattr("strawberry.schema.schema.validate", fail)
    assert await gateway.ask(query) == {"__typename": "Query"}
