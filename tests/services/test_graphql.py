"""GraphQL's operations: the envelope, expected failures as data, one call for what many objects need."""

from typing import Any

import pytest

from domain.errors import UpstreamUnavailable
from domain.notification import Status
from tests.services.gateway_fakes import KEY, READER, SEND, Gateway, attempt

ADA = {"email": "ada@example.com"}
CONTENT = {"subject": "Hi", "text": "Hello"}


def error_of(answer: dict[str, Any]) -> dict[str, Any]:
    """The one top-level error."""
    assert "data" not in answer or answer["data"] is None
    error: dict[str, Any]
    (error,) = answer["errors"]
    return error


# ------------------------------------------------------------------------------------------------------------ sending


async def test_sending_answers_from_the_receipt_alone(gateway: Gateway) -> None:
    payload = await gateway.send(request_id="order-1")
    assert (payload["success"], payload["error"], payload["data"]["accepted"]) == (True, None, 1)
    assert payload["data"]["notifications"][0]["status"] == "ACCEPTED"
    assert gateway.store.reads == []


async def test_the_same_request_again_is_a_duplicate_and_another_input_a_conflict(gateway: Gateway) -> None:
    first = await gateway.send(request_id="order-1")
    again = await gateway.send(request_id="order-1")
    assert again["data"]["duplicate"] is True
    assert again["data"]["notifications"] == first["data"]["notifications"]
    other = await gateway.send(request_id="order-1", content={"subject": "Other", "text": "Hello"})
    assert (other["success"], other["error"]["__typename"], other["error"]["request_id"]) == (
        False,
        "ConflictError",
        "order-1",
    )


BAD_INPUT: list[tuple[dict[str, Any], list[str]]] = [
    ({"recipient": {"user_id": "nobody"}}, ["recipient", "user_id"]),
    ({"content": None, "template": {"key": "nothing"}}, ["template", "key"]),
    ({"content": {"subject": "Hi {{ name }}", "text": "Hello"}}, ["variables", "name"]),
    ({"recipient": {"email": "not an address"}}, ["recipient", "email"]),
    ({"recipient": {"device_token": "x y"}}, ["recipient", "device_token"]),
    ({"send_at": "2020-01-01T00:00:00Z"}, ["send_at"]),
    ({"send_at": "2020-01-01T00:00:00"}, ["send_at"]),
    ({"variables": ["a"]}, ["variables"]),
    ({"push": {"data": "text"}}, ["push", "data"]),
    ({"push": {"data": {"count": 3}}}, ["push", "data", "count"]),
    ({"content": {"subject": "Hi\r\nBcc: eve@example.com", "text": "Hello"}}, ["content", "subject"]),
    ({"content": None}, ["template"]),
    ({"request_id": ""}, ["request_id"]),
    ({"metadata": "nul\0"}, ["metadata"]),
]


@pytest.mark.parametrize(("changes", "path"), BAD_INPUT)
async def test_bad_input_is_data_that_names_the_field_and_nothing_is_stored(
    gateway: Gateway, changes: dict[str, Any], path: list[str]
) -> None:
    payload = await gateway.send(**changes)
    assert (payload["success"], payload["data"]) == (False, None)
    assert payload["error"]["__typename"] == "ValidationError"
    assert payload["error"]["code"] == "VALIDATION_FAILED"
    assert path in [field["path"] for field in payload["error"]["fields"]]
    assert gateway.store.views == {}


BATCH = """mutation ($input: SendBatchInput!) { send_batch(input: $input) { success
  error { code ... on ValidationError { fields { path code } } }
  data { accepted request { total } notifications { id } } } }"""


async def test_a_batch_answers_with_its_first_hundred(gateway: Gateway) -> None:
    recipients = [{"recipient": {"email": f"user{n}@example.com"}} for n in range(120)]
    answer = await gateway.ask(BATCH, {"input": {"recipients": recipients, "content": CONTENT}})
    data = answer["send_batch"]["data"]
    assert (data["accepted"], data["request"]["total"], len(data["notifications"])) == (120, 120, 100)


@pytest.mark.parametrize("count", [0, 1001])
async def test_a_batch_has_one_to_a_thousand_recipients(gateway: Gateway, count: int) -> None:
    recipients = [{"recipient": ADA}] * count
    payload = (await gateway.ask(BATCH, {"input": {"recipients": recipients, "content": CONTENT}}))["send_batch"]
    assert payload["error"]["fields"] == [{"path": ["recipients"], "code": "size"}]
    assert gateway.store.views == {}


async def test_one_bad_recipient_refuses_the_batch_and_is_named(gateway: Gateway) -> None:
    recipients = [{"recipient": ADA}, {"recipient": ADA, "variables": 5}]
    payload = (await gateway.ask(BATCH, {"input": {"recipients": recipients, "content": CONTENT}}))["send_batch"]
    assert payload["error"]["fields"] == [{"path": ["recipients", "1", "variables"], "code": "type"}]
    assert gateway.store.views == {}


@pytest.mark.parametrize("recipient", [{}, {"email": "a@b.example", "user_id": "u"}, {"email": None}])
async def test_one_of_is_a_request_error_that_names_the_path(gateway: Gateway, recipient: dict[str, Any]) -> None:
    answer = await gateway.post(SEND, {"input": {"recipient": recipient, "content": CONTENT}})
    error = error_of(answer.json())
    assert error["extensions"]["code"] == "VALIDATION_FAILED"
    assert [(field["path"], field["code"]) for field in error["extensions"]["fields"]] == [
        (["input", "recipient"], "one_of")
    ]
    assert "data" not in answer.json()


async def test_one_of_in_the_document_itself_names_the_path_too(gateway: Gateway) -> None:
    query = 'mutation { send_notification(input: {recipient: {email: "a", user_id: "u"}}) { success } }'
    extensions = error_of((await gateway.post(query)).json())["extensions"]
    assert (extensions["code"], extensions["fields"][0]["path"]) == ("VALIDATION_FAILED", ["input", "recipient"])


async def test_every_variable_that_does_not_fit_is_named(gateway: Gateway) -> None:
    given = {"recipient": ADA, "priority": "URGENT", "send_at": "tomorrow", "push": {"actions": [{"id": "a"}]}}
    error = error_of((await gateway.post(SEND, {"input": given})).json())
    assert error["extensions"]["code"] == "VALIDATION_FAILED"
    paths = [field["path"] for field in error["extensions"]["fields"]]
    assert ["input", "priority"] in paths
    assert ["input", "send_at"] in paths
    assert any(path[:4] == ["input", "push", "actions", "0"] for path in paths)
    missing = error_of((await gateway.post(SEND)).json())
    assert missing["extensions"]["fields"] == [{"path": ["input"], "code": "required", "message": "is required"}]


# ------------------------------------------------------------------------------------------------------------ reading

READ = """query ($id: ID!) { notification(id: $id) {
  success error { __typename code message ... on NotFoundError { id } }
  data { id status created_at attempts { number provider outcome } timeline { sequence status cursor position
    notification { id status } } recipient { user { id name } } } } }"""


async def test_a_notification_with_its_attempts_and_its_timeline(gateway: Gateway) -> None:
    await gateway.people.create(id="ada", email="ada@example.com", name="Ada")
    sent = await gateway.send(recipient={"user_id": "ada"})
    id = sent["data"]["notifications"][0]["id"]
    gateway.store.change(id, Status.QUEUED)
    gateway.store.tries[id] = [attempt()]
    data = (await gateway.ask(READ, {"id": id}))["notification"]["data"]
    assert data["status"] == "QUEUED"
    assert data["created_at"] == "2025-01-01T12:00:00Z"
    assert data["attempts"] == [{"number": 1, "provider": "smtp", "outcome": "ACCEPTED"}]
    assert [(event["sequence"], event["status"]) for event in data["timeline"]] == [(1, "ACCEPTED"), (2, "QUEUED")]
    assert data["recipient"]["user"] == {"id": "ada", "name": "Ada"}


@pytest.mark.parametrize("id", ["ntf_" + "0" * 32, "usr_1", "", "'; drop table"])
async def test_what_is_not_there_is_data(gateway: Gateway, id: str) -> None:
    payload = (await gateway.ask(READ, {"id": id}))["notification"]
    assert (payload["success"], payload["data"]) == (False, None)
    assert payload["error"] == {
        "__typename": "NotFoundError",
        "code": "NOT_FOUND",
        "message": f"There is no notification {id!r}.",
        "id": id,
    }


async def test_a_list_asks_once_for_what_all_of_it_needs(gateway: Gateway) -> None:
    await gateway.people.create(id="ada", email="ada@example.com")
    for _ in range(5):
        await gateway.send(recipient={"user_id": "ada"})
    gateway.people.calls = 0
    query = """{ notifications(limit: 3, filter: {status: [ACCEPTED]}) {
      meta { total total_pages has_next has_previous }
      data { attempts { number } timeline { status notification { id } } recipient { user { id } } } } }"""
    payload = (await gateway.ask(query))["notifications"]
    assert payload["meta"] == {"total": 5, "total_pages": 2, "has_next": True, "has_previous": False}
    assert sorted(gateway.store.reads) == ["attempts", "notifications", "notifications_by_id", "timeline"]
    assert gateway.people.calls == 1


@pytest.mark.parametrize(("arguments", "field"), [("limit: 101", "limit"), ("limit: 0", "limit"), ("page: 0", "page")])
async def test_a_page_that_cannot_be_is_data(gateway: Gateway, arguments: str, field: str) -> None:
    query = f"{{ notifications({arguments}) {{ success error {{ ... on ValidationError {{ fields {{ path }} }} }} }} }}"
    assert (await gateway.ask(query))["notifications"]["error"]["fields"] == [{"path": [field]}]


async def test_a_request_is_found_for_its_own_client_and_for_others(gateway: Gateway) -> None:
    await gateway.send(request_id="order-1")
    query = (
        '{ request(request_id: "order-1") { data { request_id total notifications { meta { total } data { id } } } } }'
    )
    for key in (KEY, READER):
        data = (await gateway.ask(query, key=key))["request"]["data"]
        assert (data["total"], data["notifications"]["meta"]["total"]) == (1, 1)


async def test_cancel_in_time_and_too_late(gateway: Gateway) -> None:
    query = "mutation ($id: ID!) { cancel_notification(id: $id) { success error { code } data { status } } }"
    first, second = [(await gateway.send())["data"]["notifications"][0]["id"] for _ in range(2)]
    assert (await gateway.ask(query, {"id": first}))["cancel_notification"] == {
        "success": True,
        "error": None,
        "data": {"status": "CANCELLED"},
    }
    gateway.store.change(second, Status.SENDING)
    assert (await gateway.ask(query, {"id": second}))["cancel_notification"] == {
        "success": False,
        "error": {"code": "TOO_LATE"},
        "data": {"status": "SENDING"},
    }


async def test_users_and_devices_from_beginning_to_end(gateway: Gateway) -> None:
    create = "mutation ($input: CreateUserInput!) { create_user(input: $input) { error { code } data { id } } }"
    made = (await gateway.ask(create, {"input": {"email": "ada@example.com"}}))["create_user"]["data"]
    update = 'mutation ($id: ID!) { update_user(id: $id, input: {name: "Ada", email: null}) { data { name email } } }'
    assert (await gateway.ask(update, {"id": made["id"]}))["update_user"]["data"] == {"name": "Ada", "email": None}
    register = """mutation ($id: ID!) { register_device(user_id: $id, input: {platform: WEB, token: "abcdefgh1234"}) {
      data { id platform token_hint } } }"""
    device = (await gateway.ask(register, {"id": made["id"]}))["register_device"]["data"]
    assert (device["platform"], device["token_hint"]) == ("WEB", "…1234")
    for id, kind in ((made["id"], "User"), (device["id"], "Device")):
        assert (await gateway.ask(f'{{ node(id: "{id}") {{ id __typename }} }}'))["node"] == {
            "id": id,
            "__typename": kind,
        }
    remove = f'mutation {{ remove_device(id: "{device["id"]}") {{ success error {{ code }} data {{ id }} }} }}'
    assert (await gateway.ask(remove))["remove_device"] == {
        "success": True,
        "error": None,
        "data": {"id": device["id"]},
    }
    assert (await gateway.ask(remove))["remove_device"]["error"] == {"code": "NOT_FOUND"}
    again = (await gateway.ask(create, {"input": {"id": made["id"]}}))["create_user"]
    assert again["error"] == {"code": "CONFLICT"}


async def test_templates_from_beginning_to_end(gateway: Gateway) -> None:
    create = """mutation ($input: CreateTemplateInput!) { create_template(input: $input) { success
      error { ... on ValidationError { fields { path } } } data { id key published_version
      versions { version published variables locales { locale subject } } } } }"""
    body = {"locale": "en", "subject": "Hi {{ name }}", "text": "Hello {{ name }}"}
    bad = {"key": "welcome", "version": {"locales": [{**body, "data": {"n": 1}}]}}
    payload = (await gateway.ask(create, {"input": bad}))["create_template"]
    assert payload["error"]["fields"] == [{"path": ["version", "locales", "0", "data", "n"]}]
    good = {"key": "welcome", "publish": True, "version": {"locales": [body]}}
    data = (await gateway.ask(create, {"input": good}))["create_template"]["data"]
    assert (data["published_version"], data["versions"][0]["variables"]) == (1, ["name"])
    sent = await gateway.send(content=None, template={"key": "welcome"}, variables={"name": "Ada"})
    assert sent["success"] is True
    assert (await gateway.ask(f'{{ node(id: "{data["id"]}") {{ ... on Template {{ key }} }} }}'))["node"] == {
        "key": "welcome"
    }


async def test_a_service_that_is_away_is_data(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(_: str) -> None:
        raise UpstreamUnavailable("The User Service does not answer.")

    monkeypatch.setattr(gateway.people, "get", away)
    payload = (await gateway.ask('{ user(id: "ada") { success error { __typename code } } }'))["user"]
    assert payload["error"] == {"__typename": "GenericError", "code": "UPSTREAM_UNAVAILABLE"}


async def test_a_missing_scope_is_data(gateway: Gateway) -> None:
    answer = await gateway.post(SEND, {"input": {"recipient": ADA, "content": CONTENT}}, key=READER)
    assert answer.json()["data"]["send_notification"]["error"]["code"] == "FORBIDDEN"
    assert gateway.store.views == {}
