"""Compiling before it is needed: long texts in a thread, so that no event loop stops for them.

A text at its limits takes some 30 ms to compile, and one request may bring five.
"""

from collections.abc import Iterable
from functools import partial

from domain.errors import TemplateError
from domain.markup.text import CompiledText, Compiler
from domain.offloop import OffLoop
from domain.template import Parts, Renderer, texts

LONG = 2_000
"""Characters of a text that holds tags; what is shorter takes less than 5 ms."""
WAITING = 1_000
"""Texts that may wait for the thread at once."""


class Ahead:
    """Fills the cache of a renderer, which stays of one thread: what is compiled elsewhere is handed to it."""

    def __init__(self, renderer: Renderer, *, waiting: int = WAITING, deadline: float = 5.0) -> None:
        self._renderer = renderer
        self._compiler = Compiler()
        """The thread's own."""
        self._off_loop = OffLoop("compiler", waiting=waiting, deadline=deadline)

    async def compile(self, bodies: Iterable[Parts]) -> None:
        """Afterwards the renderer knows all long texts of these bodies, those that are wrong too.

        Raises `RateLimited` when too much is waiting.
        """
        for body in bodies:
            for part, _, source in texts(body):
                html = part == "html"
                if _is_long(source) and not self._renderer.knows(source, html=html):
                    made = await self._off_loop.run(partial(_compiled, self._compiler, source, html))
                    self._renderer.keep(source, made, html=html)

    def close(self) -> None:
        """Give up what waits. May be called twice."""
        self._off_loop.close()


def _is_long(source: str) -> bool:
    return len(source) > LONG and ("{{" in source or "{%" in source)


def _compiled(compiler: Compiler, source: str, html: bool) -> CompiledText | TemplateError:
    try:
        compiled = compiler.compile(source, html=html)
        _ = compiled.required  # worked out when it is first asked for, which is half of the work
    except TemplateError as error:
        return error.with_traceback(None)
    return compiled
