"""The gateway's REST: what became of a notification or a request, for those who do not speak GraphQL."""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

import msgspec
from fastapi import Depends, FastAPI, Path
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from api.access import Limiter, allow, may_see
from api.gateway.schema.services import Reads
from api.http import LastResort, respond
from api.openapi import Answers, documented, merged
from api.security import Authenticator, Principal, Scope
from api.swagger import docs_routes
from domain.callbacks import Callback
from domain.errors import NotFound
from domain.events import Attempt
from domain.ids import NOTIFICATION, is_id
from domain.notification import Channel, Priority, Status
from domain.outgoing import Pinned
from domain.ports import LogRow
from domain.views import NotificationView, RequestView

PATHS = ("/v1/{path:path}", "/docs", "/docs/{path:path}", "/openapi.json")
"""What of the gateway's paths the REST application answers."""

TAGS = [{"name": "status", "description": "What became of what was sent."}]
SECURITY = {
    "api_key": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key, `hg_…`, or an end user's JWT where the gateway is set up for them.",
    },
    "api_key_header": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "An API key, `hg_…`."},
}

Instant = Annotated[datetime, Meta(tz=True)]
Reader = Callable[[Request], Coroutine[Any, Any, Principal]]


class RecipientSummary(msgspec.Struct, frozen=True, kw_only=True):
    """Who a notification is for. Without the device tokens: whoever holds one can push to the device."""

    user_id: Annotated[str | None, Meta(description="Null for a contact point that the caller gave directly.")]
    email: str | None
    device_count: int


class NotificationStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One notification: where it is, every attempt to deliver it, and its status log."""

    id: str
    request_id: Annotated[str, Meta(description="The idempotency key of the request that it is part of.")]
    correlation_id: str
    channel: Channel
    status: Status
    reason: Annotated[str | None, Meta(description="Why it has this status, in one sentence.")]
    sequence: Annotated[int, Meta(description="How many statuses it has had; counts from 1.")]
    template: Annotated[Pinned | None, Meta(description="The version and locale that it was accepted with.")]
    category: str
    priority: Priority
    provider: str | None
    provider_message_id: str | None
    possible_duplicate: Annotated[bool, Meta(description="A provider may have taken it more than once.")]
    metadata: Annotated[Any, Meta(description="What the caller gave with it, as it came.")]
    test: Annotated[bool, Meta(description="A test key sent it: it goes to the sandbox and nowhere else.")]
    created_at: Instant
    send_at: Annotated[Instant | None, Meta(description="Not sent before.")]
    deliver_by: Annotated[Instant | None, Meta(description="Not sent after.")]
    updated_at: Instant
    recipient: RecipientSummary
    attempts: Sequence[Attempt]
    callbacks: Annotated[Sequence[Callback], Meta(description="What was said of it after sending, each thing once.")]
    timeline: Annotated[Sequence[LogRow], Meta(description="Its rows of the status log, the oldest first.")]


class RequestStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One request, and how far its notifications have come."""

    id: str
    request_id: Annotated[str, Meta(description="The caller's idempotency key.")]
    correlation_id: str
    total: Annotated[int, Meta(description="How many notifications it fanned out to.")]
    counts: Annotated[Mapping[Status, int], Meta(description="Notifications by status; only those that occur.")]
    created_at: Instant
    finished: Annotated[bool, Meta(description="Whether every notification has a final status.")]
    percent: Annotated[float, Meta(description="The share of notifications with a final status, 0 to 100.")]


def rest_app(reads: Reads, keys: Authenticator, limiter: Limiter, beside: Mapping[str, FastAPI]) -> FastAPI:
    """The application. It stands within the gateway, which gives each request its correlation id.

    `beside` are the services that share the gateway's port and API keys, by the prefixes of their paths there: its
    document describes them too.
    """
    app = documented(
        title="Heliograph",
        description="What became of what was sent. Sending, and watching live, is GraphQL: `/graphql`.",
        tags=TAGS,
        security=SECURITY,
    )
    app.add_middleware(LastResort)

    answers = Answers(401, 403, 429, 503)
    _add_notification(app, reads, _reader(keys, limiter, end_users=True), answers)
    _add_request(app, reads, _reader(keys, limiter), answers)
    answers.install(app)
    app.router.routes.extend(docs_routes(lambda: merged(app, beside)))
    return app


def _reader(keys: Authenticator, limiter: Limiter, *, end_users: bool = False) -> Reader:
    """Who reads, if they may."""

    async def reader(request: Request) -> Principal:
        principal = await keys.authenticate_headers(request.headers)
        allow(principal, Scope.NOTIFICATIONS_READ, end_users=end_users)
        await limiter.check(principal)
        return principal

    return reader


def _add_notification(app: FastAPI, reads: Reads, reader: Reader, answers: Answers) -> None:
    described = answers.of(NotificationStatus, "The notification.", 404)

    @app.get("/v1/notifications/{id}", tags=["status"], responses=described)
    async def get_notification(
        id: Annotated[str, Path(examples=["ntf_0192f0c4"])],
        caller: Annotated[Principal, Depends(reader)],
    ) -> Response:
        """Where a notification is, every attempt to deliver it, and its status log. End users see their own."""
        view = await reads.notification(id) if is_id(NOTIFICATION, id) else None
        if view is None or not may_see(caller, view):
            raise NotFound("notification", id)
        attempts = (await reads.attempts([id])).get(id, ())
        callbacks = (await reads.callbacks([id])).get(id, ())
        timeline = (await reads.timeline([id])).get(id, ())
        return respond(_notification(view, attempts, callbacks, timeline))


def _add_request(app: FastAPI, reads: Reads, reader: Reader, answers: Answers) -> None:
    described = answers.of(RequestStatus, "The request.", 404)

    @app.get("/v1/requests/{request_id:path}", tags=["status"], responses=described)
    async def get_request(
        request_id: Annotated[str, Path(description="The idempotency key. It may hold slashes.")],
        caller: Annotated[Principal, Depends(reader)],
    ) -> Response:
        """How far a request has come: the caller's own, or else another client's of that key."""
        view = None
        if "\0" not in request_id:
            view = await reads.request(caller.client, request_id) or await reads.request(None, request_id)
        if view is None:
            raise NotFound("request", request_id)
        return respond(_request(view))


def _notification(
    view: NotificationView,
    attempts: Sequence[Attempt],
    callbacks: Sequence[Callback],
    timeline: Sequence[LogRow],
) -> NotificationStatus:
    to = view.recipient
    recipient = RecipientSummary(user_id=to.user_id, email=to.email, device_count=len(to.devices))
    return NotificationStatus(
        **_shared(view, NotificationStatus, but=("recipient",)),
        recipient=recipient,
        attempts=attempts,
        callbacks=callbacks,
        timeline=timeline,
    )


def _request(view: RequestView) -> RequestStatus:
    return RequestStatus(**_shared(view, RequestStatus), finished=view.finished, percent=view.percent)


def _shared(view: msgspec.Struct, answer: type[msgspec.Struct], *, but: tuple[str, ...] = ()) -> dict[str, Any]:
    """What the answer shows of the view as it is."""
    names = (name for name in view.__struct_fields__ if name in answer.__struct_fields__ and name not in but)
    return {name: getattr(view, name) for name in names}
