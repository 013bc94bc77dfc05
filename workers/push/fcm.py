"""Push through Firebase Cloud Messaging, HTTP v1.

firebase-admin gives the credentials, the message types and their validation; the call itself goes over our own
transport, because firebase-admin's retries behind our back, ignores Retry-After, refreshes tokens on the event loop
and costs ten times the CPU (docs/decisions/0003-fcm-transport.md).
"""

import asyncio
import time
import uuid
from collections.abc import Callable
from typing import Any

import firebase_admin
from firebase_admin import credentials
from google.auth.transport import Request
from google.oauth2.credentials import Credentials

from domain.errors import ConfigurationError
from domain.notification import Outcome
from domain.outgoing import Answer, OutgoingPush, PushOptions
from domain.push_payload import PayloadTooLargeError
from domain.recipient import Device, is_subscription_id
from workers.http_pool import HttpPool, NoAnswerError, NotSentError, Reply
from workers.push.access_token import AccessToken, NoAccessTokenError
from workers.push.fcm_answer import answer_of
from workers.push.fcm_message import encode
from workers.push.reading import shown

FCM_URL = "https://fcm.googleapis.com"
_LOCAL = "local"


class _LocalToken(Credentials):
    """Fetched anew it is the same: a local endpoint that refused it once (401) is asked again."""

    def refresh(self, request: Request) -> None:
        self.token = _LOCAL


class LocalCredential(credentials.Base):  # type: ignore[misc]  # firebase-admin has no types
    """A token that needs no network, for an endpoint of our own."""

    def get_credential(self) -> Credentials:
        """The Google credential behind it; it never expires."""
        return _LocalToken(_LOCAL)  # type: ignore[no-untyped-call]


class FcmProvider:
    """FCM as a `PushProvider`, for one Firebase project. Make it on the event loop that uses it.

    `credentials_file` is a service account's JSON key. `url` is the base of another endpoint that speaks FCM; with
    it, and without a credentials file, no request leaves for Google. At most `connections` calls are in flight, the
    others wait their turn within their deadline. `name` is what attempts call it. Raises `ConfigurationError`.
    """

    def __init__(
        self,
        credentials_file: str | None,
        project_id: str,
        *,
        url: str | None = None,
        name: str = "fcm",
        connections: int = 100,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.name = name
        credential = _credential(credentials_file, url)
        try:
            self._http = HttpPool(url or FCM_URL, connections=connections)
        except ValueError as error:
            raise ConfigurationError(f"FCM's URL: {error}.") from error
        self._app: Any = firebase_admin.initialize_app(
            credential, {"projectId": project_id}, name=f"heliograph-{uuid.uuid4()}"
        )
        self._path = f"/v1/projects/{project_id}/messages:send"
        self._token = AccessToken(self._app.credential.get_credential())
        self._clock = clock

    def serves(self, device: Device) -> bool:
        """Everything but what is known to be another provider's."""
        return not is_subscription_id(device.token)

    async def send(self, push: OutgoingPush, deadline: float) -> Answer:
        """One push notification to one device; answers within `deadline` seconds and never raises for FCM's answer."""
        return await self._send(push, deadline, dry_run=False)

    async def verify(self, device: Device, deadline: float) -> Answer:
        """What FCM would answer to a push to this device; nothing is sent. The same promises as `send`."""
        probe = OutgoingPush(device=device, title="-", body="", options=PushOptions(), notification_id="-")
        return await self._send(probe, deadline, dry_run=True)

    async def close(self) -> None:
        """Let go of connections and of the Firebase app. May be called twice."""
        self._http.close()
        await self._token.close()
        if self._app is not None:
            firebase_admin.delete_app(self._app)
            self._app = None

    async def _send(self, push: OutgoingPush, deadline: float, *, dry_run: bool) -> Answer:
        try:
            body = encode(push, self._clock(), dry_run=dry_run)
        except ValueError as error:
            code = "payload_too_large" if isinstance(error, PayloadTooLargeError) else "invalid_message"
            return Answer(outcome=Outcome.PERMANENT, code=code, detail=shown(str(error), push.device.token))
        try:
            reply = await self._post(body, deadline)
        except NoAccessTokenError as error:
            return Answer(outcome=Outcome.TRANSIENT, code="no_access_token", detail=f"FCM was not called: {error}.")
        except NotSentError as error:
            return Answer(outcome=Outcome.TRANSIENT, code="not_sent", detail=f"FCM could not be reached: {error}.")
        except NoAnswerError as error:
            return Answer(outcome=Outcome.UNKNOWN, code="no_answer", detail=f"FCM may have taken it: {error}.")
        return answer_of(reply, self._clock(), secret=push.device.token)

    async def _post(self, body: bytes, deadline: float) -> Reply:
        loop = asyncio.get_running_loop()
        ends = loop.time() + deadline
        token = await self._token.get(deadline)
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        reply = await self._http.post(self._path, headers, body, ends - loop.time())
        if reply.status == 401:
            self._token.refused(token)
        return reply


def _credential(credentials_file: str | None, url: str | None) -> credentials.Base:
    if credentials_file is None:
        if url is None:
            raise ConfigurationError("FCM needs the credentials file of a service account.")
        return LocalCredential()
    try:
        return credentials.Certificate(credentials_file)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"FCM's credentials file cannot be used: {error}") from error
