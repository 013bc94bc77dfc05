"""`heliograph keys …`: API keys from the command line, against a running gateway, over the same GraphQL as anybody."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, NoReturn

import httpx
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

DEADLINE = 10.0

CREATE = """mutation ($input: CreateApiKeyInput!) {
  create_api_key(input: $input) {
    success message error { ... on ValidationError { fields { path message } } }
    data { key { id client scopes } secret } } }"""
LIST = """query ($page: Int!, $limit: Int!) {
  api_keys(page: $page, limit: $limit) {
    success message meta { total page total_pages }
    data { id name client scopes created_at last_used_at revoked_at } } }"""
REVOKE = "mutation ($id: ID!) { revoke_api_key(id: $id) { success message } }"

app = typer.Typer(name="keys", help="Make, list and revoke API keys of a running gateway.", no_args_is_help=True)

Url = Annotated[
    str, typer.Option("--url", envvar="HELIOGRAPH_URL", help="The gateway; left out, the one on this machine.")
]
Key = Annotated[
    str,
    typer.Option(
        "--key",
        envvar="HELIOGRAPH_API_KEY",
        help="A key with the scope `operations`; left out, the development key of `heliograph up`.",
    ),
]


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What the key is for.")],
    scope: Annotated[list[str], typer.Option(help="What it may do, such as notifications:send; may be repeated.")],
    client: Annotated[str, typer.Option(help="The client of an older key that this one replaces.")] = "",
    url: Url = "",
    key: Key = "",
) -> None:
    """Make a key and print its secret, once."""
    given = {"name": name, "scopes": scope, "client": client or None}
    made = _ask(url, key, CREATE, {"input": given})["data"]
    about = made["key"]
    typer.echo(f"Made {about['id']} of the client {about['client']}, for {', '.join(about['scopes'])}.", err=True)
    typer.echo("This is its secret. It is shown this once: keep it where secrets are kept.", err=True)
    typer.echo(made["secret"])


@app.command("list")
def list_keys(
    page: Annotated[int, typer.Option(help="Which page; the first one is 1.")] = 1,
    limit: Annotated[int, typer.Option(help="Keys on a page, 1 to 100.")] = 20,
    url: Url = "",
    key: Key = "",
) -> None:
    """List keys, the newest first."""
    found = _ask(url, key, LIST, {"page": page, "limit": limit})
    table = Table("id", "name", "client", "scopes", "created", "last used", "revoked", box=None)
    for each in found["data"]:
        moments = [_moment(each[name]) for name in ("created_at", "last_used_at", "revoked_at")]
        table.add_row(each["id"], _plain(each["name"]), each["client"], "\n".join(each["scopes"]), *moments)
    console = Console()
    if not console.is_terminal:
        console.width = 240  # whoever reads it is a program, and lines cut in two are no use to it
    console.print(table)
    meta = found["meta"]
    typer.echo(f"Page {meta['page']} of {max(1, meta['total_pages'])}; {meta['total']} keys.", err=True)


@app.command()
def revoke(
    id: Annotated[str, typer.Argument(help="The key's id, `key_…`.")],
    url: Url = "",
    key: Key = "",
) -> None:
    """Revoke a key: it is refused from now on. May be called again."""
    _ask(url, key, REVOKE, {"id": id})
    typer.echo(f"{id} is revoked.")


def client_of(url: str, key: str) -> httpx.Client:
    """What asks the gateway."""
    return httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=DEADLINE)


def _ask(url: str, key: str, query: str, variables: Mapping[str, Any]) -> dict[str, Any]:
    """The payload of an operation that succeeds; whatever else happens is one line and the exit status 1."""
    address = url or _here()
    answer = _post(address, key or _development_key(), {"query": query, "variables": variables})
    try:
        document = answer.json()
        errors, data = document.get("errors"), document.get("data")
    except (ValueError, AttributeError):
        _fail(f"what answers at {address} is no gateway (HTTP {answer.status_code}).")
    if errors or not data:
        _fail(errors[0]["message"] if errors else f"the gateway answered HTTP {answer.status_code}.")
    (payload,) = data.values()
    if not payload["success"]:
        _fail(_reason(payload))
    return payload  # type: ignore[no-any-return]  # it is JSON


def _post(address: str, key: str, body: Mapping[str, Any]) -> httpx.Response:
    try:
        with client_of(address, key) as client:
            return client.post("/graphql", json=body)
    except UnicodeEncodeError:
        _fail("the API key holds a character that no key has.")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        _fail(f"nobody answers at {address}: {error}")


def _reason(payload: Mapping[str, Any]) -> str:
    fields = (payload.get("error") or {}).get("fields")
    return "; ".join(f"{'.'.join(each['path'])}: {each['message']}" for each in fields or ()) or str(payload["message"])


def _here() -> str:
    return f"http://127.0.0.1:{os.environ.get('HELIOGRAPH_PORT') or os.environ.get('PORT') or 8000}"


def _development_key() -> str:
    from api.embedded import KEY_FILE

    path = Path(os.environ.get("HELIOGRAPH_VAR_DIR") or "var") / KEY_FILE
    try:
        return path.read_text().strip()
    except OSError:
        _fail("give an API key with the scope `operations`: --key or HELIOGRAPH_API_KEY.")


def _plain(name: str) -> Text:
    """What somebody called a key is neither markup nor a command to the terminal."""
    return Text("".join(character if character.isprintable() else "?" for character in name))


def _moment(text: str | None) -> str:
    """To the second, in UTC as it came."""
    return f"{text[:10]} {text[11:19]}" if text else "-"


def _fail(message: str) -> NoReturn:
    typer.echo(f"heliograph: {message}", err=True)
    raise typer.Exit(1)
