"""The one entry point: `heliograph <verb>`."""

import asyncio
import os
import sys
from collections.abc import Callable, Coroutine
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from api import cli_dead_letters, cli_explain, cli_keys
from domain.errors import ConfigurationError, HeliographError

app = typer.Typer(
    name="heliograph",
    help="Notifications that signal back: send email and push by GraphQL, and watch what becomes of them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


app.add_typer(cli_keys.app)
app.add_typer(cli_dead_letters.app)
app.command()(cli_explain.explain)


SCHEMA, RELEASED = Path("schema.graphql"), Path("schema.released.graphql")


class Service(StrEnum):
    """What `serve` can serve."""

    GATEWAY = "gateway"
    USERS = "users"
    TEMPLATES = "templates"


class Work(StrEnum):
    """What `work` can do."""

    EMAIL = "email"
    PUSH = "push"
    DISPATCH = "dispatch"
    RELAY = "relay"
    BOUNCES = "bounces"
    SANDBOX = "sandbox"


@app.command()
def up(
    demo: Annotated[bool, typer.Option(help="Send one email and one push first, and show their live status.")] = False,
) -> None:
    """Run everything in one process, on the embedded defaults: SQLite, an in-process broker, a local mailbox."""
    from api.run import run_embedded

    _run(lambda: run_embedded(demo=demo))


@app.command()
def serve(service: Service) -> None:
    """Serve the API Gateway, the User Service or the Template Service."""
    from api.run import run_role

    _run(lambda: run_role(service.value))


@app.command()
def work(role: Work) -> None:
    """Run a worker: the Email Service, the Push Service, a dispatcher, the status relay, the bounce listener, or the
    sandbox."""
    from api.run import run_role

    _run(lambda: run_role(role.value))


@app.command()
def migrate() -> None:
    """Bring the tables of all databases in the settings up to date. May run at any time, and several at once."""
    from api.run import run_migrations

    _run(run_migrations)


@app.command()
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


@app.command()
def health(url: Annotated[str, typer.Option(help="Where the role listens.")] = "") -> None:
    """Ask a running role how it does; the exit status is 0 when it is well."""
    import httpx

    address = url or f"http://127.0.0.1:{os.environ.get('HELIOGRAPH_PORT') or os.environ.get('PORT') or 8000}"
    try:
        answer = httpx.get(f"{address}/health", timeout=5.0)
    except httpx.HTTPError as error:
        typer.echo(f"Nobody answers at {address}: {error}", err=True)
        raise typer.Exit(1) from error
    typer.echo(answer.text)
    raise typer.Exit(0 if answer.is_success else 1)


def _run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a coroutine on uvloop where there is one. What Heliograph itself has to say is one line, not a traceback."""
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(work())
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    except ConfigurationError as error:
        typer.echo(f"heliograph: {error.message}", err=True)
        raise typer.Exit(2) from error
    except HeliographError as error:
        typer.echo(f"heliograph: {error.message}", err=True)
        raise typer.Exit(1) from error


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if sys.platform == "win32":
        return None
    import uvloop

    return uvloop.new_event_loop


def main() -> None:
    """What the console script calls."""
    app()
