"""The page for people: what it may do, where its files come from, and that its examples work."""

from pathlib import Path

import pytest
from graphql import parse, validate

from api.gateway.playground.assets import ASSETS, versions
from api.gateway.playground.page import CDN, EXAMPLES, Playground, example
from api.gateway.schema import build_schema
from tests.services.gateway_fakes import KEY, Gateway

BROWSER = {"Accept": "text/html,*/*;q=0.8"}


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder with all files."""
    for asset in ASSETS:
        (tmp_path / asset.name).write_text("")
    return tmp_path


async def test_browsers_get_it_under_a_strict_policy(gateway: Gateway) -> None:
    pages = [await gateway.http.get("/graphql", headers=BROWSER) for _ in range(2)]
    policies = [page.headers["content-security-policy"] for page in pages]
    assert policies[0] != policies[1]
    for page, policy in zip(pages, policies, strict=True):
        nonce = policy.split("'nonce-")[1].split("'")[0]
        assert page.text.count("<script ") == page.text.count(f'<script nonce="{nonce}"') == len(ASSETS) + 1
        assert "unsafe-eval" not in policy
        assert "script-src 'nonce-" in policy
    assert KEY not in pages[0].text


def test_it_needs_no_other_host_where_its_files_are_installed(installed: Path) -> None:
    page = Playground(installed).page()
    assert "//" not in page.headers["content-security-policy"]
    assert CDN not in bytes(page.body).decode()


def test_a_file_that_is_missing_sends_it_to_the_cdn_for_all(installed: Path) -> None:
    (installed / ASSETS[-1].name).unlink()
    page = bytes(Playground(installed).page().body).decode()
    for asset in ASSETS:
        url = f"{CDN}/npm/{asset.package}@{versions()[asset.package]}/{asset.path}"
        assert f'"{url}" integrity="{asset.integrity}" crossorigin="anonymous"' in page


async def test_what_it_loads_from_here_is_served_and_nothing_beside(gateway: Gateway) -> None:
    script = await gateway.http.get("/graphql/static/init.js")
    assert (script.status_code, script.headers["cache-control"]) == (200, "no-cache")
    assert script.headers["content-type"].startswith("text/javascript")
    again = await gateway.http.get("/graphql/static/init.js", headers={"If-None-Match": script.headers["etag"]})
    assert again.status_code == 304
    for name in ("page.py", "package.json", "../page.html", ".installed", "", "examples/send.graphql"):
        assert (await gateway.http.get(f"/graphql/static/{name}")).status_code == 404, name


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_are_valid(name: str) -> None:
    assert validate(build_schema()._schema, parse(example(name))) == []


async def test_the_examples_do_what_they_say(gateway: Gateway) -> None:
    sent = (await gateway.ask(example("send")))["send_notification"]
    assert (sent["success"], sent["data"]["duplicate"]) == (True, False)
    assert [each["status"] for each in sent["data"]["notifications"]] == ["ACCEPTED"]
    assert (await gateway.ask(example("send")))["send_notification"]["data"]["duplicate"] is True
    made = (await gateway.ask(example("template")))["create_template"]
    assert (made["success"], made["data"]["published_version"]) == (True, 1)
