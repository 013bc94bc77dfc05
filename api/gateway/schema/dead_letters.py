"""Dead letters as GraphQL shows them, and what replays them."""

from datetime import datetime
from typing import Annotated, Self

import msgspec
import strawberry
from strawberry import UNSET
from strawberry.scalars import JSON

from api.gateway.actions import Replayed
from api.gateway.dead_letters import DeadLetter as DeadLetterView
from api.gateway.dead_letters import DeadLetterFilter as Where
from api.gateway.dead_letters import Refusal
from api.gateway.schema.context import Info
from api.gateway.schema.enums import describe
from api.gateway.schema.envelope import Answers, PageMeta, Response, check_page
from api.gateway.schema.inputs import given
from api.gateway.schema.node import Node
from api.gateway.schema.paging import Limit, PageNumber
from api.security import Scope
from api.settings import MAX_REPLAY_RATE
from domain.errors import FieldProblem, ValidationFailed
from domain.ids import NOTIFICATION, is_id
from domain.notification import Channel

field = strawberry.field
MAX_IDS = 100
MAX_REPLAYS = 10_000

describe(
    Refusal, "Why a dead letter was not replayed.", {each: each.sentence for each in Refusal}, name="ReplayRefusal"
)


@strawberry.type(description="A delivery that was given up on, or a message that nobody could read; parked.")
class DeadLetter(Node):
    """A delivery that was given up on, or a message that nobody could read."""

    notification_id: strawberry.ID | None = field(
        description="The notification that was given up on; null for a message that nobody could read."
    )
    channel: Channel | None = field(description="The notification's channel; null for a message.")
    queue: str = field(description="The queue that it came from.")
    reason: str = field(description="One sentence: why it was given up on, or why it could not be read.")
    attempts: int = field(description="How many delivery attempts were made.")
    payload: JSON | None = field(
        description="What is known besides, or the message's body: as JSON as far as it parses, else as text; a very "
        "long one is cut off."
    )
    first_failed_at: datetime = field(description="When its first attempt began.")
    dead_lettered_at: datetime = field(description="When it was given up on.")
    replayed_at: datetime | None = field(description="When it was replayed; null: it still waits.")

    @classmethod
    def of(cls, view: DeadLetterView) -> Self:
        """From the store."""
        return cls(
            id=strawberry.ID(view.id),
            notification_id=None if view.notification_id is None else strawberry.ID(view.notification_id),
            channel=view.channel,
            queue=view.queue,
            reason=view.reason,
            attempts=view.attempts,
            payload=view.payload,
            first_failed_at=view.first_failed_at,
            dead_lettered_at=view.dead_lettered_at,
            replayed_at=view.replayed_at,
        )


@strawberry.input(description="Which dead letters; what is left out does not matter.")
class DeadLetterFilter:
    """Which dead letters."""

    channel: Channel | None = field(default=UNSET, description="Those of deliveries on this channel.")
    notification_id: strawberry.ID | None = field(default=UNSET, description="Those of this notification.")
    replayed: bool | None = field(default=UNSET, description="Those that were replayed, or those that still wait.")
    dead_lettered_after: datetime | None = field(default=UNSET, description="Those given up on later.")
    dead_lettered_before: datetime | None = field(default=UNSET, description="Those given up on earlier.")

    def read(self) -> Where:
        """For the store; raises `ValidationFailed` for a time without its offset and for what is no id."""
        problems = [
            FieldProblem(("filter", name), "time_zone", "takes a time with its offset, such as 2030-01-31T09:00:00Z")
            for name in ("dead_lettered_after", "dead_lettered_before")
            if (moment := given(getattr(self, name))) is not None and moment.tzinfo is None
        ]
        if (id := given(self.notification_id)) is not None and not is_id(NOTIFICATION, id):
            problems.append(FieldProblem(("filter", "notification_id"), "id", "takes the id of a notification"))
        if problems:
            raise ValidationFailed(problems)
        return Where(
            channel=given(self.channel),
            notification_id=given(self.notification_id),
            replayed=given(self.replayed),
            dead_lettered_after=given(self.dead_lettered_after),
            dead_lettered_before=given(self.dead_lettered_before),
        )


@strawberry.type(description="A page of dead letters.")
class DeadLetterListPayload(Response):
    """A page of dead letters."""

    data: list[DeadLetter] | None = field(default=None, description="The dead letters; null on failure.")


@strawberry.type(description="A dead letter that was not replayed.")
class RefusedReplay:
    """A dead letter that was not replayed."""

    id: strawberry.ID = field(description="What was asked for.")
    code: Refusal = field(description="Why not, for programs.")
    message: str = field(description="Why not, in one sentence.")


@strawberry.type(description="What became of each dead letter.")
class Replay:
    """What became of each dead letter."""

    replayed: list[strawberry.ID] = field(description="Those whose notifications are QUEUED again.")
    refused: list[RefusedReplay] = field(description="Those that were not replayed, and why not.")
    seconds: float = field(description="Over how many seconds they are given back; 0: at once.")
    more: bool = field(description="Whether others can be replayed that the limit left out.")

    @classmethod
    def of(cls, done: Replayed) -> Self:
        """From the gateway."""
        refused = [
            RefusedReplay(id=strawberry.ID(id), code=refusal, message=refusal.sentence)
            for id, refusal in done.refused.items()
        ]
        replayed = [strawberry.ID(id) for id in done.replayed]
        return cls(replayed=replayed, refused=refused, seconds=done.seconds, more=done.more)


@strawberry.type(description="A replay. It succeeds when each dead letter was looked at; `data` has what became of it.")
class ReplayPayload(Response):
    """A replay."""

    data: Replay | None = field(default=None, description="What became of each; null on failure.")

    @classmethod
    def of(cls, done: Replayed) -> Self:
        """From the gateway."""
        return cls.ok(Replay.of(done), _told(done))


@strawberry.type
class DeadLetterQueries:
    """Mixed into `Query`."""

    @field(description="Dead letters, the newest first.", extensions=[Answers(DeadLetterListPayload, Scope.OPERATIONS)])
    async def dead_letters(
        self,
        info: Info,
        channel: Annotated[
            Channel | None, strawberry.argument(description="Those of deliveries on this channel; as in `filter`.")
        ] = UNSET,
        filter: Annotated[DeadLetterFilter | None, strawberry.argument(description="Which ones.")] = UNSET,
        page: PageNumber = 1,
        limit: Limit = 20,
    ) -> DeadLetterListPayload:
        """A page."""
        check_page(page, limit)
        where = (filter or DeadLetterFilter()).read()
        if (own := given(channel)) is not None:
            if where.channel not in (None, own):
                raise ValidationFailed.of("channel", "excluded", "is another one than that of the filter")
            where = msgspec.structs.replace(where, channel=own)
        found, total = await info.context.services.dead_letters.page(where, page, limit)
        items = [DeadLetter.of(view) for view in found]
        return DeadLetterListPayload.ok(items, meta=PageMeta.of(total, page, limit))


@strawberry.type
class DeadLetterMutations:
    """Mixed into `Mutation`."""

    @strawberry.mutation(
        description="Start the notifications of up to 100 dead letters again, now. Each letter is replayed once, "
        "however often it is asked for.",
        extensions=[Answers(ReplayPayload, Scope.OPERATIONS)],
    )
    async def replay_dead_letters(
        self,
        info: Info,
        ids: Annotated[list[strawberry.ID], strawberry.argument(description="The dead letters, 1 to 100.")],
    ) -> ReplayPayload:
        """May be called again."""
        if not 1 <= len(ids) <= MAX_IDS:
            raise ValidationFailed.of("ids", "size", f"takes 1 to {MAX_IDS}")
        return ReplayPayload.of(await info.context.services.replays.replay(ids, info.context.principal))

    @strawberry.mutation(
        description="Start the notifications of all dead letters that pass again, the oldest first, no more than "
        "`rate` a second. What cannot be replayed is passed over.",
        extensions=[Answers(ReplayPayload, Scope.OPERATIONS)],
    )
    async def replay_dead_letters_where(
        self,
        info: Info,
        filter: Annotated[
            DeadLetterFilter, strawberry.argument(description="Which ones; an empty filter is all of them.")
        ],
        limit: Annotated[int, strawberry.argument(description="How many at most, 1 to 10,000.")] = 500,
        rate: Annotated[
            int | None,
            strawberry.argument(description="How many a second, 1 to 1,000; left out, what the gateway is set to."),
        ] = UNSET,
    ) -> ReplayPayload:
        """May be called again."""
        where, pace = filter.read(), given(rate)
        _check_range(limit=(limit, MAX_REPLAYS), rate=(pace, MAX_REPLAY_RATE))
        done = await info.context.services.replays.replay_where(where, limit, info.context.principal, pace)
        return ReplayPayload.of(done)


def _check_range(**sizes: tuple[int | None, int]) -> None:
    """Raises `ValidationFailed` for what is not between 1 and its maximum."""
    problems = [
        FieldProblem((name,), "range", f"takes 1 to {most:,}")
        for name, (size, most) in sizes.items()
        if size is not None and not 1 <= size <= most
    ]
    if problems:
        raise ValidationFailed(problems)


def _told(done: Replayed) -> str:
    count = len(done.replayed)
    told = f"Replayed {count:,}." if count else "Nothing was replayed."
    if done.refused:
        told = f"{told[:-1]}; refused {len(done.refused):,}."
    return f"{told} There are more." if done.more else told
