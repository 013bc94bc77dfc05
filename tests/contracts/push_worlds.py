"""The push providers behind one face, each with the endpoint that it is tested against."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tests.contracts.onesignal_server import API_KEY, APP_ID, OneSignal
from tests.contracts.push_servers import OK, served
from workers.push.fcm import FcmProvider
from workers.push.onesignal import OneSignalProvider
from workers.sandbox.fcm import FcmEndpoint

FATES = {
    "fine": ("a-device-token", "11111111-2222-4333-8444-555555555555"),
    "gone": ("x-sandbox-unregistered", "11111111-2222-4333-8444-55555555DEAD"),
    "refused": ("x-sandbox-invalid", "11111111-2222-4333-8444-555555550400"),
    "limited": ("x-sandbox-quota", "11111111-2222-4333-8444-555555550429"),
    "away": ("x-sandbox-unavailable-always", "11111111-2222-4333-8444-555555550503"),
    "away once": ("sandbox-unavailable", "11111111-2222-4333-8444-55555555cccc"),
    "nameless": ("x-sandbox-nameless", "11111111-2222-4333-8444-555555550200"),
    "slow": ("x-sandbox-slow", "11111111-2222-4333-8444-55555555bbbb"),
    "hangs": ("sandbox-hang", "11111111-2222-4333-8444-55555555aaaa"),
}
"""The token of each fate, at FCM and at OneSignal."""


@dataclass
class World:
    """One provider's name, endpoint and ways. `place` is its column in `FATES`."""

    name: str
    place: int
    url: str
    endpoint: FcmEndpoint | OneSignal

    def token(self, fate: str) -> str:
        """A device token that meets this fate."""
        return FATES[fate][self.place]

    def make(self, url: str | None = None, *, connections: int = 100) -> FcmProvider | OneSignalProvider:
        """A provider that calls the endpoint, or another one. To be closed by the caller."""
        if self.name == "fcm":
            return FcmProvider(None, "demo", url=url or self.url, connections=connections)
        return OneSignalProvider(APP_ID, API_KEY, url=url or self.url, connections=connections)

    @property
    def received(self) -> list[tuple[str, dict[str, str]]]:
        """Title and data of what the endpoint accepted, in order."""
        if isinstance(self.endpoint, OneSignal):
            return [(message["headings"]["en"], message["data"]) for message in self.endpoint.messages]
        messages = [received.message for received in self.endpoint.store.messages]
        return [(message["notification"]["title"], message["data"]) for message in messages]

    @property
    def answer(self) -> bytes:
        """A whole answer that means acceptance, as it comes over the wire."""
        if self.name == "fcm":
            return OK
        body = b'{"id":"4c2f8a3e-0000-4000-8000-000000000001"}'
        return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


@asynccontextmanager
async def world(name: str) -> AsyncIterator[World]:
    """The provider's world while its endpoint runs."""
    if name == "fcm":
        endpoint = FcmEndpoint(slow=0.05)
        await endpoint.start()
        yield World(name, 0, endpoint.url, endpoint)
        await endpoint.stop()
    else:
        onesignal = OneSignal()
        async with served(onesignal.app) as server:
            yield World(name, 1, server.url, onesignal)
