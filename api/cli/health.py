"""`heliograph health`: how a running role does, and what it depends on."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from api.cli.gateway import address_of, fail
from api.cli.show import coloured, console, plain, say, table_of

if TYPE_CHECKING:
    import httpx

DEADLINE = 5.0

RoleUrl = Annotated[str, typer.Option(help="Where the role listens; left out, this machine.", envvar="HELIOGRAPH_URL")]


def health(
    url: RoleUrl = "", as_json: Annotated[bool, typer.Option("--json", help="The whole answer, for programs.")] = False
) -> None:
    """Ask a running role how it does.

    The exit status is 0 when it works, be it degraded, and 1 when it is down or not there.
    """
    address = address_of(url)
    answer = _ask(address)
    try:
        whole = answer.json()
        status, table = coloured(whole["data"]["status"]), _table(whole["data"]["dependencies"])
    except (ValueError, KeyError, TypeError, AttributeError):
        fail(f"what answers at {address} is no role of Heliograph (HTTP {answer.status_code}).")
    if as_json:
        typer.echo(json.dumps(whole))
    else:
        _show(plain(f"{address} is ").append_text(status).append("."), table)
    raise typer.Exit(0 if answer.is_success else 1)


def _ask(address: str) -> "httpx.Response":
    import httpx

    try:
        return httpx.get(f"{address}/health", timeout=DEADLINE)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        fail(f"nobody answers at {address}: {error}")


def _table(dependencies: Mapping[str, Mapping[str, Any]]) -> Table:
    rows = [
        (name, coloured(each["status"]), f"{each['latency_ms']:.1f} ms", each["error"] or "")
        for name, each in dependencies.items()
    ]
    return table_of(("depends on", "status", "latency", "error"), rows)


def _show(summary: Text, table: Table) -> None:
    out = console()
    say(summary, out)
    if table.row_count:
        out.print()
        out.print(table)
