"""What accepting asks the outside for, in memory: three users, one template, and what was stored."""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from domain.errors import Conflict, FieldProblem, NotFound, UpstreamUnavailable, ValidationFailed
from domain.notification import Channel
from domain.ports import Known
from domain.recipient import Device, Recipient
from domain.send import SendPorts, send
from domain.submission import RecipientRef, Submission, TemplateRef
from domain.template import Content, Renderer, Template, TemplateLocale, TemplateVersion
from domain.tracing import UNTRACED, Tracer
from domain.views import Order, Receipt, receipt_of

NOW = datetime.now(UTC)
LATER = NOW + timedelta(hours=1)

ADA = Recipient(
    user_id="usr_ada", email="ada@example.com", devices=(Device(id="dev_1", token="token-1"),), locale="pt-BR"
)
BOB = Recipient(user_id="usr_bob", email="bob@example.com", locale="de")
EVE = Recipient(user_id="usr_eve")
USERS = {recipient.user_id: recipient for recipient in (ADA, BOB, EVE)}

MAIL = Content(subject="Hello", text="World")
BOTH = Content(subject="Hello", html="<p>World</p>", title="Hello", body="World")
WELCOME = TemplateVersion(
    key="welcome",
    version=3,
    default_locale="en",
    published=True,
    locales=(
        TemplateLocale(locale="en", subject="Hi {{ name }}", text="Code {{ code }}", title="Hi {{ name }}"),
        TemplateLocale(locale="pt", subject="Oi {{ name }}", text="-", title="Oi", data={"deep": "{{ link.path }}"}),
        TemplateLocale(locale="de", subject="Hallo", text="Welt"),
    ),
    created_at=NOW,
)
GIVEN = {"name": "Ada", "code": 7, "link": {"path": "/x"}}


class FakeRequests:
    """Keeps orders in memory, as the store promises."""

    def __init__(self) -> None:
        self.orders: dict[tuple[str, str], Order] = {}

    async def accept(self, order: Order) -> Receipt:
        known = await self.find(order.client, order.request_id, order.fingerprint)
        if known is not None:
            return known
        self.orders[order.client, order.request_id] = order
        return receipt_of(order, NOW)

    async def find(self, client: str, request_id: str, fingerprint: str) -> Receipt | None:
        order = self.orders.get((client, request_id))
        if order is None:
            return None
        if order.fingerprint != fingerprint:
            raise Conflict("another input", request_id)
        return msgspec.structs.replace(receipt_of(order, NOW), duplicate=True)


class FakeRecipients:
    """The users that exist; counts its calls. Away when told so; `stale`: away, and everybody is remembered."""

    def __init__(self) -> None:
        self.users = dict(USERS)
        self.calls: list[list[str]] = []
        self.away = self.stale = False

    async def lookup(self, user_ids: Sequence[str]) -> Mapping[str, Known[Recipient]]:
        self.calls.append(sorted(user_ids))
        if self.away:
            raise UpstreamUnavailable("The User Service is away.")
        return {id: Known(self.users[id], self.stale) for id in user_ids if id in self.users}


class FakeTemplates:
    """One template with a published version 3 and a draft version 4, and one that was never published."""

    def __init__(self) -> None:
        self.gone = self.stale = False

    async def published(self, key: str) -> Known[Template]:
        if self.gone or key not in ("welcome", "draft"):
            raise NotFound("template", key)
        published = WELCOME if key == "welcome" else None
        template = Template(
            id="tpl_1", key=key, name=key, default_locale="en", published=published, created_at=NOW, updated_at=NOW
        )
        return Known(template, self.stale)

    async def version(self, key: str, version: int) -> TemplateVersion:
        if self.gone or key != "welcome" or version not in (3, 4):
            raise NotFound("template version", f"{key}@{version}")
        return msgspec.structs.replace(WELCOME, version=version)


class FakeSuppressions:
    """The suppressed contact points, and why."""

    def __init__(self) -> None:
        self.points: dict[str, str] = {}

    async def among(
        self, channel: Channel, contact_points: Collection[str], category: str | None = None
    ) -> Mapping[str, str]:
        return {point: why for point, why in self.points.items() if point in contact_points}


class World:
    """The ports, and what was stored through them."""

    def __init__(self, tracer: Tracer = UNTRACED) -> None:
        self.requests = FakeRequests()
        self.recipients = FakeRecipients()
        self.templates = FakeTemplates()
        self.suppressions = FakeSuppressions()
        outside = (self.requests, self.recipients, self.templates, self.suppressions)
        self._ports = SendPorts(*outside, Renderer(), tracer=tracer)

    async def send(self, **given: Any) -> Receipt:
        return await send(submission(**given), self._ports)

    async def order(self, **given: Any) -> Order:
        """What was stored for a submission."""
        receipt = await self.send(**given)
        return self.requests.orders["client", receipt.request.request_id]

    async def problems(self, **given: Any) -> dict[str, str]:
        """The path and the code of everything that is wrong; nothing may have been stored."""
        with pytest.raises(ValidationFailed) as caught:
            await self.send(**given)
        assert self.requests.orders == {}
        assert all(problem.message for problem in caught.value.fields)
        return {path(problem): problem.code for problem in caught.value.fields}


def path(problem: FieldProblem) -> str:
    return ".".join(problem.path)


def submission(**given: Any) -> Submission:
    """A good submission, but for what is given; `to` are recipients by keyword."""
    to = given.pop("to", [{"email": "ada@example.com"}])
    plain: dict[str, Any] = {
        "client": "client",
        "request_id": "r1",
        "recipients": tuple(RecipientRef(**one) for one in to),
        "batch": len(to) > 1,
        "correlation_id": "cor_1",
    }
    if "template" not in given and "content" not in given:
        plain["content"] = MAIL
    return Submission(**(plain | given))


def template(**given: Any) -> TemplateRef:
    return TemplateRef(**({"key": "welcome"} | given))
