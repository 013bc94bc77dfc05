"""`heliograph keys …` against the real schema of keys, with a store in memory behind it."""

import asyncio
import json
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner, Result

from api.api_keys import ApiKey, NewKey
from api.cli import keys as cli_keys
from api.embedded import KEY_FILE
from api.key_rules import checked
from api.security import ALL_SCOPES, Principal
from domain.errors import NotFound
from tests.services.identity_world import KeySchema
from tests.unit.cli_client import answer_with

OPERATOR = Principal(client="ops", key_id="key_ops", name="ops", scopes=ALL_SCOPES)
NOON = datetime(2030, 1, 31, 12, tzinfo=UTC)
SECRET = "hg_operator"


class MemoryKeys:
    """`Keys` on a list."""

    def __init__(self) -> None:
        self.made: list[ApiKey] = []
        self.revoked: list[str] = []

    async def create(
        self,
        name: str,
        scopes: Collection[str],
        *,
        client: str | None = None,
        granted_by: Principal | None = None,
        test: bool = False,
    ) -> NewKey:
        granted = tuple(sorted(checked(name, scopes, client, granted_by, test=test)))
        id = f"key_{len(self.made)}"
        made = NewKey(
            id=id,
            name=name,
            client=client or id,
            scopes=granted,
            test=test,
            created_at=NOON,
            secret=f"hg_secret_of_{id}",
        )
        self.made.append(made)
        return made

    async def page(self, page: int, limit: int) -> tuple[list[ApiKey], int]:
        return self.made[(page - 1) * limit : page * limit], len(self.made)

    async def get(self, id: str) -> ApiKey:
        raise NotFound("API key", id)

    async def revoke(self, id: str) -> None:
        if id not in {key.id for key in self.made}:
            raise NotFound("API key", id)
        self.revoked.append(id)


class Gateway:
    """What answers the command line. It knows one credential."""

    def __init__(self) -> None:
        self.keys, self.asked = MemoryKeys(), list[httpx.URL]()
        self._schema = KeySchema(self.keys)

    def handle(self, request: httpx.Request) -> httpx.Response:
        """One request."""
        self.asked.append(request.url)
        if request.headers["authorization"] != f"Bearer {SECRET}":
            return httpx.Response(401, json={"errors": [{"message": "This API key is unknown or revoked."}]})
        body = json.loads(request.content)
        data = asyncio.run(self._schema.execute(OPERATOR, body["query"], body["variables"]))
        return httpx.Response(200, json={"data": data})


Run = Callable[..., Result]


@pytest.fixture
def gateway() -> Gateway:
    """A gateway without keys."""
    return Gateway()


@pytest.fixture
def run(gateway: Gateway, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs a command, as somebody whose surroundings name the key."""
    for name in ("HELIOGRAPH_URL", "HELIOGRAPH_PORT", "PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HELIOGRAPH_API_KEY", SECRET)
    monkeypatch.setenv("HELIOGRAPH_VAR_DIR", str(tmp_path))
    answer_with(monkeypatch, gateway.handle)
    return lambda *words: CliRunner().invoke(cli_keys.app, words)


def test_a_new_keys_secret_is_all_that_a_script_reads(run: Run, gateway: Gateway) -> None:
    done = run("create", "shop", "--scope", "users:read", "--scope", "notifications:send", "--client", "web")
    assert (done.exit_code, done.stdout) == (0, "hg_secret_of_key_0\n")
    assert "key_0 of the client web, for notifications:send, users:read" in done.stderr
    assert "shown this once" in done.stderr
    assert gateway.keys.made[0].client == "web"


def test_without_a_client_the_key_is_one_of_its_own(run: Run, gateway: Gateway) -> None:
    assert run("create", "shop", "--scope", "operations").exit_code == 0
    assert gateway.keys.made[0].client == "key_0"


def test_a_test_key_is_made_and_listed_as_one(run: Run, gateway: Gateway) -> None:
    made = run("create", "trial", "--scope", "notifications:send", "--test")
    assert "Made test key key_0" in made.stderr
    assert run("create", "shop", "--scope", "notifications:send").exit_code == 0
    assert [key.test for key in gateway.keys.made] == [True, False]
    listed = run("list").stdout.splitlines()
    assert [word for line in listed for word in line.split() if word in ("test", "live")] == ["test", "live"]


def test_keys_are_listed_whole_whatever_they_are_called(run: Run) -> None:
    run("create", "[red]shop\x1b[2J", "--scope", "operations")
    done = run("list")
    assert done.exit_code == 0
    assert "key_0" in done.stdout
    assert "[red]shop?[2J" in done.stdout
    assert "2030-01-31 12:00:00" in done.stdout
    assert "Page 1 of 1; 1 keys." in done.stderr


def test_no_keys_are_no_mistake(run: Run) -> None:
    assert run("list").exit_code == 0


def test_a_key_is_revoked_as_often_as_one_likes(run: Run, gateway: Gateway) -> None:
    run("create", "shop", "--scope", "operations")
    for _ in range(2):
        done = run("revoke", "key_0")
        assert (done.exit_code, done.stdout) == (0, "key_0 is revoked.\n")
    assert gateway.keys.revoked == ["key_0", "key_0"]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["revoke", "key_9"], "heliograph: There is no API key 'key_9'.\n"),
        (["create", "", "--scope", "operations", "--client", "-"], "heliograph: name: is empty; client: takes 1 to 40"),
        (["list", "--limit", "500"], "heliograph: limit: takes 1 to 100\n"),
        (["list", "--key", "hg_wrong"], "heliograph: This API key is unknown or revoked.\n"),
        (["list", "--key", "hg_é"], "heliograph: the API key holds a character that no key has.\n"),
    ],
)
def test_what_the_gateway_refuses_is_one_line(run: Run, words: list[str], line: str) -> None:
    done = run(*words)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith(line)
    assert done.stderr.count("\n") == 1


def _away(_: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("Connection refused")


@pytest.mark.parametrize(
    ("handle", "line"),
    [
        (_away, "heliograph: nobody answers at http://127.0.0.1:8000: Connection refused\n"),
        (lambda _: httpx.Response(502, text="<html>"), "is no gateway (HTTP 502).\n"),
        (lambda _: httpx.Response(200, json=["odd"]), "is no gateway (HTTP 200).\n"),
        (lambda _: httpx.Response(404, json={"success": False}), "heliograph: the gateway answered HTTP 404.\n"),
    ],
)
def test_a_gateway_that_is_away_is_one_line(
    run: Run, monkeypatch: pytest.MonkeyPatch, handle: Callable[[httpx.Request], httpx.Response], line: str
) -> None:
    answer_with(monkeypatch, handle)
    done = run("list")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.endswith(line)
    assert done.stderr.count("\n") == 1


def test_the_gateway_is_where_the_surroundings_say(run: Run, gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    run("list")
    monkeypatch.setenv("PORT", "8123")
    run("list")
    monkeypatch.setenv("HELIOGRAPH_URL", "http://gateway.example")
    run("list")
    run("list", "--url", "http://other.example:9000")
    assert [str(url) for url in gateway.asked] == [
        "http://127.0.0.1:8000/graphql",
        "http://127.0.0.1:8123/graphql",
        "http://gateway.example/graphql",
        "http://other.example:9000/graphql",
    ]


def test_the_development_key_does_where_no_other_is_named(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("HELIOGRAPH_API_KEY")
    done = run("list")
    assert (done.exit_code, done.stderr.count("\n")) == (1, 1)
    assert "--key or HELIOGRAPH_API_KEY" in done.stderr
    (tmp_path / KEY_FILE).write_text(SECRET + "\n")
    assert run("list").exit_code == 0
