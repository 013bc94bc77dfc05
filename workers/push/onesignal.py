"""Push through OneSignal: `POST /notifications?c=push` of its REST API, as its OpenAPI document 11.6 describes it
(https://documentation.onesignal.com/reference/push-notification).

One call is for one subscription, so that each device has an outcome of its own.
"""

import time
import uuid
from collections.abc import Callable

from domain.errors import ConfigurationError
from domain.notification import Outcome
from domain.outgoing import Answer, OutgoingPush
from domain.push_payload import PayloadTooLargeError
from domain.recipient import Device, is_subscription_id
from workers.http_pool import HttpPool, NoAnswerError, NotSentError
from workers.push.onesignal_answer import answer_of
from workers.push.onesignal_message import encode
from workers.push.reading import shown

ONESIGNAL_URL = "https://api.onesignal.com"
_PATH = "/notifications?c=push"


class OneSignalProvider:
    """OneSignal as a `PushProvider`, for one app. Make it on the event loop that uses it.

    `app_id` is the app's UUID, `api_key` its App API key; `url` is the base of another endpoint that speaks the same
    API. At most `connections` calls are in flight, the others wait their turn within their deadline. Raises
    `ConfigurationError`.
    """

    name = "onesignal"

    def __init__(
        self,
        app_id: str,
        api_key: str,
        *,
        url: str | None = None,
        connections: int = 100,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._app_id = _app_id(app_id)
        self._headers = _headers(api_key)
        try:
            self._http = HttpPool(url or ONESIGNAL_URL, connections=connections)
        except ValueError as error:
            raise ConfigurationError(f"OneSignal's URL: {error}.") from error
        self._clock = clock

    def serves(self, device: Device) -> bool:
        """Subscription ids only: what another SDK gave is no business of OneSignal's."""
        return is_subscription_id(device.token)

    async def send(self, push: OutgoingPush, deadline: float) -> Answer:
        """One push notification to one subscription; answers within `deadline` seconds, never raises for an answer."""
        try:
            body = encode(push, self._app_id)
        except ValueError as error:
            code = "payload_too_large" if isinstance(error, PayloadTooLargeError) else "invalid_message"
            return Answer(outcome=Outcome.PERMANENT, code=code, detail=shown(str(error), push.device.token))
        try:
            reply = await self._http.post(_PATH, self._headers, body, deadline)
        except NotSentError as error:
            detail = f"OneSignal could not be reached: {error}."
            return Answer(outcome=Outcome.TRANSIENT, code="not_sent", detail=detail)
        except NoAnswerError as error:
            # The idempotency key makes a retry within 30 days harmless, not the outcome known: the recipient may have
            # it by now, and a TRANSIENT could still be cancelled or expire as if nothing had been sent. So UNKNOWN;
            # the usual policy sends again with the same key, and OneSignal answers with what it did the first time.
            return Answer(outcome=Outcome.UNKNOWN, code="no_answer", detail=f"OneSignal may have taken it: {error}.")
        return answer_of(reply, self._clock(), secret=push.device.token)

    async def close(self) -> None:
        """Let go of connections. May be called twice."""
        self._http.close()


def _app_id(given: str) -> str:
    try:
        return str(uuid.UUID(given))
    except ValueError as error:
        raise ConfigurationError("OneSignal's app id is not a UUID.") from error


def _headers(api_key: str) -> dict[str, str]:
    if not (api_key and api_key.isascii() and api_key.isprintable() and " " not in api_key):
        raise ConfigurationError("OneSignal's API key is empty or has a character that no key has.")
    return {"authorization": f"Key {api_key}", "content-type": "application/json; charset=utf-8"}
