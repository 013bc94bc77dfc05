"""A file from a URL to the recipient's mail, through a whole embedded system; and one that never comes."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.api import WATCH, Api
from tests.e2e.conftest import start_embedded
from tests.servers.roles import API_KEY
from tests.services.file_server import PDF, FileServer

BATCH = """mutation ($input: SendBatchInput!) { send_batch(input: $input) { success error { ... on ValidationError {
  fields { path code } } } data { request { request_id } notifications { id attachments { filename } } } } }"""
SHOWN = """query ($id: ID!) { notification(id: $id) { data { status reason
  attachments { url filename content_type } attempts { code } timeline { status detail } } } }"""
CONTENT = {"subject": "Your invoice", "html": "<p>See the file.</p>"}


@pytest.fixture
async def files() -> AsyncIterator[FileServer]:
    async with FileServer().running() as server:
        yield server


@pytest.fixture
async def api(files: FileServer, tmp_path: Path) -> AsyncIterator[Api]:
    """`heliograph up`, which may fetch from that server."""
    with start_embedded(tmp_path, HELIOGRAPH_ATTACHMENT_HOSTS=files.place) as running:
        async with Api(running.port, API_KEY) as client:
            yield client


async def mail_to(api: Api, address: str) -> dict[str, Any]:
    """The mail to this address, as the sandbox has it."""
    found = (await api.http.get("/sandbox/messages")).json()["emails"]
    (mail,) = [each for each in found if address in each["envelope_recipients"]]
    return dict(mail)


async def test_a_batch_of_mails_carries_a_file_that_was_fetched_once(api: Api, files: FileServer) -> None:
    named = {"url": files.url("/b"), "filename": "b.csv", "content_type": "text/csv"}
    addresses = [f"user{number}@example.com" for number in range(20)]
    given: dict[str, Any] = {
        "recipients": [{"recipient": {"email": address}} for address in addresses],
        "channels": ["EMAIL"],
        "content": CONTENT,
        "attachments": [{"url": files.url("/März.pdf")}, named],
    }
    payload = await api.payload(BATCH, input=given)
    assert payload["success"], payload
    for one in payload["data"]["notifications"]:
        assert [file["filename"] for file in one["attachments"]] == ["März.pdf", "b.csv"]
        assert (await api.watch(WATCH, id=one["id"]))[-1]["status"] == "SENT"
    for address in addresses:
        mail = await mail_to(api, address)
        described = [(file["filename"], file["content_type"], file["size"]) for file in mail["attachments"]]
        assert described == [("März.pdf", "application/pdf", len(PDF)), ("b.csv", "text/csv", len(PDF))]
    last = await mail_to(api, addresses[-1])
    saved = await api.http.get(f"/sandbox/messages/{last['id']}/attachments/0")
    assert saved.content == PDF
    assert files.asked == {"/März.pdf": 1, "/b": 1}


async def test_a_file_that_is_gone_fails_its_mail_and_harms_no_provider(api: Api, files: FileServer) -> None:
    url = files.url("/status/404")
    id = await api.send_one(content=CONTENT, attachments=[{"url": url, "filename": "gone.pdf"}])
    assert (await api.watch(WATCH, id=id))[-1]["status"] == "FAILED"
    shown = (await api.payload(SHOWN, id=id))["data"]
    assert shown["reason"] == "The attachment gone.pdf is not there any more (404)."
    assert shown["timeline"][-1]["detail"]["code"] == "attachment_gone"
    assert shown["attachments"] == [{"url": url, "filename": "gone.pdf", "content_type": None}]
    assert shown["attempts"] == []
    assert (await api.watch(WATCH, id=await api.send_one(content=CONTENT)))[-1]["status"] == "SENT"


async def test_a_server_that_is_away_is_tried_again(api: Api, files: FileServer) -> None:
    id = await api.send_one(content=CONTENT, attachments=[{"url": files.url("/half")}])
    events = await api.watch(WATCH, id=id)
    assert [event["status"] for event in events].count("RETRYING") == 2
    assert events[-1]["status"] == "FAILED"
    assert files.asked["/half"] == 3


async def test_what_is_wrong_is_named_before_anything_is_stored(api: Api) -> None:
    wrong = {"url": "https://files.example/a", "filename": "../a", "content_type": "x"}
    attachments = [{"url": "http://127.0.0.1:1/a"}, wrong]
    given = {"recipients": [{"recipient": {"email": "a@example.com"}}], "content": CONTENT, "attachments": attachments}
    fields = (await api.payload(BATCH, input=given))["error"]["fields"]
    assert {(".".join(field["path"]), field["code"]) for field in fields} == {
        ("attachments.0.url", "url"),
        ("attachments.1.filename", "filename"),
        ("attachments.1.content_type", "content_type"),
    }
    fine = [{"url": "https://files.example/a"}]
    pushed = {**given, "channels": ["PUSH"], "content": {"title": "x"}, "attachments": fine}
    fields = (await api.payload(BATCH, input=pushed))["error"]["fields"]
    assert [(field["path"], field["code"]) for field in fields] == [(["attachments"], "channel")]
