"""How a command runs a coroutine."""

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import typer

from api.cli.show import note
from domain.errors import ConfigurationError, HeliographError

T = TypeVar("T")


def run(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine on uvloop where there is one. What Heliograph itself has to say is one line, not a traceback."""
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(work())
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    except ConfigurationError as error:
        note(error.message)
        raise typer.Exit(2) from error
    except HeliographError as error:
        note(error.message)
        raise typer.Exit(1) from error


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if sys.platform == "win32":
        return None
    import uvloop

    return uvloop.new_event_loop
