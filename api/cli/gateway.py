"""What the commands share that speak to a running gateway: the same GraphQL as anybody, from the command line."""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from api.cli.show import note

if TYPE_CHECKING:
    import httpx

DEADLINE = 10.0

Url = Annotated[
    str, typer.Option("--url", envvar="HELIOGRAPH_URL", help="The gateway; left out, the one on this machine.")
]
Key = Annotated[
    str,
    typer.Option(
        "--key",
        envvar="HELIOGRAPH_API_KEY",
        help="An API key that may do this; left out, the development key of `heliograph up`.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON for programs: a value a line.")]
After = Annotated[
    str, typer.Option("--after", help="Go on right after this cursor, which an earlier run said.", show_default=False)
]


def client_of(url: str, key: str) -> "httpx.Client":
    """What asks the gateway."""
    import httpx

    return httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=DEADLINE)


def ask(url: str, key: str, query: str, variables: Mapping[str, Any]) -> dict[str, Any]:
    """The payload of an operation that succeeds; whatever else happens is one line and the exit status 1."""
    address = address_of(url)
    answer = _post(address, key_of(key), {"query": query, "variables": variables})
    try:
        document = answer.json()
        errors, data = document.get("errors"), document.get("data")
    except (ValueError, AttributeError):
        fail(f"what answers at {address} is no gateway (HTTP {answer.status_code}).")
    if errors:
        fail(_reason(errors[0]["message"], (errors[0].get("extensions") or {}).get("fields")))
    if not data:
        fail(f"the gateway answered HTTP {answer.status_code}.")
    (payload,) = data.values()
    if not payload["success"]:
        fail(_reason(payload["message"], (payload.get("error") or {}).get("fields")))
    return payload  # type: ignore[no-any-return]  # it is JSON


def _post(address: str, key: str, body: Mapping[str, Any]) -> "httpx.Response":
    import httpx

    # In ASCII, so that what is no text (an argument in another encoding) is refused by the gateway and names its field.
    content = json.dumps(body, allow_nan=False)
    try:
        with client_of(address, key) as client:
            return client.post("/graphql", content=content, headers={"Content-Type": "application/json"})
    except UnicodeEncodeError:
        fail("the API key holds a character that no key has.")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        fail(f"nobody answers at {address}: {error}")


def _reason(message: str, fields: Iterable[Mapping[str, Any]] | None) -> str:
    return "; ".join(f"{'.'.join(each['path'])}: {each['message']}" for each in fields or ()) or message


def address_of(url: str) -> str:
    """What was named, or this machine."""
    return url.rstrip("/") or f"http://127.0.0.1:{os.environ.get('HELIOGRAPH_PORT') or os.environ.get('PORT') or 8000}"


def key_of(key: str) -> str:
    """What was named, or the development key; fails where there is none."""
    from api.embedded import KEY_FILE

    path = Path(os.environ.get("HELIOGRAPH_VAR_DIR") or "var") / KEY_FILE
    try:
        return key or path.read_text().strip()
    except OSError:
        fail("give an API key: --key or HELIOGRAPH_API_KEY.")


def fail(message: str) -> NoReturn:
    """Say why not, in one line, and end with the exit status 1."""
    note(message)
    raise typer.Exit(1)


def misused(message: str) -> NoReturn:
    """Say what is wrong with the command itself, in one line, and end with the exit status 2."""
    note(message)
    raise typer.Exit(2)
