"""Suppressions as GraphQL shows them, and what adds and lifts them."""

from datetime import datetime
from typing import Annotated, Self

import strawberry
from strawberry import UNSET

from api.gateway.schema.context import Info
from api.gateway.schema.envelope import Answers, PageMeta, Response, check_page
from api.gateway.schema.inputs import given
from api.gateway.schema.node import Node
from api.gateway.schema.paging import Limit, PageNumber
from api.gateway.schema.users import DeletePayload
from api.gateway.suppressions import DEFAULT_REASON, MAX_REASON
from api.gateway.suppressions import Suppression as SuppressionView
from api.security import Scope
from domain.errors import FieldProblem, NotFound, ValidationFailed
from domain.ids import SUPPRESSION, is_id
from domain.notification import Channel
from domain.recipient import email_problem, token_problem
from domain.text import storable

field = strawberry.field


@strawberry.type(description="Our block on a contact point: nothing is sent there, whatever its owner prefers.")
class Suppression(Node):
    """Our block on a contact point."""

    channel: Channel = field(description="The channel that it blocks.")
    contact_point: str = field(description="The address or token; `(erased)` once the user it was of was erased.")
    category: str | None = field(description="What alone it blocks, once somebody unsubscribed; null for everything.")
    reason: str = field(description="Why: a hard bounce, a complaint, an unsubscribe, or whatever it was added for.")
    created_at: datetime = field(description="When it was added.")

    @classmethod
    def of(cls, view: SuppressionView) -> Self:
        """From the store."""
        return cls(
            id=strawberry.ID(view.id),
            channel=view.channel,
            contact_point=view.contact_point,
            category=view.category,
            reason=view.reason,
            created_at=view.created_at,
        )


@strawberry.input(description="A contact point to block.")
class SuppressionInput:
    """A contact point to block."""

    channel: Channel = field(description="The channel to block it on.")
    contact_point: str = field(description="An address for EMAIL, a device token for PUSH.")
    reason: str | None = field(default=UNSET, description=f'Why; default "{DEFAULT_REASON}".')

    def check(self) -> None:
        """Raises `ValidationFailed` naming what is wrong."""
        rule = email_problem if self.channel is Channel.EMAIL else token_problem
        problems = []
        if (problem := rule(self.contact_point)) is not None:
            problems.append(FieldProblem(("contact_point",), "contact_point", problem))
        if (reason := given(self.reason)) is not None and not _is_sentence(reason):
            problems.append(FieldProblem(("reason",), "text", f"takes 1 to {MAX_REASON} characters of text"))
        if problems:
            raise ValidationFailed(problems)


def _is_sentence(text: str) -> bool:
    return bool(text.strip()) and len(text) <= MAX_REASON and storable(text)


@strawberry.type(description="One suppression.")
class SuppressionPayload(Response):
    """One suppression."""

    data: Suppression | None = field(default=None, description="The suppression; null on failure.")


@strawberry.type(description="A page of suppressions.")
class SuppressionListPayload(Response):
    """A page of suppressions."""

    data: list[Suppression] | None = field(default=None, description="The suppressions; null on failure.")


@strawberry.type
class SuppressionQueries:
    """Mixed into `Query`."""

    @field(
        description="Suppressions, the newest first.", extensions=[Answers(SuppressionListPayload, Scope.OPERATIONS)]
    )
    async def suppressions(
        self,
        info: Info,
        channel: Annotated[Channel | None, strawberry.argument(description="Those on this channel.")] = None,
        page: PageNumber = 1,
        limit: Limit = 20,
    ) -> SuppressionListPayload:
        """A page."""
        check_page(page, limit)
        found, total = await info.context.services.suppressions.page(channel, page, limit)
        items = [Suppression.of(view) for view in found]
        return SuppressionListPayload.ok(items, meta=PageMeta.of(total, page, limit))


@strawberry.type
class SuppressionMutations:
    """Mixed into `Mutation`."""

    @strawberry.mutation(
        description="Block a contact point. One that is blocked already stays so, for its first reason.",
        extensions=[Answers(SuppressionPayload, Scope.OPERATIONS)],
    )
    async def add_suppression(
        self, info: Info, input: Annotated[SuppressionInput, strawberry.argument(description="What to block.")]
    ) -> SuppressionPayload:
        """May be called again."""
        input.check()
        reason = given(input.reason) or DEFAULT_REASON
        added = await info.context.services.suppressions.add(input.channel, input.contact_point, reason)
        return SuppressionPayload.ok(Suppression.of(added), "Added.")

    @strawberry.mutation(
        description="Allow a contact point again.", extensions=[Answers(DeletePayload, Scope.OPERATIONS)]
    )
    async def lift_suppression(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="The suppression.")]
    ) -> DeletePayload:
        """NOT_FOUND the second time."""
        if not is_id(SUPPRESSION, id):
            raise NotFound("suppression", id)
        await info.context.services.suppressions.lift(id)
        return DeletePayload.deleted(id)
