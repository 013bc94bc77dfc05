"""What the REST services say of themselves: their OpenAPI documents, and Swagger UI without the internet."""

import re
from collections.abc import AsyncIterator, Iterator
from copy import deepcopy
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urljoin

import httpx
import msgspec
import pytest
from fastapi import FastAPI
from fastapi.openapi.models import OpenAPI
from fastapi.routing import APIRoute
from pydantic import BaseModel

from api import records
from api.database import Databases
from api.gateway.rest import rest_app
from api.http import Envelope
from api.openapi import Answers, documented, merged
from api.rate_limits import RateLimiter
from api.records import User
from api.swagger import ASSETS
from api.templates.app import templates_app
from api.templates.repository import TemplateRepository
from api.users.app import users_app
from api.users.repository import UserRepository
from tests.services.gateway_fakes import Keys, Store

TOKEN = "service-token-0123456789"
ENVELOPE = set(Envelope.__struct_fields__)
SCHEMAS = "#/components/schemas/"


class Services:
    """Makes the REST services."""

    def __init__(self, databases: Databases) -> None:
        self._databases = databases

    def users(self, token: str | None = TOKEN) -> FastAPI:
        """The User Service."""
        return users_app(UserRepository(self._databases["users"]), service_token=token)

    def templates(self) -> FastAPI:
        """The Template Service."""
        return templates_app(TemplateRepository(self._databases["templates"]), service_token=TOKEN)

    def gateway(self, **beside: FastAPI) -> FastAPI:
        """The REST of the gateway, perhaps with what is below `/v1/<name>` of other services."""
        return rest_app(Store(), Keys(), RateLimiter(""), {f"/v1/{name}": app for name, app in beside.items()})


@pytest.fixture(scope="module")
async def services(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Services]:
    """The services on databases with nothing in them."""
    folder = tmp_path_factory.mktemp("openapi")
    databases = await Databases.open({name: f"sqlite://{folder}/{name}.db" for name in ("users", "templates")})
    yield Services(databases)
    await databases.close()


@pytest.fixture(params=["users", "templates", "gateway"])
def app(request: pytest.FixtureRequest, services: Services) -> FastAPI:
    """Each of the REST services."""
    made: FastAPI = getattr(services, request.param)()
    return made


def client(app: Any) -> httpx.AsyncClient:
    """A caller without credentials."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://service")


async def document_of(app: Any) -> dict[str, Any]:
    """The document, as anybody gets it."""
    async with client(app) as http:
        answer = await http.get("/openapi.json")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    document: dict[str, Any] = answer.json()
    return document


def operations(document: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    """The operations by path and method."""
    return {(path, method): found for path, item in document["paths"].items() for method, found in item.items()}


def strings(node: Any, key: str) -> Iterator[str]:
    """All texts in a document that are under this key."""
    if isinstance(node, dict):
        if isinstance(node.get(key), str):
            yield node[key]
        for value in node.values():
            yield from strings(value, key)
    elif isinstance(node, list):
        for value in node:
            yield from strings(value, key)


def assert_valid(document: dict[str, Any]) -> None:
    """It is OpenAPI, and everything that it refers to is there."""
    OpenAPI.model_validate(document)
    schemas = document["components"]["schemas"]
    assert {f"{SCHEMAS}{name}" for name in schemas} >= set(strings(document, "$ref"))
    assert [name for name in schemas if not re.fullmatch(r"[A-Za-z]+", name)] == []
    ids = list(strings(document["paths"], "operationId"))
    assert len(ids) == len(set(ids)) == len(operations(document))
    assert {tag for one in operations(document).values() for tag in one["tags"]} == {
        tag["name"] for tag in document["tags"]
    }


async def test_each_document_is_valid(app: FastAPI) -> None:
    assert_valid(await document_of(app))


async def test_every_route_is_in_the_document(app: FastAPI) -> None:
    document = await document_of(app)
    served = {
        (route.path_format, method.lower())
        for route in app.routes
        if isinstance(route, APIRoute)
        for method in route.methods or ()
    }
    assert served
    assert served == set(operations(document))
    for (path, _), operation in operations(document).items():
        assert operation["summary"]
        assert operation["description"]
        named = {given["name"] for given in operation.get("parameters", ()) if given["in"] == "path"}
        assert named == set(re.findall(r"{(\w+)}", path))


async def test_every_answer_is_described_in_its_envelope(app: FastAPI) -> None:
    document = await document_of(app)
    schemas = document["components"]["schemas"]
    for operation in operations(document).values():
        assert {"401", "503", "default"} < set(operation["responses"])
        assert ("requestBody" not in operation) or "422" in operation["responses"]
        for code, response in operation["responses"].items():
            name = response["content"]["application/json"]["schema"]["$ref"].removeprefix(SCHEMAS)
            envelope = schemas[name]
            assert set(envelope["properties"]) == set(envelope["required"]) == ENVELOPE
            succeeded = code.startswith("2")
            assert envelope["properties"]["success"]["const"] is succeeded
            null, there = ("error", "data") if succeeded else ("data", "error")
            assert envelope["properties"][null] == {"type": "null"}
            assert envelope["properties"][there] != {"type": "null"}


async def test_a_list_has_its_meta_described(services: Services) -> None:
    schemas = (await document_of(services.users()))["components"]["schemas"]
    assert {"$ref": f"{SCHEMAS}PageMeta"} in schemas["UserListAnswer"]["properties"]["meta"]["anyOf"]
    assert schemas["UserAnswer"]["properties"]["meta"] == {"type": "null"}


async def test_the_document_says_what_credential_is_wanted(services: Services) -> None:
    apps = (services.users(), services.gateway(), services.users(token=None))
    service, gateway, open_ = [await document_of(app) for app in apps]
    (token,) = service["components"]["securitySchemes"].values()
    assert (token["type"], token["scheme"]) == ("http", "bearer")
    assert [scheme["type"] for scheme in gateway["components"]["securitySchemes"].values()] == ["http", "apiKey"]
    for document in (service, gateway):
        assert document["security"] == [{name: []} for name in document["components"]["securitySchemes"]]
    assert "security" not in open_


# ------------------------------------------------------------------------------------------------------- Swagger UI


class Page(HTMLParser):
    """What a page loads, and what is written into it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.links: list[str] = []
        self.inline: list[str] = []
        self._within = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Sort the attributes."""
        self._within = tag
        given = dict(attrs)
        address = given.get("src") or given.get("href")
        if address is not None:
            (self.links if tag == "a" else self.loaded).append(address)
        self.inline += [f"{tag} {name}" for name in given if name == "style" or name.startswith("on")]

    def handle_endtag(self, tag: str) -> None:
        """Leave the element."""
        self._within = ""

    def handle_data(self, data: str) -> None:
        """What stands in a script or a style."""
        if self._within in {"script", "style"} and data.strip():
            self.inline.append(data)


TYPES = {".js": "javascript", ".css": "text/css", ".png": "image/png"}


async def test_the_page_and_all_its_files_come_from_the_service_itself(app: FastAPI) -> None:
    async with client(app) as http:
        answer = await http.get("/docs")
        page = Page(answer.text)
        assert answer.headers["content-type"].startswith("text/html")
        assert {address.rpartition("/")[2] for address in page.loaded} == ASSETS
        for address in page.loaded:
            file = await http.get(urljoin("/docs", address))
            assert file.status_code == 200
            assert TYPES["." + address.rpartition(".")[2]] in file.headers["content-type"]
            assert file.headers["x-content-type-options"] == "nosniff"
            assert len(file.content) > 100
        for address in page.links:
            assert (await http.get(urljoin("/docs", address))).status_code == 200


async def test_nothing_runs_that_stands_in_the_page(app: FastAPI) -> None:
    async with client(app) as http:
        answer = await http.get("/docs")
    policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert Page(answer.text).inline == []


async def test_nothing_comes_from_another_host(services: Services) -> None:
    async with client(services.users()) as http:
        ours = [(await http.get(path)).text for path in ("/docs", "/docs/assets/init.js")]
        style = (await http.get("/docs/assets/swagger-ui.css")).text
    for text in ours:
        assert re.search(r"\w://|[\"'(]//", text) is None
    assert "url(" in style
    assert re.findall(r"@import|url\((?![\"']?data:).{0,40}", style) == []
    assert "validatorUrl: null" in ours[1]


async def test_the_page_works_behind_a_prefix(services: Services) -> None:
    async with client(services.users()) as http:
        page = Page((await http.get("/docs")).text)
        script = (await http.get("/docs/assets/init.js")).text
    assert [address for address in page.loaded + page.links if address.startswith("/")] == []
    assert 'url: "openapi.json"' in script


async def test_a_browser_keeps_the_files_and_asks_whether_they_are_still_right(services: Services) -> None:
    async with client(services.users()) as http:
        first = await http.get("/docs/assets/swagger-ui-bundle.js")
        again = await http.get("/docs/assets/swagger-ui-bundle.js", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert first.headers["cache-control"] == again.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("name", ["__init__.py", "page.html", "nothing.js", "..%2Fhttp.py", ""])
async def test_no_other_file_is_served(app: FastAPI, name: str) -> None:
    async with client(app) as http:
        answer = await http.get(f"/docs/assets/{name}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "NOT_FOUND")


# ------------------------------------------------------------------------------------------------- several in one


async def test_services_that_share_a_port_share_a_document(services: Services) -> None:
    users, templates = services.users(), services.templates()
    parts = [await document_of(app) for app in (users, templates, services.gateway())]
    whole = await document_of(services.gateway(users=users, devices=users, erasures=users, templates=templates))
    assert_valid(whole)
    assert set(operations(whole)) == {found for part in parts for found in operations(part)}
    assert set(whole["components"]["schemas"]) == {name for part in parts for name in part["components"]["schemas"]}


async def test_what_the_shared_port_does_not_let_in_is_not_in_its_document(services: Services) -> None:
    whole = await document_of(services.gateway(devices=services.users()))
    assert_valid(whole)
    assert {path.split("/")[2] for path in whole["paths"]} == {"notifications", "requests", "devices"}
    assert {tag["name"] for tag in whole["tags"]} == {"status", "devices"}


async def test_services_behind_the_gateways_keys_are_documented_so(services: Services) -> None:
    users, alone = services.users(), await document_of(services.gateway())
    before = deepcopy(users.openapi())
    whole = await document_of(services.gateway(users=users))
    assert (whole["info"], whole["security"]) == (alone["info"], alone["security"])
    assert whole["components"]["securitySchemes"] == alone["components"]["securitySchemes"]
    for operation in operations(whole).values():
        assert {"401", "403"} < set(operation["responses"])
    assert users.openapi() == before


def test_one_name_for_two_things_is_refused() -> None:
    one, same = answering("/v1/ones", User), answering("/v1/others", User)
    other = answering("/v1/others", msgspec.defstruct("User", [("age", int)]))
    assert set(merged(one, {"/v1/others": same})["paths"]) == {"/v1/ones", "/v1/others"}
    with pytest.raises(ValueError, match="schemas named User differ"):
        merged(one, {"/v1/others": other})


def test_an_input_may_not_have_the_name_of_an_answer() -> None:
    class Deleted(BaseModel):
        reason: str

    app, answers = documented(title="", description="", tags=(), security={}), Answers()

    @app.post("/v1/things", responses=answers.of(records.Deleted, "Gone."))
    async def delete_thing(body: Deleted) -> None:
        """Delete a thing."""

    answers.install(app)
    with pytest.raises(ValueError, match="Deleted"):
        app.openapi()


def answering(path: str, type_: type[msgspec.Struct]) -> FastAPI:
    """An application with one route, which answers this type."""
    app, answers = documented(title="", description="", tags=(), security={}), Answers()

    @app.get(path, tags=["things"], responses=answers.of(type_, "A thing."))
    async def get_thing() -> None:
        """Get a thing."""

    answers.install(app)
    return app
