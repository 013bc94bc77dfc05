"""`heliograph up`, `serve`, `work`, `migrate`: what runs until it is stopped, and what prepares it."""

from enum import StrEnum
from typing import Annotated

import typer

from api.cli.running import run


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


def up(
    demo: Annotated[bool, typer.Option(help="Send one email and one push first, and show their live status.")] = False,
) -> None:
    """Run everything in one process, on the embedded defaults: SQLite, an in-process broker, a local mailbox."""
    from api.run import run_embedded

    run(lambda: run_embedded(demo=demo))


def serve(service: Service) -> None:
    """Serve the API Gateway, the User Service or the Template Service."""
    from api.run import run_role

    run(lambda: run_role(service.value))


def work(role: Work) -> None:
    """Run a worker: the Email Service, the Push Service, a dispatcher, the status relay, the bounce listener, or the
    sandbox."""
    from api.run import run_role

    run(lambda: run_role(role.value))


def migrate() -> None:
    """Bring the tables of all databases in the settings up to date. May run at any time, and several at once."""
    from api.run import run_migrations

    run(run_migrations)
