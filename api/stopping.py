"""How answers that have no end learn that their server stops."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

STOPPING = "stopping"
"""Where a request's `state` has the `Stopping` of its server."""


class Stopping:
    """Tells the answers that have no end that the server stops. However many there are, each leaves in no time."""

    def __init__(self) -> None:
        self._told: set[asyncio.Future[None]] = set()
        self._begun = False

    @contextmanager
    def told(self) -> Iterator["asyncio.Future[None]"]:
        """A future that is done once the server stops; done at once if it does already."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._begun:
            future.set_result(None)
        self._told.add(future)
        try:
            yield future
        finally:
            self._told.discard(future)

    def begin(self) -> None:
        """The server stops. May be called twice."""
        self._begun = True
        for future in self._told:
            if not future.done():
                future.set_result(None)
