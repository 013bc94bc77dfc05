"""The one entry point: `heliograph <verb>`. Each verb is a file; what takes long to import, a verb imports itself."""

from collections.abc import Callable

import typer

from api.cli import dead_letters, explain, health, keys, roles, schema, send, tail, top, watch

app = typer.Typer(
    name="heliograph",
    help="Notifications that signal back: send email and push by GraphQL, and watch what becomes of them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

VERBS: tuple[Callable[..., None], ...] = (
    *(roles.up, roles.serve, roles.work, roles.migrate, schema.schema),
    *(send.send, watch.watch, tail.tail, explain.explain, top.top, health.health),
)
for verb in VERBS:
    app.command()(verb)
app.add_typer(keys.app)
app.add_typer(dead_letters.app)


def main() -> None:
    """What the console script calls."""
    app()
