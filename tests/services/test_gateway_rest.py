"""The gateway's REST, within the whole gateway: what it answers, to whom, and what it keeps to itself."""

import msgspec
import pytest

from api.http import Envelope
from api.security import Scope
from tests.services.gateway_fakes import READER, Gateway, attempt

ENVELOPE = set(Envelope.__struct_fields__)


async def test_the_gateways_answers_are_as_described(gateway: Gateway) -> None:
    sent = await gateway.send(request_id="a/b")
    id = sent["data"]["notifications"][0]["id"]
    gateway.store.tries[id] = [attempt()]
    schemas = (await gateway.http.get("/openapi.json")).json()["components"]["schemas"]
    for path, name in ((f"/v1/notifications/{id}", "NotificationStatus"), ("/v1/requests/a/b", "RequestStatus")):
        data = (await gateway.http.get(path, headers={"X-API-Key": READER})).json()["data"]
        assert set(data) == set(schemas[name]["properties"])
        for part, kind in (("recipient", "RecipientSummary"), ("attempts", "Attempt"), ("timeline", "LogRow")):
            shown = data.get(part, [])
            for one in shown if isinstance(shown, list) else [shown]:
                assert set(schemas[kind]["required"]) <= set(one) <= set(schemas[kind]["properties"])


@pytest.mark.parametrize("path", ["/v1/notifications/ntf_%00", f"/v1/notifications/{'x' * 300}", "/v1/requests/%00"])
async def test_what_cannot_be_an_id_names_nothing(gateway: Gateway, path: str) -> None:
    answer = await gateway.http.get(path, headers={"X-API-Key": READER})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "NOT_FOUND")


async def test_who_may_not_read_is_told_so(gateway: Gateway) -> None:
    gateway.keys.known["hg_sender"] = msgspec.structs.replace(
        gateway.keys.known[READER], scopes=frozenset({Scope.NOTIFICATIONS_SEND})
    )
    for key, status_code in ((None, 401), ("hg_unknown", 401), ("hg_sender", 403)):
        headers = {} if key is None else {"X-API-Key": key}
        for path in ("/v1/notifications/ntf_x", "/v1/requests/x"):
            answer = await gateway.http.get(path, headers=headers)
            assert (answer.status_code, set(answer.json())) == (status_code, ENVELOPE)


@pytest.mark.parametrize(
    ("method", "path", "status_code"),
    [
        ("GET", "/docs", 200),
        ("GET", "/docs/", 307),
        ("GET", "/docs/assets/init.js", 200),
        ("GET", "/openapi.json", 200),
        ("GET", "/v1/nothing", 404),
        ("POST", "/v1/requests/x", 405),
        ("GET", "/graphql/", 307),
    ],
)
async def test_the_gateway_gives_each_answer_one_correlation_id(
    gateway: Gateway, method: str, path: str, status_code: int
) -> None:
    answer = await gateway.http.request(method, path, headers={"X-Correlation-ID": "cor-1"})
    assert answer.status_code == status_code
    assert answer.headers.get_list("x-correlation-id") == ["cor-1"]
    if status_code >= 400:
        assert set(answer.json()) == ENVELOPE


async def test_what_goes_wrong_within_the_gateways_rest_is_not_told(gateway: Gateway) -> None:
    gateway.store.failing = RuntimeError("secret")
    answer = await gateway.http.get(f"/v1/notifications/ntf_{'0' * 32}", headers={"X-API-Key": READER})
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "INTERNAL")
    assert "secret" not in answer.text
