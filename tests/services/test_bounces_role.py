"""`heliograph work bounces`, and the same within `heliograph up`."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiosmtplib
import httpx
import pytest

from api.bootstrap import build, build_embedded
from api.builder import Builder
from api.settings import Settings, load_settings
from api.system import System
from domain.callbacks import Callback, CallbackKind
from domain.errors import ConfigurationError
from domain.ids import NOTIFICATION, new_id
from tests.servers.ports import free_ports
from tests.unit import dsn_mails as mails
from workers.email.return_path import ReturnPaths

SECRET = "6f1d0a7be24c3958c1d4e7fa3b2d9e18"
TOKEN = "c07de24a60588c1d4e7fa3b2"


class Recorder:
    """`domain.callbacks.Callbacks` in memory."""

    def __init__(self) -> None:
        self.callbacks: list[Callback] = []

    async def record(self, callbacks: Sequence[Callback]) -> None:
        """As the port promises."""
        self.callbacks += callbacks


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()
    monkeypatch.setattr(Builder, "callbacks", lambda *_: recorder)
    return recorder


def settings(folder: Path, **changes: Any) -> Settings:
    [port] = free_ports(1)
    given: dict[str, Any] = {
        "var_dir": str(folder),
        "secret": SECRET,
        "service_token": TOKEN,
        "bounce_address": "bounces@example.com",
        "bounce_listen": f"127.0.0.1:{port}",
    }
    return load_settings(**(given | changes))


async def worker(chosen: Settings) -> System:
    return await build("bounces", chosen)


@pytest.mark.parametrize("make", [worker, build_embedded], ids=["work", "up"])
async def test_it_takes_bounces_and_says_how_it_does(
    make: Callable[[Settings], Awaitable[System]], recorder: Recorder, tmp_path: Path, redis_url: str
) -> None:
    chosen = settings(tmp_path, feed_url=redis_url, users_url="http://127.0.0.1:1")
    assert chosen.bounce_endpoint is not None
    host, port = chosen.bounce_endpoint
    system = await make(chosen)
    assert system.app is not None
    id = new_id(NOTIFICATION)
    path = ReturnPaths("bounces@example.com", SECRET).make(id, datetime.now(UTC))
    transport = httpx.ASGITransport(system.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://heliograph.test") as client:
        assert (await client.get("/health")).status_code == 503
        await system.start()
        try:
            health = await client.get("/health")
            async with aiosmtplib.SMTP(hostname=host, port=port, start_tls=False) as mail_server:
                await mail_server.sendmail("", [path], mails.POSTFIX)
            metrics = await client.get("/metrics")
        finally:
            await system.stop()
    assert health.status_code == 200
    assert health.json()["data"]["dependencies"]["bounces"]["status"] == "ok"
    assert 'heliograph_bounce_mails_total{result="recorded"} 1.0' in metrics.text
    assert [(said.notification_id, said.kind) for said in recorder.callbacks] == [(id, CallbackKind.BOUNCED)]
    with pytest.raises(aiosmtplib.SMTPConnectError):
        await aiosmtplib.SMTP(hostname=host, port=port).connect()


async def test_it_does_not_start_without_knowing_where_to_listen(recorder: Recorder, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="HELIOGRAPH_BOUNCE_LISTEN"):
        await worker(settings(tmp_path, bounce_address=None, bounce_listen=None))
