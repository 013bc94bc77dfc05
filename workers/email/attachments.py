"""The files of a mail, fetched before a provider is chosen: what is wrong with them is no provider's fault.

So it is in no attempt, opens no breaker, and leads to no other provider: the delivery ends here, for good or for now.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from functools import partial

from domain.attachments import Attachment
from domain.errors import RateLimited
from domain.notification import Outcome
from domain.offloop import OffLoop
from domain.outgoing import Delivered, File
from domain.ports import Claim
from workers.email.fetching import CONNECTIONS, Fetched, Fetcher, FetchError
from workers.email.file_cache import Body, FileCache
from workers.email.mime_files import base64_lines
from workers.slots import Slots

MAX_BYTES = 10_000_000
MAX_BYTES_TOGETHER = 20_000_000
IN_HAND = 64 * 1024 * 1024
"""Bytes of files in mails that are being sent; each is in memory some four times."""
BUSY_SECONDS = 1.0


class Attachments:
    """Fetches what claims name. `hosts` may be in a network of one's own; sizes are in bytes, for one file and for all
    files of one mail."""

    def __init__(
        self,
        hosts: Collection[str] = (),
        *,
        max_bytes: int = MAX_BYTES,
        max_bytes_together: int = MAX_BYTES_TOGETHER,
        fetcher: Fetcher | None = None,
        cache: FileCache | None = None,
    ) -> None:
        self._max_bytes, self._max_together = max_bytes, max_bytes_together
        self._fetcher = fetcher or Fetcher(hosts)
        self._cache = cache or FileCache()
        self._encoder = OffLoop("attachments", waiting=2 * CONNECTIONS)
        self._in_hand = Slots(IN_HAND)

    @asynccontextmanager
    async def of(self, claim: Claim, deadline: float) -> AsyncIterator[tuple[File, ...] | Delivered]:
        """The claim's files, in order, for as long as the context lasts; or what its delivery came to without them.

        Within `deadline` seconds, waiting for others' mails to be sent included.
        """
        if not claim.attachments:
            yield ()
            return
        ends_at = time.monotonic() + deadline
        try:
            files = await self._fetched(claim.attachments, ends_at)
        except _FileError as error:
            yield error.delivered
            return
        size = sum(len(file.content) for file in files)
        try:
            async with asyncio.timeout(ends_at - time.monotonic()):
                await self._in_hand.take(size)
        except TimeoutError:
            reason = "Too many mails with attachments are being sent."
            yield Delivered(outcome=None, code="attachments_waiting", retry_after=BUSY_SECONDS, reason=reason)
            return
        try:
            yield files
        finally:
            self._in_hand.give_back(size)

    async def close(self) -> None:
        """Let go of connections and threads. May be called twice."""
        await self._cache.close()
        await self._fetcher.close()
        self._encoder.close()

    async def _fetched(self, attachments: Collection[Attachment], ends_at: float) -> tuple[File, ...]:
        """One after the other, so that what is too large together is not fetched to its end."""
        files: list[File] = []
        for attachment in attachments:
            body = await self._body(attachment, ends_at)
            if sum(len(file.content) for file in files) + len(body.content) > self._max_together:
                what = f"makes the attachments larger than {self._max_together:,} bytes together"
                raise _FileError(attachment, FetchError(Outcome.PERMANENT, "attachment_too_large", what))
            files.append(
                File(
                    filename=attachment.filename,
                    content_type=attachment.content_type or body.content_type,
                    content=body.content,
                    lines=body.lines,
                )
            )
        return tuple(files)

    async def _body(self, attachment: Attachment, ends_at: float) -> Body:
        left = ends_at - time.monotonic()
        try:
            async with asyncio.timeout(left):
                return await self._cache.get(attachment.url, partial(self._fetch, attachment.url, left))
        except FetchError as error:
            raise _FileError(attachment, error) from error
        except (TimeoutError, RateLimited) as error:
            late = FetchError(Outcome.TRANSIENT, "attachment_unavailable", "did not come in time")
            raise _FileError(attachment, late) from error

    async def _fetch(self, url: str, deadline: float) -> Body:
        fetched = await self._fetcher.fetch(url, self._max_bytes, deadline)
        lines = await self._encoder.run(partial(_encoded, fetched))
        return Body(fetched.content, lines, fetched.content_type)


class _FileError(Exception):
    """A mail cannot be sent, for a file of it."""

    def __init__(self, attachment: Attachment, error: FetchError) -> None:
        self.delivered = Delivered(
            outcome=error.outcome,
            code=error.code,
            reason=f"The attachment {attachment.filename} {error.what}.",
            retry_after=error.retry_after,
        )
        super().__init__(error.code)


def _encoded(fetched: Fetched) -> tuple[bytes, ...]:
    """In the encoder's thread. Between pieces the event loop may run, whose turn it is."""
    pieces = []
    for piece in base64_lines(fetched.content):
        pieces.append(piece)
        time.sleep(0)
    return tuple(pieces)
