"""A real mail server's bounces, all the way: our mail, Postfix, a refusal behind it, its report, our listener."""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest

from domain.callbacks import Callback, CallbackKind
from domain.ids import NOTIFICATION, new_id
from domain.notification import Outcome
from tests.contracts.smtp_servers import ScriptedServer, mail, provider_for
from tests.servers.postfix import PostfixServer
from workers.email.bounces import BounceListener
from workers.email.return_path import ReturnPaths

PATHS = ReturnPaths("bounces@bounces.example.com", "s" * 32)
DEADLINE = 60.0

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="Postfix starts as root only")


class Heard:
    """`domain.callbacks.Callbacks` that can be waited for."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Callback] = asyncio.Queue()

    async def record(self, callbacks: Sequence[Callback]) -> None:
        """As the port promises."""
        for callback in callbacks:
            self._queue.put_nowait(callback)

    async def next(self) -> Callback:
        async with asyncio.timeout(DEADLINE):
            return await self._queue.get()


@asynccontextmanager
async def sent(refusal: bytes, notification_id: str, back_by: str = "smtp") -> AsyncIterator[Heard]:
    """Our mail is in the hands of a Postfix whose next server answers its recipient with `refusal`."""
    heard = Heard()
    listener = BounceListener(("127.0.0.1", 0), PATHS, heard)
    await listener.start()
    try:
        async with ScriptedServer({"RCPT": refusal}).running() as next_server:
            way = f"{back_by}:[127.0.0.1]:{listener.port}"
            postfix = PostfixServer(relay=next_server.port, returns=("bounces.example.com", way))
            await asyncio.to_thread(postfix.__enter__)
            try:
                await _send(postfix.url, notification_id)
                yield heard
            finally:
                await asyncio.to_thread(postfix.close)
    finally:
        await listener.stop(1.0)


async def _send(url: str, notification_id: str) -> None:
    provider = provider_for(url)
    path = PATHS.make(notification_id, datetime.now(UTC))
    try:
        answer = await provider.send(mail(envelope_sender=path), DEADLINE)
    finally:
        await provider.close()
    assert answer.outcome is Outcome.ACCEPTED


@pytest.mark.parametrize(
    ("refusal", "back_by", "code", "words"),
    [
        (b"550 5.1.1 <ada.lovelace@example.com>: no ada.lovelace here", "smtp", "5.1.1", "(address) no (address) here"),
        (b"552 5.2.2 the mailbox is full", "lmtp", "5.2.2", "the mailbox is full"),
    ],
)
async def test_a_refusal_behind_our_server_comes_back_as_a_bounce(
    refusal: bytes, back_by: str, code: str, words: str
) -> None:
    id = new_id(NOTIFICATION)
    async with sent(refusal, id, back_by) as heard:
        callback = await heard.next()
    assert (callback.notification_id, callback.kind) == (id, CallbackKind.BOUNCED)
    assert (callback.permanent, callback.code) == (code == "5.1.1", code)
    assert callback.reason is not None
    assert words in callback.reason
    assert "lovelace" not in callback.reason


async def test_a_warning_that_it_is_delayed_comes_back_as_one() -> None:
    id = new_id(NOTIFICATION)
    async with sent(b"451 4.7.1 Greylisted, come back later", id) as heard:
        callback = await heard.next()
    assert (callback.notification_id, callback.kind) == (id, CallbackKind.DELAYED)
    assert (callback.permanent, callback.code) == (False, "4.7.1")
    assert "Greylisted" in (callback.reason or "")
