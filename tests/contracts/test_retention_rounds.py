"""How retention goes about it, on both engines: in small parts, one gateway at a time, and on from where it was."""

import asyncio
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from api.database import Databases, Tx
from api.gateway.horizon import Lost, SqlHorizon, Turn
from api.gateway.removal_round import Kept, Round
from api.gateway.removals import Expiry, SqlRemovals, Step
from domain.callbacks import Callback, CallbackKind
from domain.errors import DatabaseUnavailable
from tests.contracts.gateway_store import Store, order
from tests.contracts.retention_world import cancelled_requests, horizon, left, remove, retention

LATER = timedelta(days=91)
KEPT = Kept.of_days(90, 90)
MOST_ROWS = 500


def later() -> datetime:
    return datetime.now(UTC) + LATER


async def turn_of(store: Store) -> Turn:
    turn = await SqlHorizon(store.database).take_turn()
    assert turn is not None
    return turn


async def end_lease(store: Store) -> None:
    """Let so much time pass that whoever is at it has lost its turn."""
    await store.database.query(
        "UPDATE retention SET due_at = $1", [store.database.db_time(datetime(2020, 1, 1, tzinfo=UTC))]
    )


def a_round(store: Store, turn: Turn, count: Callable[[Counter[str]], None] = lambda _: None) -> Round:
    return Round(store.database, SqlHorizon(store.database), turn, later(), count, 1.0)


async def first_step(store: Store) -> Step:
    """What the first transaction of a round does; then the process dies."""
    turn = await turn_of(store)
    position = await SqlHorizon(store.database).advance(turn, later() - timedelta(days=90))
    expiry = Expiry(later() - timedelta(days=90), position)
    step = partial(SqlRemovals(store.database).requests, expiry=expiry, after="")
    return await store.database.unit(step)


def said(id: str, kind: CallbackKind) -> Callback:
    return Callback(notification_id=id, kind=kind, occurred_at=datetime.now(UTC), provider="smtp", permanent=True)


class TestSmallParts:
    async def test_no_transaction_writes_more_than_500_rows(self, store: Store) -> None:
        await cancelled_requests(store, *[1] * 60, 320, *[3] * 30)
        steps: list[Counter[str]] = []
        await a_round(store, await turn_of(store), steps.append).run(KEPT)
        assert sum(steps, Counter())["notifications"] == 60 + 320 + 90
        assert max(step.total() + 2 * step["requests"] for step in steps) <= MOST_ROWS
        assert await left(store) == {}

    async def test_a_large_request_goes_first_and_each_of_its_notifications_whole(self, store: Store) -> None:
        await cancelled_requests(store, 320)
        (request,) = await store.database.query("SELECT id FROM requests")
        step = await first_step(store)
        assert step.open == (request["id"],)
        assert await store.queries.request_by_id(request["id"]) is None
        await store.check_invariants()
        assert (await left(store))["removals"] == 1

    async def test_what_a_killed_process_began_is_gone_on_with(self, store: Store) -> None:
        await cancelled_requests(store, 320, 1)
        step = await first_step(store)
        await end_lease(store)
        removed = await remove(store, LATER)
        assert removed["notifications"] + step.removed["notifications"] == 321
        assert await left(store) == {}

    async def test_a_process_that_dies_in_the_middle_of_a_part_has_done_nothing_of_it(self, store: Store) -> None:
        await cancelled_requests(store, 5)
        before = await left(store)
        turn = await turn_of(store)
        expiry = Expiry(later() - timedelta(days=90), 10)

        async def die(tx: Tx) -> None:
            await SqlRemovals(store.database).requests(tx, expiry, "")
            raise DatabaseUnavailable("killed")

        with pytest.raises(DatabaseUnavailable):
            await store.database.unit(die)
        assert await left(store) == before
        await SqlHorizon(store.database).end_turn(turn, 0)

    async def test_one_that_changes_after_its_request_is_gone_stays_for_its_time(self, store: Store) -> None:
        late, other = await store.sent(), await store.sent()
        turn = await turn_of(store)
        await SqlHorizon(store.database).advance(turn, later())
        await store.database.query("INSERT INTO removals (request) SELECT id FROM requests")
        await store.database.query("DELETE FROM requests")
        await store.callbacks.record([said(late, CallbackKind.BOUNCED)])
        await store.database.query(
            "UPDATE notifications SET updated_at = $1 WHERE id = $2", [store.database.db_time(later()), late]
        )
        await end_lease(store)
        assert (await remove(store, LATER))["notifications"] == 1
        assert await store.queries.notification(other) is None
        assert await left(store) == {"notifications": 1, "status_log": 3, "callbacks": 1, "removals": 1}
        assert (await remove(store, 2 * LATER))["notifications"] == 1
        assert await left(store) == {}


class TestOneAtATime:
    async def test_while_one_is_at_it_the_others_remove_nothing(self, store: Store) -> None:
        await cancelled_requests(store, 1)
        turn = await turn_of(store)
        assert await remove(store, LATER) == {}
        await SqlHorizon(store.database).end_turn(turn, 0)
        assert await remove(store, LATER) != {}

    async def test_of_many_that_look_at_once_one_removes(self, store: Store) -> None:
        await cancelled_requests(store, *[1] * 30)
        rounds = [retention(store, interval=3600.0).work_off(later()) for _ in range(8)]
        removed = await asyncio.gather(*rounds)
        assert sorted(one["notifications"] for one in removed) == [0] * 7 + [30]

    async def test_the_next_round_is_due_when_its_time_has_come(self, store: Store) -> None:
        await retention(store, interval=3600.0).work_off(later())
        await cancelled_requests(store, 1)
        assert await remove(store, LATER) == {}
        await end_lease(store)
        assert await remove(store, LATER) != {}

    async def test_one_that_was_frozen_and_comes_back_removes_nothing_any_more(self, store: Store) -> None:
        await cancelled_requests(store, 1)
        frozen = await turn_of(store)
        await end_lease(store)
        assert await SqlHorizon(store.database).take_turn() is not None
        with pytest.raises(Lost):
            await a_round(store, frozen).run(KEPT)
        await SqlHorizon(store.database).end_turn(frozen, 0)  # it is not its to give back
        assert await remove(store, LATER) == {}
        assert await horizon(store) == 0

    async def test_it_tries_again_when_the_database_was_away(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await cancelled_requests(store, 1)
        await make_old(store)
        real, answers = SqlHorizon.take_turn, iter([DatabaseUnavailable("away"), None])

        async def away_at_first(horizon: SqlHorizon) -> Turn | None:
            if (error := next(answers, None)) is not None:
                raise error
            return await real(horizon)

        monkeypatch.setattr(SqlHorizon, "take_turn", away_at_first)
        await until_removed(store)

    async def test_it_removes_by_itself_by_the_clock_of_the_database(self, store: Store) -> None:
        await cancelled_requests(store, 1)
        await make_old(store)
        await until_removed(store)


async def make_old(store: Store) -> None:
    """Let what is there be of long ago."""
    old = store.database.db_time(datetime.now(UTC) - LATER)
    await store.database.query("UPDATE requests SET created_at = $1, id = 'req_0'", [old])
    await store.database.query("UPDATE notifications SET updated_at = $1, request = 'req_0'", [old])
    await store.database.query("UPDATE status_log SET recorded_at = $1", [old])


async def until_removed(store: Store) -> None:
    part = retention(store, poll=0.01)
    await part.start()
    async with asyncio.timeout(30):
        while await left(store):  # noqa: ASYNC110 - it happens in the database
            await asyncio.sleep(0.02)
    await part.stop()
    await part.stop()


class TestBesideOthers:
    async def test_recording_goes_on_meanwhile(self, store: Store) -> None:
        await cancelled_requests(store, *[1] * 40)
        confirmed = [store.callbacks.record([said(await store.sent(), CallbackKind.DELIVERED)]) for _ in range(10)]
        await asyncio.gather(retention(store).work_off(later()), *confirmed, cancelled_requests(store, *[2] * 5))
        await store.check_invariants()

    async def test_a_request_id_that_is_used_again_meanwhile_is_accepted_or_was_before(self, store: Store) -> None:
        await cancelled_requests(store, *[1] * 30)
        keys = [row["request_id"] for row in await store.database.query("SELECT request_id FROM requests")]
        answers = await asyncio.gather(*[accept_again(store, key) for key in keys], remove(store, LATER))
        accepted = {key for key, is_new in zip(keys, answers[:-1], strict=True) if is_new}
        unfinished = await store.database.query("SELECT request_id FROM notifications WHERE next_at IS NOT NULL")
        assert {row["request_id"] for row in unfinished} == accepted

    async def test_what_others_hold_is_not_waited_for(self, postgres_database: Callable[[], str]) -> None:
        databases = await Databases.open({"gateway": postgres_database()})
        await databases.migrate()
        store = Store(databases)
        await cancelled_requests(store, 1, 1)
        held, free = await store.database.query("SELECT id FROM requests ORDER BY id")
        turn = await turn_of(store)

        async def remove_beside_it(tx: Tx) -> None:
            await tx.query("SELECT id FROM requests WHERE id = $1 FOR UPDATE", [held["id"]])
            async with asyncio.timeout(20):
                await a_round(store, turn).run(KEPT)

        await store.database.unit(remove_beside_it)
        assert len(await store.notifications_of(held["id"])) == 1
        assert await store.notifications_of(free["id"]) == []
        await databases.close()

    async def test_one_that_is_frozen_in_a_transaction_holds_nobody_else_up(
        self, postgres_database: Callable[[], str]
    ) -> None:
        databases = await Databases.open({"gateway": postgres_database()})
        await databases.migrate()
        store = Store(databases)
        frozen = await turn_of(store)
        await end_lease(store)

        async def look_beside_it(tx: Tx) -> None:
            await SqlHorizon(store.database).renew(tx, frozen)
            async with asyncio.timeout(20):
                assert await remove(store, LATER) == {}

        await store.database.unit(look_beside_it)
        await databases.close()


async def accept_again(store: Store, request_id: str) -> bool:
    """Whether it was accepted as a new one. What says "send it again" is sent again."""
    while True:
        try:
            return not (await store.requests.accept(order(request_id=request_id))).duplicate
        except DatabaseUnavailable:
            continue


PLANS = ("_requests", "_lock_requests", "_note", "_notifications", "_letters", "_soft_bounces")


async def test_every_statement_finds_its_rows_by_an_index(postgres_database: Callable[[], str]) -> None:
    databases = await Databases.open({"gateway": postgres_database()})
    await databases.migrate()
    removals = SqlRemovals(databases["gateway"])
    given: dict[str, list[Any]] = {
        "_requests": ["", later(), 0, "req_1"],
        "_notifications": [["req_1"], later(), 0],
        "_letters": [later(), "dlt_1"],
        "_soft_bounces": [later()],
    }

    async def explain(tx: Tx) -> None:
        await tx.query("SET LOCAL enable_seqscan = off")  # so that it reads a table from end to end only if it must
        for name in PLANS:
            plan = await tx.query(f"EXPLAIN {getattr(removals, name)}", given.get(name, [["req_1"]]))
            assert "Seq Scan" not in str(plan), name
            assert "hashed SubPlan" not in str(plan), name

    await databases["gateway"].unit(explain)
    await databases.close()
