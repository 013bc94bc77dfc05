"""The gateway database with everything on it, for the suites that test what it promises."""

from datetime import UTC, datetime, timedelta
from typing import Any

from api.database import Databases
from api.gateway.callbacks import SqlCallbacks
from api.gateway.claims import SqlClaims
from api.gateway.logreader import SqlStatusLog
from api.gateway.opt_outs import OptOuts
from api.gateway.outbox import SqlOutbox
from api.gateway.queries import Queries
from api.gateway.refused_addresses import RefusedAddresses
from api.gateway.repository import SqlRequests
from api.gateway.statuslog import SqlStatusStore
from api.gateway.suppressions import SqlSuppressions
from domain.attachments import Attachment
from domain.events import DeliveryItem, StatusChanged
from domain.ids import NOTIFICATION, REQUEST, new_id
from domain.notification import Channel, Priority, Status
from domain.ports import Claim, Due, LogFilter, LogRow
from domain.recipient import Recipient
from domain.template import Content
from domain.views import Draft, Order, Receipt
from tests.services.service_fakes import People

LEASE, REDRIVE = 60.0, 30.0
ALL = LogFilter()


class Store:
    """The gateway database with everything on it, as `bootstrap` would wire it."""

    def __init__(self, databases: Databases) -> None:
        self.database = databases["gateway"]
        self.announced: list[LogRow] = []
        self.queries = Queries(self.database)
        self.requests = SqlRequests(self.database, self.queries, self.announced.extend)
        self.outbox = SqlOutbox(self.database)
        self.claims = SqlClaims(self.database)
        self.log = SqlStatusLog(self.database)
        self.suppressions = SqlSuppressions(self.database, "a secret that keys the hashes")
        self.status = SqlStatusStore(self.database, RefusedAddresses(self.database, self.suppressions))
        self.people = People()
        opt_outs = OptOuts(self.people, self.suppressions)
        self.callbacks = SqlCallbacks(self.database, self.status, self.suppressions, opt_outs, self.announced.extend)

    async def accept(self, **changes: Any) -> Receipt:
        return await self.requests.accept(order(**changes))

    async def accepted(self, **changes: Any) -> str:
        """Accept one notification; its id."""
        return (await self.accept(**changes)).notifications[0].id

    async def take(self, limit: int = 100) -> list[Due]:
        return await self.outbox.take_due(Channel.EMAIL, limit, REDRIVE)

    async def claim(self, id: str, attempt: int, lease: float = LEASE) -> Claim | None:
        claims = await self.claims.claim([DeliveryItem(id, attempt)], lease)
        return claims[0] if claims else None

    async def attempted(self, **changes: Any) -> Claim:
        """Accept one notification and begin an attempt; its claim."""
        id = await self.accepted(**changes)
        claim = await self.claim(id, 0)
        assert claim is not None
        return claim

    async def sent(self, **changes: Any) -> str:
        """Accept one notification and send it; its id."""
        claim = await self.attempted(**changes)
        assert await self.record(change(claim, Status.SENT, provider="smtp")) == []
        return claim.id

    async def status_of(self, id: str) -> Status:
        view = await self.queries.notification(id)
        assert view is not None
        return view.status

    async def record(self, *changes: StatusChanged) -> list[str]:
        """Record; why the ignored ones were ignored."""
        return [why for _, why in (await self.status.record(changes)).ignored]

    async def notifications_of(self, request: str) -> list[str]:
        """The ids of a request's notifications."""
        rows = await self.database.query("SELECT id FROM notifications WHERE request = $1 ORDER BY id", [request])
        return [row["id"] for row in rows]

    async def make_due(self, id: str) -> None:
        """Let the time pass until the row's clock has come."""
        past = datetime.now(UTC) - timedelta(seconds=5)
        text = past.strftime("%Y-%m-%d %H:%M:%S.%f+00:00")
        cast = "$1::text::timestamptz" if self.database.dialect == "postgres" else "$1"
        await self.database.query(f"UPDATE notifications SET next_at = {cast} WHERE id = $2", [text, id])

    async def check_invariants(self) -> None:
        """Positions dense above the horizon, the log of each notification whole, no clock on a final row."""
        rows = await self.database.query("SELECT position, notification_id, sequence FROM status_log ORDER BY position")
        horizon = (await self.database.query("SELECT horizon FROM retention"))[0]["horizon"]
        above = [row["position"] for row in rows if row["position"] > horizon]
        assert above == list(range(horizon + 1, await self.log.head() + 1))
        sequences: dict[str, int] = {}
        for row in rows:
            assert row["sequence"] == sequences.get(row["notification_id"], 0) + 1
            sequences[row["notification_id"]] = row["sequence"]
        kept = await self.database.query("SELECT id, sequence FROM notifications")
        assert {row["id"]: sequences[row["id"]] for row in kept} == {row["id"]: row["sequence"] for row in kept}
        text = "SELECT id FROM notifications WHERE (next_at IS NULL) <> (status IN ('SENT', 'DELIVERED', 'BOUNCED', "
        text += "'FAILED', 'SKIPPED', 'CANCELLED', 'EXPIRED'))"
        assert await self.database.query(text) == []


def order(
    request_id: str | None = None,
    fingerprint: str = "f",
    count: int = 1,
    status: Status = Status.ACCEPTED,
    send_at: datetime | None = None,
    priority: Priority = Priority.NORMAL,
    client: str = "client",
    recipient: Recipient | None = None,
    channel: Channel = Channel.EMAIL,
    *,
    test: bool = False,
    attachments: tuple[Attachment, ...] = (),
) -> Order:
    id = new_id(REQUEST)
    drafts = tuple(
        Draft(
            id=new_id(NOTIFICATION),
            channel=channel,
            status=status,
            reason=None,
            due_at=send_at,
            recipient=recipient or Recipient(email=f"user{number}@example.com"),
            template=None,
            variables={"n": number},
        )
        for number in range(count)
    )
    return Order(
        id=id,
        client=client,
        request_id=request_id or id,
        fingerprint=fingerprint,
        correlation_id="cor_test",
        traceparent=None,
        category="general",
        priority=priority,
        content=Content(subject="Hello", text="World"),
        variables={"shared": True},
        push=None,
        metadata={"own": [1, 2]},
        send_at=send_at,
        deliver_by=None,
        drafts=drafts,
        test=test,
        attachments=attachments,
    )


def change(claim: Claim, status: Status, **more: object) -> StatusChanged:
    return StatusChanged(
        notification_id=claim.id,
        status=status,
        occurred_at=claim.claimed_at,
        attempt=claim.attempt,
        token=claim.token,
        **more,  # type: ignore[arg-type]
    )


def queued(due: Due) -> StatusChanged:
    return StatusChanged(notification_id=due.id, status=Status.QUEUED, occurred_at=due.taken_at, attempt=due.attempt)


def cancelled(id: str) -> StatusChanged:
    return StatusChanged(notification_id=id, status=Status.CANCELLED, occurred_at=datetime.now(UTC))
