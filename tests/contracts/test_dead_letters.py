"""What operators may rely on: which dead letters they see, and what replaying them does. On both engines."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from api.database import Databases, parse_time
from api.gateway.actions import Replayed, Replays
from api.gateway.dead_letters import MAX_PAYLOAD, DeadLetter, DeadLetterFilter, Refusal, SqlDeadLetters
from api.security import ALL_SCOPES, Principal
from domain.errors import NotFound
from domain.ids import DEAD_LETTER, new_id
from domain.notification import Channel, Status
from domain.ports import DeadMessage, LogFilter
from tests.contracts.gateway_store import LEASE, Store, cancelled, change
from tests.services.worker_world import ACCEPTED, NOBODY, PERMANENT, World
from workers.consumer import WorkerSettings

ALL = DeadLetterFilter()
OPERATOR = Principal(client="ops", key_id="key_ops", name="On call", scopes=ALL_SCOPES)


class Desk:
    """An operator's view of the store."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.letters = SqlDeadLetters(store.database)
        self.replays = Replays(self.letters, store.status, store.announced.extend, rate=50)

    async def fail(self, count: int = 1, **order: Any) -> list[str]:
        """Accept notifications and fail them for good; their ids."""
        receipt = await self.store.accept(count=count, **order)
        ids = [view.id for view in receipt.notifications]
        await self.fail_again(*ids)
        return ids

    async def fail_again(self, *ids: str) -> None:
        """Fail their next attempts for good."""
        taken = {due.id: due for due in await self.store.take(1000)}
        changes = []
        for id in ids:
            claim = await self.store.claim(id, taken[id].attempt, LEASE)
            assert claim is not None
            changes.append(change(claim, Status.SENDING))
            changes.append(change(claim, Status.FAILED, reason="No such mailbox.", uses_attempt=True))
        assert await self.store.record(*changes) == []

    async def all(self, where: DeadLetterFilter = ALL) -> list[DeadLetter]:
        """The oldest first."""
        found, total = await self.letters.page(where, 1, 100)
        assert total == len(found)
        return found[::-1]

    async def letter_of(self, id: str) -> str:
        """The newest letter of a notification."""
        return (await self.all(DeadLetterFilter(notification_id=id)))[-1].id

    async def unreadable(self, body: bytes, message_id: str = "m1") -> str:
        """Park a message that nobody could read; its letter."""
        message = DeadMessage(message_id=message_id, queue="email.queue", reason="JSON is malformed", body=body)
        await self.store.status.record_dead_letter(message)
        return (await self.all())[-1].id

    async def replay(self, *letters: str) -> Replayed:
        return await self.replays.replay(letters, OPERATOR)

    async def statuses(self, id: str) -> list[Status]:
        return [row.status for row in await self.store.log.read(0, 1000, LogFilter(notification_id=id))]

    async def row(self, id: str) -> dict[str, Any]:
        (row,) = await self.store.database.query("SELECT * FROM notifications WHERE id = $1", [id])
        return row

    async def set(self, id: str, column: str, moment: datetime) -> None:
        """Move a notification's time."""
        value = self.store.database.db_time(moment)
        await self.store.database.query(f"UPDATE notifications SET {column} = $1 WHERE id = $2", [value, id])


@pytest.fixture
def desk(store: Store) -> Desk:
    """On a new database."""
    return Desk(store)


class TestReading:
    async def test_a_delivery_that_was_given_up_on_is_listed_with_what_is_known(self, desk: Desk) -> None:
        (id,) = await desk.fail()
        (letter,) = await desk.all()
        assert (letter.notification_id, letter.channel, letter.queue) == (id, Channel.EMAIL, "email.queue")
        assert (letter.reason, letter.attempts, letter.replayed_at) == ("No such mailbox.", 1, None)
        assert letter.payload == {"id": id, "attempt": 1, "detail": {}}
        assert letter.first_failed_at <= letter.dead_lettered_at
        assert await desk.letters.get(letter.id) == letter

    @pytest.mark.parametrize(
        ("body", "payload"),
        [
            (b'{"version": 9, "items": [1]}', {"version": 9, "items": [1]}),
            (b"no JSON at all \x00\xff", "no JSON at all \ufffd\ufffd"),
            (b'"a text"', "a text"),
            (b"[" * 60 + b"]" * 60, "[" * 60 + "]" * 60),
            (b"[" * 5000, "[" * 5000),
            (b"NaN", "NaN"),
            (b"", ""),
        ],
    )
    async def test_a_message_is_shown_as_json_as_far_as_it_parses(self, desk: Desk, body: bytes, payload: Any) -> None:
        letter = await desk.letters.get(await desk.unreadable(body))
        assert (letter.notification_id, letter.channel, letter.reason) == (None, None, "JSON is malformed")
        assert letter.payload == payload

    async def test_a_huge_message_is_cut_off(self, desk: Desk) -> None:
        letter = await desk.letters.get(await desk.unreadable(b"x" * 1_000_000))
        assert letter.payload == '"' + "x" * (MAX_PAYLOAD - 1) + "…"

    async def test_what_is_not_there_is_not_found(self, desk: Desk) -> None:
        with pytest.raises(NotFound):
            await desk.letters.get(new_id(DEAD_LETTER))

    async def test_pages_are_newest_first(self, desk: Desk) -> None:
        await desk.fail(3)
        newest, middle, oldest = (await desk.letters.page(ALL, 1, 3))[0]
        assert newest.id > middle.id > oldest.id
        assert await desk.letters.page(ALL, 2, 2) == ([oldest], 3)

    async def test_filters_narrow_the_list(self, desk: Desk) -> None:
        first, second = await desk.fail(2)
        message = await desk.unreadable(b"x")
        waiting, replayed = await desk.letter_of(first), await desk.letter_of(second)
        await desk.replay(replayed)

        async def ids(**where: Any) -> set[str]:
            return {letter.id for letter in await desk.all(DeadLetterFilter(**where))}

        assert await ids() == {waiting, replayed, message}
        assert await ids(channel=Channel.EMAIL) == {waiting, replayed}
        assert await ids(channel=Channel.PUSH) == set()
        assert await ids(notification_id=first) == {waiting}
        assert await ids(replayed=True) == {replayed}
        assert await ids(replayed=False, channel=Channel.EMAIL) == {waiting}

    async def test_times_bound_the_list_on_both_sides(self, desk: Desk) -> None:
        await desk.fail()
        (letter,) = await desk.all()
        at, moment = letter.dead_lettered_at, timedelta(milliseconds=1)
        for where, expected in [
            (DeadLetterFilter(dead_lettered_after=at - moment, dead_lettered_before=at + moment), [letter]),
            (DeadLetterFilter(dead_lettered_after=at), []),
            (DeadLetterFilter(dead_lettered_before=at), []),
        ]:
            assert await desk.all(where) == expected


class TestReplay:
    async def test_a_failed_notification_starts_again_and_says_who_said_so(self, desk: Desk) -> None:
        (id,) = await desk.fail()
        letter = await desk.letter_of(id)
        desk.store.announced.clear()
        done = await desk.replay(letter)
        assert done == Replayed(replayed=[letter])
        (row,) = desk.store.announced
        assert (row.notification_id, row.status, row.previous_status) == (id, Status.QUEUED, Status.FAILED)
        assert row.reason == "Replayed by an operator."
        assert row.detail == {"dead_letter": letter, "replayed_by": {"id": "key_ops", "name": "On call"}}
        assert (await desk.letters.get(letter)).replayed_at is not None
        (due,) = await desk.store.take()
        assert (due.id, due.attempt) == (id, 1)
        assert (await desk.row(id))["attempts_used"] == 0

    async def test_twice_is_once(self, desk: Desk) -> None:
        (id,) = await desk.fail()
        letter = await desk.letter_of(id)
        await desk.replay(letter)
        assert await desk.replay(letter) == Replayed(refused={letter: Refusal.ALREADY_REPLAYED})
        assert (await desk.statuses(id)).count(Status.QUEUED) == 1

    async def test_many_at_once_are_once_for_each_letter(self, desk: Desk) -> None:
        ids = await desk.fail(20)
        letters = [letter.id for letter in await desk.all()]
        done = await asyncio.gather(*(desk.replay(*letters) for _ in range(6)))
        replayed = [id for each in done for id in each.replayed]
        assert sorted(replayed) == sorted(letters)
        assert {refusal for each in done for refusal in each.refused.values()} == {Refusal.ALREADY_REPLAYED}
        assert all(len(each.replayed) + len(each.refused) == 20 for each in done)
        for id in ids:
            assert (await desk.statuses(id))[-2:] == [Status.FAILED, Status.QUEUED]

    async def test_what_fails_again_is_a_letter_of_its_own(self, desk: Desk) -> None:
        (id,) = await desk.fail()
        first = await desk.letter_of(id)
        await desk.replay(first)
        await desk.fail_again(id)
        second = await desk.letter_of(id)
        assert second != first
        assert await desk.replay(first) == Replayed(refused={first: Refusal.ALREADY_REPLAYED})
        assert await desk.store.status_of(id) is Status.FAILED, "the first letter does not replay the second"
        assert (await desk.replay(second)).replayed == [second]

    async def test_a_replay_that_was_overtaken_does_not_replay_the_next_letter(self, desk: Desk) -> None:
        (id,) = await desk.fail()
        first = await desk.letter_of(id)
        late = Desk(desk.store)
        found = await late.letters.candidates([first])

        async def as_seen_before(ids: Any) -> Any:
            late.letters.candidates = desk.letters.candidates  # type: ignore[method-assign]  # the second look is new
            return found

        late.letters.candidates = as_seen_before  # type: ignore[method-assign]  # another replay comes in between
        await desk.replay(first)
        await desk.fail_again(id)
        assert await late.replay(first) == Replayed(refused={first: Refusal.ALREADY_REPLAYED})
        assert await desk.store.status_of(id) is Status.FAILED

    async def test_each_is_refused_for_its_own_reason_and_spoils_nothing(self, desk: Desk) -> None:
        fine, late, gone = await desk.fail(3)
        await desk.set(late, "deliver_by", datetime.now(UTC) - timedelta(minutes=1))
        letters = {id: await desk.letter_of(id) for id in (fine, late, gone)}
        await desk.store.database.query("DELETE FROM notifications WHERE id = $1", [gone])
        message, unknown = await desk.unreadable(b"x"), new_id(DEAD_LETTER)
        done = await desk.replay(*letters.values(), letters[fine], message, unknown, "\0", "dlt_?")
        assert done.replayed == [letters[fine]]
        assert done.refused == {
            letters[late]: Refusal.TOO_LATE,
            letters[gone]: Refusal.NOT_FAILED,
            message: Refusal.NOT_A_DELIVERY,
            unknown: Refusal.NOT_FOUND,
            "\0": Refusal.NOT_FOUND,
            "dlt_?": Refusal.NOT_FOUND,
        }
        assert all(refusal.sentence.endswith(".") for refusal in Refusal)

    async def test_a_replay_that_waits_can_be_cancelled(self, desk: Desk) -> None:
        (id,) = await desk.fail()
        await desk.replay(await desk.letter_of(id))
        assert await desk.store.record(cancelled(id)) == []
        assert await desk.store.status_of(id) is Status.CANCELLED


class TestReplayByFilter:
    async def clocks(self, desk: Desk, letters: list[str]) -> list[datetime]:
        """When the notifications of these letters come due, in order."""
        ids = [(await desk.letters.get(letter)).notification_id or "" for letter in letters]
        return [parse_time((await desk.row(id))["next_at"]) for id in ids]

    async def test_it_is_paced_the_oldest_first(self, desk: Desk) -> None:
        await desk.fail(20)
        done = await desk.replays.replay_where(ALL, 100, OPERATOR, rate=4)
        assert done.replayed == sorted(done.replayed)
        assert (len(done.replayed), done.refused, done.seconds, done.more) == (20, {}, 5.0, False)
        clocks = await self.clocks(desk, done.replayed)
        assert {after - before for before, after in pairwise(clocks)} == {timedelta(seconds=0.25)}
        assert len(await desk.store.take()) < 20, "the others come due later"

    async def test_the_pace_goes_on_from_transaction_to_transaction(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("api.gateway.actions.REPLAYS_AT_ONCE", 3)
        await desk.fail(8)
        done = await desk.replays.replay_where(ALL, 100, OPERATOR)
        assert (len(done.replayed), done.seconds, done.more) == (8, 8 / 50, False)
        clocks = await self.clocks(desk, done.replayed)
        assert {after - before for before, after in pairwise(clocks)} == {timedelta(seconds=1 / 50)}

    async def test_a_limit_leaves_the_rest_for_the_next_one(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("api.gateway.actions.REPLAYS_AT_ONCE", 2)
        await desk.fail(5)
        first = await desk.replays.replay_where(ALL, 4, OPERATOR)
        second = await desk.replays.replay_where(ALL, 4, OPERATOR)
        third = await desk.replays.replay_where(ALL, 4, OPERATOR)
        assert [(len(done.replayed), done.more) for done in (first, second, third)] == [
            (4, True),
            (1, False),
            (0, False),
        ]
        assert not set(first.replayed) & set(second.replayed)

    async def test_only_what_passes_and_can_be_replayed_is_touched(self, desk: Desk) -> None:
        early, late, other, again = await desk.fail(4)
        await desk.unreadable(b"x")
        await desk.set(late, "deliver_by", datetime.now(UTC) - timedelta(minutes=1))
        await desk.replay(await desk.letter_of(again))
        push = DeadLetterFilter(channel=Channel.PUSH)
        assert await desk.replays.replay_where(push, 100, OPERATOR) == Replayed()
        one = DeadLetterFilter(notification_id=early)
        assert (await desk.replays.replay_where(one, 100, OPERATOR)).replayed == [await desk.letter_of(early)]
        rest = await desk.replays.replay_where(DeadLetterFilter(channel=Channel.EMAIL), 100, OPERATOR)
        assert (rest.replayed, rest.refused) == ([await desk.letter_of(other)], {})

    async def test_two_at_once_replay_each_letter_once(self, desk: Desk) -> None:
        ids = await desk.fail(30)
        done = await asyncio.gather(*(desk.replays.replay_where(ALL, 100, OPERATOR) for _ in range(4)))
        assert sorted(id for each in done for id in each.replayed) == [letter.id for letter in await desk.all()]
        for id in ids:
            assert (await desk.statuses(id))[-2:] == [Status.FAILED, Status.QUEUED]

    async def test_a_restarted_broker_does_not_hurry_what_is_paced(self, desk: Desk) -> None:
        await desk.fail(2)
        done = await desk.replays.replay_where(ALL, 100, OPERATOR, rate=1)
        clocks = await self.clocks(desk, done.replayed)
        await desk.store.outbox.expedite(Channel.EMAIL)
        assert await self.clocks(desk, done.replayed) == clocks


class TestOutage:
    @pytest.fixture
    async def world(self, databases: Databases) -> AsyncIterator[World]:
        """Dispatcher, worker and relay on the same database."""
        world = World(databases, WorkerSettings(concurrency=4))
        await world.start()
        yield world
        await world.stop()

    async def test_a_replay_into_an_outage_uses_no_attempt(self, world: World) -> None:
        id = await world.accept(PERMANENT, *[NOBODY] * 20, ACCEPTED)
        await world.reached(id, Status.FAILED)
        letters = SqlDeadLetters(world.database)
        ((letter,), _) = await letters.page(DeadLetterFilter(notification_id=id), 1, 1)
        replays = Replays(letters, world.status, lambda rows: world.dispatcher.nudge(), rate=50)
        assert (await replays.replay([letter.id], OPERATOR)).replayed == [letter.id]
        view = await world.reached(id, Status.SENT)
        assert view.status is Status.SENT
        assert world.calls(id) == 22
        assert {claim.attempts_used for claim in world.sender.claims[1:]} == {0}, "an open breaker hands claims back"
        story = (await world.story(id))[-5:]
        assert story == [Status.SENDING, Status.FAILED, Status.QUEUED, Status.SENDING, Status.SENT]
