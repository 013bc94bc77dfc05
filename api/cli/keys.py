"""`heliograph keys …`: API keys from the command line, against a running gateway, over the same GraphQL as anybody."""

from typing import Annotated

import typer
from rich.table import Table

from api.cli.gateway import Key, Url, ask
from api.cli.show import moment, plain, show_page

CREATE = """mutation ($input: CreateApiKeyInput!) {
  create_api_key(input: $input) {
    success message error { ... on ValidationError { fields { path message } } }
    data { key { id client scopes } secret } } }"""
LIST = """query ($page: Int!, $limit: Int!) {
  api_keys(page: $page, limit: $limit) {
    success message meta { total page total_pages }
    data { id name client scopes test created_at last_used_at revoked_at } } }"""
REVOKE = "mutation ($id: ID!) { revoke_api_key(id: $id) { success message } }"

app = typer.Typer(name="keys", help="Make, list and revoke API keys of a running gateway.", no_args_is_help=True)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What the key is for.")],
    scope: Annotated[list[str], typer.Option(help="What it may do, such as notifications:send; may be repeated.")],
    client: Annotated[str, typer.Option(help="The client of an older key that this one replaces.")] = "",
    test: Annotated[bool, typer.Option("--test", help="A test key: what it sends goes to the sandbox.")] = False,
    url: Url = "",
    key: Key = "",
) -> None:
    """Make a key and print its secret, once."""
    given = {"name": name, "scopes": scope, "client": client or None, "test": test}
    made = ask(url, key, CREATE, {"input": given})["data"]
    about = made["key"]
    kind = "test key " if test else ""
    typer.echo(f"Made {kind}{about['id']} of the client {about['client']}, for {', '.join(about['scopes'])}.", err=True)
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
    found = ask(url, key, LIST, {"page": page, "limit": limit})
    table = Table("id", "name", "kind", "client", "scopes", "created", "last used", "revoked", box=None)
    for each in found["data"]:
        kind = "test" if each["test"] else "live"
        moments = [moment(each[name]) for name in ("created_at", "last_used_at", "revoked_at")]
        table.add_row(
            each["id"],
            plain(each["name"]),
            kind,
            each["client"],
            "\n".join(each["scopes"]),
            *moments,
        )
    show_page(table, found["meta"], "keys")


@app.command()
def revoke(
    id: Annotated[str, typer.Argument(help="The key's id, `key_…`.")],
    url: Url = "",
    key: Key = "",
) -> None:
    """Revoke a key: it is refused from now on. May be called again."""
    ask(url, key, REVOKE, {"id": id})
    typer.echo(f"{id} is revoked.")
