"""`heliograph schema`: the GraphQL schema, and what of it clients rely on."""

from pathlib import Path
from typing import Annotated

import typer

SCHEMA, RELEASED = Path("schema.graphql"), Path("schema.released.graphql")


def schema(
    check: Annotated[
        bool,
        typer.Option(help="Only say whether schema.graphql is up to date and breaks no client of the last release."),
    ] = False,
    write: Annotated[bool, typer.Option(help="Write schema.graphql.")] = False,
    release: Annotated[bool, typer.Option(help="Write schema.released.graphql: a version is released.")] = False,
) -> None:
    """Print the GraphQL schema, write it to schema.graphql, or check that file."""
    from api.schema_file import print_schema, released_schema

    text = print_schema()
    if check:
        _check_schema(text)
    if write or release:
        SCHEMA.write_text(text)
    if release:
        RELEASED.write_text(released_schema(text))
    if not (check or write or release):
        typer.echo(text, nl=False)


def _check_schema(text: str) -> None:
    from api.schema_file import breaking_changes

    problems: list[str] = []
    if not SCHEMA.exists() or SCHEMA.read_text() != text:
        problems.append(f"{SCHEMA} is not what the code says: run `heliograph schema --write`.")
    if not RELEASED.exists():
        problems.append(f"{RELEASED} is missing: it is the schema of the last release.")
    else:
        changes = breaking_changes(RELEASED.read_text(), text)
        problems += [f"This breaks clients of the last release: {change}" for change in changes]
    for problem in problems:
        typer.echo(problem, err=True)
    if problems:
        raise typer.Exit(1)
