"""Bad input about what is sent and to whom: each is refused when accepting, with an error that names the field."""

from typing import Any

import pytest

from domain.ids import TEMPLATE, new_id
from tests.e2e.api import SEND, Api

CREATE_TEMPLATE = "mutation ($input: CreateTemplateInput!) { create_template(input: $input) { success message } }"
MAIL = {"subject": "Hello", "text": "World"}
PUSH = {"title": "Hello", "body": "World"}


async def refused(api: Api, **given: Any) -> dict[str, str]:
    """The fields that a request is refused for, and the code of each."""
    payload = await api.payload(SEND, input=given)
    assert payload["success"] is False
    assert payload["data"] is None
    assert all(field["message"] for field in payload["error"]["fields"])
    return {".".join(field["path"]): field["code"] for field in payload["error"]["fields"]}


@pytest.mark.parametrize(
    "address",
    [
        "a" * 300 + "@example.com",
        "ada@example.com,bob@example.com",
        "ada@example.com; bob@example.com",
        "ada@example.com bob@example.com",
        "Ada <ada@example.com>",
        "<ada@example.com>",
        "ada@example.com\r\nBcc: bob@example.com",
        "ada\0@example.com",
        "ada@[127.0.0.1]",
        "ada@example.com%0d%0aBcc:bob@example.com",
        "",
    ],
)
async def test_an_address_that_is_not_one_mailbox(api: Api, address: str) -> None:
    assert await refused(api, recipient={"email": address}, content=MAIL) == {"recipient.email": "email"}


@pytest.mark.parametrize("token", ["short", "a-token\r\nauthorization: x", "a-token\0with-nul", "a token", "x" * 4097])
async def test_a_token_that_is_none(api: Api, token: str) -> None:
    found = await refused(api, recipient={"device_token": token}, content=PUSH)
    assert found == {"recipient.device_token": "device_token"}


@pytest.mark.parametrize(
    ("content", "path", "code"),
    [
        ({**MAIL, "subject": "Hi\r\nBcc: bob@example.com"}, "content.subject", "line_break"),
        ({**MAIL, "subject": "Hi\nthere"}, "content.subject", "line_break"),
        ({**MAIL, "subject": "Hi\0there"}, "content.subject", "characters"),
        ({**MAIL, "text": "Hi\0there"}, "content.text", "characters"),
        ({**MAIL, "html": "<p>\0</p>"}, "content.html", "characters"),
        ({**MAIL, "title": "Hi\r\nthere"}, "content.title", "line_break"),
        ({**MAIL, "body": "\0"}, "content.body", "characters"),
        ({**MAIL, "subject": "x" * 999}, "content.subject", "size"),
    ],
)
async def test_text_that_would_become_something_else(api: Api, content: dict[str, str], path: str, code: str) -> None:
    assert await refused(api, recipient={"email": "ada@example.com"}, content=content) == {path: code}


@pytest.mark.parametrize(
    ("push", "path", "code"),
    [
        ({"click_url": "javascript:alert(1)"}, "push.click_url", "url"),
        ({"click_url": "data:text/html,x"}, "push.click_url", "url"),
        ({"click_url": "https://ada:secret@shop.example/"}, "push.click_url", "url"),
        ({"image_url": "http://169.254.169.254/latest/meta-data/"}, "push.image_url", "url"),
        ({"image_url": "http://0x7f.1/x.png"}, "push.image_url", "url"),
        ({"image_url": "http://[::ffff:10.0.0.1]/x.png"}, "push.image_url", "url"),
        ({"image_url": "http://printer.local/x.png"}, "push.image_url", "url"),
        ({"actions": [{"id": "a", "title": "A", "url": "file:///etc/passwd"}]}, "push.actions.0.url", "url"),
        ({"data": {"a": "b" * 4096}}, "push.data", "size"),
        ({"data": {"a\0": "b"}}, "push.data", "characters"),
        ({"data": {"a": "b" * 2500}, "actions": [{"id": "a", "title": "t" * 1800}]}, "push", "size"),
        ({"collapse_key": "a\0"}, "push.collapse_key", "characters"),
    ],
)
async def test_what_a_push_cannot_carry(api: Api, push: dict[str, Any], path: str, code: str) -> None:
    assert await refused(api, recipient={"device_token": "a-device-token"}, content=PUSH, push=push) == {path: code}


async def test_a_push_that_does_not_fit(api: Api) -> None:
    content = {"title": "Hello", "body": "{{ a }}" * 3}
    found = await refused(
        api, recipient={"device_token": "a-device-token"}, content=content, variables={"a": "x" * 1400}
    )
    assert found == {"content": "size"}


async def test_a_template_whose_push_does_not_fit_or_fetches_from_inside(api: Api) -> None:
    key = new_id(TEMPLATE).replace("_", "-")
    locale = {"locale": "en", "title": "Hi {{ name }}", "image_url": "http://{{ host }}/x.png"}
    created = await api.payload(CREATE_TEMPLATE, input={"key": key, "version": {"locales": [locale]}, "publish": True})
    assert created["success"], created
    given = {"recipient": {"device_token": "a-device-token"}, "template": {"key": key}}
    inside = await refused(api, **given, variables={"name": "Ada", "host": "localhost"})
    large = await refused(api, **given, variables={"name": "A" * 4096, "host": "cdn.example"})
    assert (inside, large) == ({"template": "url"}, {"template": "size"})
