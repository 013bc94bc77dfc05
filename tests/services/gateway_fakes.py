"""The gateway with everything behind it in memory: real rules, real feed, no database."""

from collections.abc import Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec

from api.gateway.acknowledging import Acknowledgements
from api.gateway.actions import CancelledTooLate
from api.gateway.aftermath import Aftermath
from api.gateway.app import GatewayServices, gateway_app
from api.gateway.feed import Follower
from api.gateway.previews import Previews
from api.gateway.queries import NotificationFilter, Slice, Stretch
from api.gateway.queries import Page as Found
from api.gateway.sockets import Sockets
from api.gateway.validation import Policy
from api.gateway.webhooks import Webhook
from api.rate_limits import RateLimiter
from api.security import ALL_SCOPES, Principal, Scope, secret_of
from domain.callbacks import Callback, CallbackKind
from domain.channels import STATUS_CHANNEL
from domain.doorbell import encode_rows
from domain.errors import Conflict, DatabaseUnavailable, NotFound, Unauthenticated
from domain.events import Attempt
from domain.notification import FINAL, Outcome, Status
from domain.ports import LogRow
from domain.send import SendPorts
from domain.template import Renderer
from domain.unsubscribing import UnsubscribeLinks
from domain.views import NotificationView, Order, Receipt, RequestView, receipt_of
from tests.services.letter_fakes import Letters
from tests.services.operator_fakes import Blocks, FixedFigures, KeyRing
from tests.services.service_fakes import NOON, Papers, People
from tests.unit.feed_fakes import FakeBell, FakeLog

KEY = "hg_everything"
READER = "hg_reader"
TESTER = "hg_test_tester"


class Keys:
    """One key may do everything, one only read notifications, and one is a test key. `away`: nobody can say."""

    def __init__(self) -> None:
        self.away = False
        self.known = {
            KEY: Principal(client="shop", key_id="key_1", name="all", scopes=ALL_SCOPES),
            READER: Principal(
                client="desk", key_id="key_2", name="reader", scopes=frozenset({Scope.NOTIFICATIONS_READ})
            ),
            TESTER: Principal(
                client="trial", key_id="key_3", name="tester", scopes=ALL_SCOPES - {Scope.OPERATIONS}, test=True
            ),
        }

    async def authenticate_headers(self, headers: Mapping[str, str]) -> Principal:
        """As `ApiKeys`."""
        if self.away:
            raise DatabaseUnavailable("The gateway database does not answer.")
        principal = self.known.get(secret_of(headers))
        if principal is None:
            raise Unauthenticated("This API key is unknown or revoked.")
        return principal


class Store:
    """`Requests` and `Reads` on dictionaries; every change is a row of `log`. It counts its reads."""

    def __init__(self) -> None:
        self.log, self.bell = FakeLog(), FakeBell()
        self.orders: dict[tuple[str, str], tuple[Order, Receipt]] = {}
        self.views: dict[str, NotificationView] = {}
        self.tries: dict[str, list[Attempt]] = {}
        self.said: list[Callback] = []
        self.batches: list[list[Callback]] = []
        self.reads: list[str] = []
        self.failing: Exception | None = None

    async def accept(self, order: Order) -> Receipt:
        """As `Requests.accept`."""
        known = await self.find(order.client, order.request_id, order.fingerprint)
        if known is not None:
            return known
        receipt = receipt_of(order, NOON)
        self.orders[order.client, order.request_id] = (order, receipt)
        for view, draft in zip(receipt.notifications, order.drafts, strict=False):
            self.views[view.id] = view
            self._write(view, None, view.reason, detail=draft.detail or None)
        return receipt

    async def find(self, client: str, request_id: str, fingerprint: str) -> Receipt | None:
        """As `Requests.find`."""
        known = self.orders.get((client, request_id))
        if known is None:
            return None
        if known[0].fingerprint != fingerprint:
            raise Conflict("This request_id was used for another input.", request_id)
        return msgspec.structs.replace(known[1], duplicate=True)

    def change(self, id: str, status: Status, reason: str | None = None, **more: Any) -> LogRow:
        """What the relay would record; `more` of the entry."""
        before = self.views[id]
        self.views[id] = msgspec.structs.replace(before, status=status, reason=reason, sequence=before.sequence + 1)
        return self._write(self.views[id], before.status, reason, **more)

    def _write(self, view: NotificationView, previous: Status | None, reason: str | None, **more: Any) -> LogRow:
        row = LogRow(
            position=len(self.log.rows) + 1,
            sequence=view.sequence,
            notification_id=view.id,
            request_id=view.request_id,
            request=view.request,
            client="shop",
            user_id=view.recipient.user_id,
            channel=view.channel,
            category=view.category,
            status=view.status,
            previous_status=previous,
            reason=reason,
            attempt=None,
            provider=None,
            detail=None,
            occurred_at=NOON,
            recorded_at=NOON,
            correlation_id=view.correlation_id,
        )
        row = msgspec.structs.replace(row, **more)
        self.log.rows.append(row)
        self.bell.ring(STATUS_CHANNEL, encode_rows([row]))
        return row

    def _note(self, what: str) -> None:
        self.reads.append(what)
        if self.failing is not None:
            raise self.failing

    async def notification(self, id: str) -> NotificationView | None:
        self._note("notification")
        return self.views.get(id)

    async def notifications_by_id(self, ids: Sequence[str]) -> dict[str, NotificationView]:
        self._note("notifications_by_id")
        return {id: self.views[id] for id in ids if id in self.views}

    async def notifications(self, where: NotificationFilter, page: int, limit: int) -> Found[NotificationView]:
        self._note("notifications")
        found = [
            view
            for view in reversed(self.views.values())
            if (where.status is None or view.status in where.status)
            and where.user_id in (None, view.recipient.user_id)
            and (where.request_id is None or view.request_id == where.request_id)
        ]
        return Found(found[(page - 1) * limit : page * limit], len(found), page, limit)

    async def notifications_along(self, where: NotificationFilter, stretch: Stretch) -> Slice[NotificationView]:
        """Forwards only."""
        self._note("notifications_along")
        found = [
            view
            for view in sorted(self.views.values(), key=lambda view: view.id, reverse=True)
            if where.user_id in (None, view.recipient.user_id) and (stretch.after is None or view.id < stretch.after)
        ]
        return Slice(found[: stretch.limit], len(found) > stretch.limit)

    async def request(self, client: str | None, request_id: str) -> RequestView | None:
        self._note("request")
        for (owner, key), (order, _) in self.orders.items():
            if key == request_id and client in (None, owner):
                return self._request(order)
        return None

    async def request_by_id(self, id: str) -> RequestView | None:
        self._note("request_by_id")
        return next((self._request(order) for order, _ in self.orders.values() if order.id == id), None)

    def _request(self, order: Order) -> RequestView:
        counts: dict[Status, int] = {}
        for draft in order.drafts:
            status = self.views[draft.id].status
            counts[status] = counts.get(status, 0) + 1
        return msgspec.structs.replace(receipt_of(order, NOON).request, counts=counts)

    async def notifications_of_request(
        self, request: str, status: Status | None, page: int, limit: int
    ) -> Found[NotificationView]:
        self._note("notifications_of_request")
        found = [view for view in self.views.values() if view.request == request and status in (None, view.status)]
        return Found(found[(page - 1) * limit : page * limit], len(found), page, limit)

    async def attempts(self, ids: Sequence[str]) -> dict[str, list[Attempt]]:
        self._note("attempts")
        return {id: self.tries[id] for id in ids if id in self.tries}

    async def callbacks(self, ids: Sequence[str]) -> dict[str, list[Callback]]:
        self._note("callbacks")
        return {id: [one for one in self.said if one.notification_id == id] for id in ids}

    async def record(self, callbacks: Sequence[Callback]) -> None:
        """As `Callbacks.record`, as far as DELIVERED goes."""
        if self.failing is not None:
            raise self.failing
        self.batches.append(list(callbacks))
        for one in callbacks:
            if one.notification_id in self.views:
                self.said.append(one)
                if one.kind is CallbackKind.DELIVERED:
                    self.change(one.notification_id, Status.DELIVERED)

    async def unsubscribe(self, callback: Callback) -> str | None:
        """As `SqlCallbacks.unsubscribe`."""
        view = self.views.get(callback.notification_id)
        if view is None:
            return None
        self.said.append(callback)
        return view.category

    async def timeline(self, ids: Sequence[str], after_sequence: int = 0) -> dict[str, list[LogRow]]:
        self._note("timeline")
        return {
            id: [row for row in self.log.rows if row.notification_id == id and row.sequence > after_sequence]
            for id in ids
        }

    async def cancel(self, id: str) -> NotificationView:
        """As `Actions.cancel`."""
        view = self.views.get(id)
        if view is None:
            raise NotFound("notification", id)
        if view.status is Status.SENDING or (view.status in FINAL and view.status is not Status.CANCELLED):
            raise CancelledTooLate(view, "an attempt is under way or its outcome is unknown")
        if view.status is not Status.CANCELLED:
            self.change(id, Status.CANCELLED, "Cancelled by the caller.")
        return self.views[id]


class Gateway:
    """The application under test and everything behind it."""

    def __init__(
        self,
        rate: str = "",
        allowed_origins: tuple[str, ...] = (),
        policy: Policy | None = None,
        webhooks: Mapping[str, Webhook] | None = None,
        *,
        sandbox: bool = True,
    ) -> None:
        self.links = UnsubscribeLinks("a secret that signs the links", "https://notify.example")
        self.keys, self.store, self.people, self.papers = Keys(), Store(), People(), Papers()
        self.feed = Follower(self.store.log, self.store.bell, poll=0.05)
        self.blocks, self.ring, self.sockets = Blocks(), KeyRing(), Sockets()
        self.letters, self.figures = Letters(), FixedFigures()
        self.previews = Previews(self.papers)
        self.hastened = 0
        self.app = gateway_app(
            GatewayServices(
                send_ports=SendPorts(self.store, self.people, self.papers, self.blocks, Renderer()),
                queries=self.store,
                cancel=self.store.cancel,
                acknowledge=Acknowledgements(self.store, self.store).acknowledge,
                aftermath=Aftermath(self.store, self.store, self.links, webhooks or {}),
                users=self.people,
                templates=self.papers,
                previews=self.previews,
                suppressions=self.blocks,
                dead_letters=self.letters,
                replays=self.letters,
                hasten_erasure=self._hasten,
                keys=self.ring,
                limiter=RateLimiter(rate),
                sockets=self.sockets,
                allowed_origins=allowed_origins,
                feed=self.feed,
                figures=self.figures,
                api_keys=self.keys,
                checks={},
                policy=policy or Policy(),
                sandbox=sandbox,
            )
        )
        transport = httpx.ASGITransport(app=self.app)
        self.http = httpx.AsyncClient(transport=transport, base_url="http://gateway")

    async def _hasten(self) -> None:
        self.hastened += 1

    async def post(self, query: str, variables: Any = None, *, key: str | None = KEY, **more: Any) -> httpx.Response:
        """One operation by POST."""
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        headers.update(more.pop("headers", {}))
        body = {"query": query, "variables": variables, **more}
        return await self.http.post("/graphql", json=body, headers=headers)

    async def ask(self, query: str, variables: Any = None, *, key: str = KEY) -> Any:
        """The data of an operation that succeeds."""
        answer = (await self.post(query, variables, key=key)).json()
        assert "errors" not in answer, answer
        return answer["data"]

    async def send(self, **changes: Any) -> Any:
        """The payload of a `send_notification`."""
        given = {"recipient": {"email": "ada@example.com"}, "content": {"subject": "Hi", "text": "Hello"}, **changes}
        return (await self.ask(SEND, {"input": given}))["send_notification"]


SEND = """mutation ($input: SendNotificationInput!) { send_notification(input: $input) {
  success message error { __typename code message ... on ValidationError { fields { path code message } }
    ... on ConflictError { request_id } }
  data { duplicate accepted request { id request_id total finished counts { status count } }
         notifications { id request_id channel status sequence recipient { email user_id device_count } } } } }"""


@asynccontextmanager
async def running_gateway(
    rate: str = "",
    allowed_origins: tuple[str, ...] = (),
    policy: Policy | None = None,
    webhooks: Mapping[str, Webhook] | None = None,
) -> Any:
    """A gateway whose feed follows; without a `rate`, anybody may call as often as they like."""
    gateway = Gateway(rate, allowed_origins, policy, webhooks)
    await gateway.feed.start()
    try:
        yield gateway
    finally:
        await gateway.http.aclose()
        gateway.previews.close()
        await gateway.feed.stop()


def attempt(number: int = 1) -> Attempt:
    """A delivery attempt that was accepted."""
    return Attempt(number=number, provider="smtp", outcome=Outcome.ACCEPTED, started_at=NOON, duration_ms=12)
