"""Bad input about users, templates and keys: each is refused with an error that names the field."""

from typing import Any

import pytest

from domain.ids import TEMPLATE, USER, new_id
from tests.e2e.api import Api

FIELDS = """success error { code
  ... on ValidationError { fields { path code message } } ... on ConflictError { fields { path code message } } }"""
BOMB = "{% for a in (1..9999) %}{% for b in (1..9999) %}{% for c in (1..9999) %}x{% endfor %}{% endfor %}{% endfor %}"


def operation(name: str, arguments: str, call: str) -> str:
    return f"mutation ({arguments}) {{ {name}({call}) {{ {FIELDS} }} }}"


CREATE_USER = operation("create_user", "$input: CreateUserInput!", "input: $input")
REGISTER = operation("register_device", "$id: ID!, $input: RegisterDeviceInput!", "user_id: $id, input: $input")
PREFER = operation("set_preferences", "$id: ID!, $input: PreferencesInput!", "user_id: $id, input: $input")
CREATE_TEMPLATE = operation("create_template", "$input: CreateTemplateInput!", "input: $input")
CREATE_KEY = operation("create_api_key", "$input: CreateApiKeyInput!", "input: $input")
SUPPRESS = operation("add_suppression", "$input: SuppressionInput!", "input: $input")


async def user(api: Api, **given: Any) -> str:
    """A user who is fine; their id."""
    id = new_id(USER)
    assert (await api.payload(CREATE_USER, input={"id": id, **given}))["success"]
    return id


async def refused(api: Api, query: str, **variables: Any) -> dict[str, Any]:
    """The one field that an operation is refused for."""
    payload = await api.payload(query, **variables)
    assert payload["success"] is False
    (field,) = payload["error"]["fields"]
    assert field["message"]
    return {"error": payload["error"]["code"], "path": ".".join(field["path"]), "code": field["code"], **field}


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({"locale": "not a locale"}, "locale"),
        ({"time_zone": "Mars/Olympus"}, "time_zone"),
        ({"time_zone": "../../etc/passwd"}, "time_zone"),
        ({"email": "ada@example.com, bob@example.com"}, "email"),
        ({"email": "ada\n@example.com"}, "email"),
        ({"id": "no spaces please"}, "id"),
        ({"name": "x" * 300}, "name"),
    ],
)
async def test_a_user_with_a_bad_field(api: Api, given: dict[str, Any], path: str) -> None:
    found = await refused(api, CREATE_USER, input=given)
    assert (found["error"], found["path"]) == ("VALIDATION_FAILED", path.split("."))


async def test_a_taken_address_or_id(api: Api) -> None:
    id = new_id(USER)
    assert (await api.payload(CREATE_USER, input={"id": id, "email": f"{id}@example.com"}))["success"]
    found = await refused(api, CREATE_USER, input={"email": f"{id.upper()}@EXAMPLE.com"})
    assert (found["error"], found["path"], found["code"]) == ("CONFLICT", ["email"], "taken")
    found = await refused(api, CREATE_USER, input={"id": id})
    assert (found["error"], found["path"], found["code"]) == ("CONFLICT", ["id"], "taken")


@pytest.mark.parametrize("token", ["short", "has spaces in it", "x" * 5000, "naïve-token"])
async def test_a_device_token_of_the_wrong_shape(api: Api, token: str) -> None:
    found = await refused(api, REGISTER, id=await user(api), input={"platform": "WEB", "token": token})
    assert (found["error"], found["path"]) == ("VALIDATION_FAILED", ["token"])


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({"quiet_hours": {"from": "22:00", "to": "22:00"}}, "quiet_hours.to"),
        ({"quiet_hours": {"from": "25:00", "to": "07:00"}}, "quiet_hours.from"),
        ({"channels": [{"channel": "EMAIL", "category": "", "enabled": False}]}, "channels.0.category"),
        ({"channels": [{"channel": "EMAIL", "enabled": value} for value in (True, False)]}, "channels.1"),
    ],
)
async def test_preferences_that_cannot_be(api: Api, given: dict[str, Any], path: str) -> None:
    found = await refused(api, PREFER, id=await user(api), input=given)
    assert (found["error"], found["path"]) == ("VALIDATION_FAILED", path.split("."))


@pytest.mark.parametrize(
    ("locale", "path", "says"),
    [
        ({"html": "<p>{{ name </p>"}, "html", "line 1, column"),
        ({"html": "<p>x</p>\n{% if a %}"}, "html", "line 2, column"),
        ({"html": BOMB}, "html", ""),
        ({"html": "x" * 2_000_000}, "html", ""),
        ({"html": "{{ a | " + " | ".join(["append: a"] * 5_000) + " }}"}, "html", ""),
        ({"html": "{% if a %}" * 5_000 + "{% endif %}" * 5_000}, "html", ""),
    ],
    ids=["syntax", "second line", "bomb", "over-long", "long chain", "deep"],
)
async def test_a_template_that_cannot_be_used(api: Api, locale: dict[str, str], path: str, says: str) -> None:
    version = {"locales": [{"locale": "en", "subject": "Hi", **locale}]}
    key = new_id(TEMPLATE).replace("_", "-")
    payload = await api.payload(CREATE_TEMPLATE, input={"key": key, "version": version})
    if payload["success"]:  # a loop that is legal to write; rendering it stops at its limit
        assert locale["html"] == BOMB
        return
    (field,) = payload["error"]["fields"]
    assert field["path"] == ["version", "locales", "0", path]
    assert says in field["message"]


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({"key": "No Spaces"}, "key"),
        ({"key": "a", "default_locale": "??"}, "default_locale"),
        ({"key": "b", "version": {"locales": [{"locale": "de", "subject": "a", "text": "b"}]}}, "version.locales"),
    ],
)
async def test_a_template_with_a_bad_frame(api: Api, given: dict[str, Any], path: str) -> None:
    found = await refused(api, CREATE_TEMPLATE, input=given)
    assert (found["error"], found["path"]) == ("VALIDATION_FAILED", path.split("."))


@pytest.mark.parametrize(
    ("given", "path"), [({"name": "x", "scopes": ["root"]}, "scopes.0"), ({"name": "x", "scopes": []}, "scopes")]
)
async def test_a_key_that_cannot_be(api: Api, given: dict[str, Any], path: str) -> None:
    found = await refused(api, CREATE_KEY, input=given)
    assert (found["error"], found["path"]) == ("VALIDATION_FAILED", path.split("."))


async def test_a_suppression_of_no_contact_point(api: Api) -> None:
    found = await refused(api, SUPPRESS, input={"channel": "EMAIL", "contact_point": "nobody"})
    assert (found["error"], found["path"]) == ("VALIDATION_FAILED", ["contact_point"])
