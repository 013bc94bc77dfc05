"""What the commands share that speak to a running gateway: the same GraphQL as anybody, from the command line."""

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


def client_of(url: str, key: str) -> httpx.Client:
    """What asks the gateway."""
    return httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=DEADLINE)


def ask(url: str, key: str, query: str, variables: Mapping[str, Any]) -> dict[str, Any]:
    """The payload of an operation that succeeds; whatever else happens is one line and the exit status 1."""
    address = url or _here()
    answer = _post(address, key or _development_key(), {"query": query, "variables": variables})
    try:
        document = answer.json()
        errors, data = document.get("errors"), document.get("data")
    except (ValueError, AttributeError):
        fail(f"what answers at {address} is no gateway (HTTP {answer.status_code}).")
    if errors or not data:
        fail(errors[0]["message"] if errors else f"the gateway answered HTTP {answer.status_code}.")
    (payload,) = data.values()
    if not payload["success"]:
        fail(_reason(payload))
    return payload  # type: ignore[no-any-return]  # it is JSON


def _post(address: str, key: str, body: Mapping[str, Any]) -> httpx.Response:
    try:
        with client_of(address, key) as client:
            return client.post("/graphql", json=body)
    except UnicodeEncodeError:
        fail("the API key holds a character that no key has.")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        fail(f"nobody answers at {address}: {error}")


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
        fail("give an API key with the scope `operations`: --key or HELIOGRAPH_API_KEY.")


def plain(text: str) -> Text:
    """What somebody wrote is neither markup nor a command to the terminal."""
    return Text("".join(character if character.isprintable() else "?" for character in text))


def show_page(table: Table, meta: Mapping[str, Any], what: str) -> None:
    """A page of a list for whoever reads it, and below it, apart, which page of how many it is."""
    console = Console()
    if not console.is_terminal:
        console.width = 240  # whoever reads it is a program, and lines cut in two are no use to it
    console.print(table)
    typer.echo(f"Page {meta['page']} of {max(1, meta['total_pages'])}; {meta['total']} {what}.", err=True)


def moment(text: str | None) -> str:
    """To the second, in UTC as it came."""
    return f"{text[:10]} {text[11:19]}" if text else "-"


def fail(message: str) -> NoReturn:
    """Say why not, in one line, and end with the exit status 1."""
    typer.echo(f"heliograph: {message}", err=True)
    raise typer.Exit(1)
