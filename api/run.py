"""Running a role: settings, logging, start, serve until a signal, stop in order."""

import asyncio
import gc
import logging
import os
import sys

from api.bootstrap import build, build_embedded
from api.database import Databases
from api.demo import Demo
from api.logs import configure_logging
from api.server import Server, until_signalled
from api.settings import Settings, load_settings
from api.system import System
from domain.life import hushed
from domain.telemetry import role

log = logging.getLogger(__name__)

HTTP_GRACE = 5
YOUNG_OBJECTS = 20_000


async def run_role(name: str) -> None:
    """Run one role until SIGTERM or SIGINT."""
    settings = _settings()
    role.set(name)
    _configure(settings, "json")
    await _serve(await build(name, settings), settings)


async def run_embedded(*, demo: bool) -> None:
    """Run everything in this process until SIGTERM or SIGINT; with `demo` show first what it does."""
    settings = _settings()
    role.set("up")
    _configure(settings, "text")
    system = await build_embedded(settings)
    await _serve(system, settings, Demo(settings) if demo else None)


async def run_migrations() -> None:
    """Migrate every database that the settings name."""
    settings = _settings()
    _configure(settings, "json")
    databases = await Databases.open(settings.database_urls)
    try:
        await databases.migrate()
    finally:
        await databases.close()


async def _serve(system: System, settings: Settings, demo: Demo | None = None) -> None:
    assert system.app is not None, "every role has an application, if only for its health"
    server = Server(system.app, settings.host, settings.port, grace=HTTP_GRACE)
    stopping = asyncio.create_task(until_signalled(), name="signals")
    showing: asyncio.Task[None] | None = None
    try:
        # Health answers while dependencies are waited for, so an orchestrator sees what is missing.
        await server.start()
        starting = asyncio.create_task(system.start(), name="start")
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
        else:
            await starting
            spare_the_collector()
            log.info("ready on http://%s:%d", settings.host, server.port)
            showing = asyncio.create_task(_show(demo, server.port), name="demo") if demo else None
        await stopping
    finally:
        if showing is not None:
            showing.cancel()
        await server.stop()
        await system.stop()


async def _show(demo: Demo, port: int) -> None:
    """What the demonstration prints is the life of its notifications: the log need not tell it in between."""
    with hushed():
        await demo.show(port)


def spare_the_collector() -> None:
    """What was made by now (modules, schema, templates) stays: the garbage collector need not look at it again.

    An operation makes thousands of short-lived objects, so the youngest generation is given more room too; the middle
    one is not, because looking at it is one pause (of some 80 ms at this size).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 10, 20)


def _settings() -> Settings:
    """The environment; `PORT` counts where `HELIOGRAPH_PORT` is not set."""
    port = os.environ.get("PORT")
    if port and "HELIOGRAPH_PORT" not in os.environ:
        os.environ["HELIOGRAPH_PORT"] = port
    return load_settings()


def _configure(settings: Settings, otherwise: str) -> None:
    chosen = {"auto": otherwise}.get(settings.log_format, settings.log_format)
    configure_logging(settings.log_level, "text" if settings.log_format == "auto" and sys.stderr.isatty() else chosen)
