"""What `api.database` promises, on both engines. The users database stands for any."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from api.database import Database, Databases, IntegrityError, OperationalError, Tx, among, listed, parse_time
from api.users import migrations
from api.users.tables import UserRow
from domain.errors import ConfigurationError, DatabaseUnavailable
from tests.servers.ports import free_ports

INSERT = (
    "insert into users (id, email, email_key, name, locale, time_zone, created_at, updated_at)"
    " values ($1, null, $2, $3, 'en', 'UTC', $4, $4)"
)
MOMENT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each engine."""
    if request.param == "sqlite":
        return f"sqlite://{tmp_path}/users.db"
    make: Callable[[], str] = request.getfixturevalue("postgres_database")
    return make()


USERS_MIGRATIONS = sorted(path.stem for path in Path(migrations.__path__[0]).glob("[0-9]*.py"))


@asynccontextmanager
async def opened(url: str, pool_size: int = 4) -> AsyncIterator[Database]:
    databases = await Databases.open({"users": url}, pool_size=pool_size, patience=20)
    try:
        yield databases["users"]
    finally:
        await databases.close()


@pytest.fixture
async def db(url: str) -> AsyncIterator[Database]:
    """It, with its tables."""
    async with opened(url) as database:
        await database.migrate()
        yield database


async def make_row(key: str, name: str) -> None:
    row = await UserRow.create(id=key, name=name, locale="en", time_zone="UTC", created_at=MOMENT, updated_at=MOMENT)
    assert row.id == key


async def names(db: Database) -> list[str]:
    return [row["name"] for row in await db.query("select name from users order by name")]


def adding(db: Database, name: str) -> Callable[[Tx], Awaitable[None]]:
    async def work(tx: Tx) -> None:
        await tx.query(INSERT, [name, name, name, db.db_time(MOMENT)])

    return work


async def test_statements_take_parameters_and_answer_rows(db: Database) -> None:
    await db.query(INSERT, ["u1", None, "Ann", db.db_time(MOMENT)])
    rows = await db.query("select id, created_at from users where name = $1 and id = $2", ["Ann", "u1"])
    assert [row["id"] for row in rows] == ["u1"]
    assert parse_time(rows[0]["created_at"]) == MOMENT


async def test_update_and_delete_answer_what_they_return(db: Database) -> None:
    await db.query(INSERT, ["u1", None, "Ann", db.db_time(MOMENT)])
    assert await db.query("update users set name = $1 where id = $2 returning name", ["Bob", "u1"]) == [{"name": "Bob"}]
    assert await db.query("delete from users where id = $1", ["u1"]) == []
    assert await names(db) == []


async def test_rows_of_a_list_of_values(db: Database) -> None:
    await db.unit(lambda tx: tx.many(INSERT, [[name, name, name, db.db_time(MOMENT)] for name in "abc"]))
    sql = f"select id from users where {among(db.dialect, 'id', '$1')} order by id"
    rows = await db.query(sql, [listed(db.dialect, ["a", "c", "z"])])
    assert [row["id"] for row in rows] == ["a", "c"]


async def test_a_unit_commits_what_it_did_and_answers(db: Database) -> None:
    async def work(tx: Tx) -> str:
        await tx.query(INSERT, ["u1", None, "Ann", db.db_time(MOMENT)])
        return "done"

    assert await db.unit(work) == "done"
    assert await names(db) == ["Ann"]


async def test_a_unit_that_fails_leaves_nothing_behind(db: Database) -> None:
    async def work(tx: Tx) -> None:
        await tx.query(INSERT, ["u1", None, "Ann", db.db_time(MOMENT)])
        raise LookupError("on purpose")

    with pytest.raises(LookupError):
        await db.unit(work)
    assert await names(db) == []


async def test_models_use_the_transaction_that_they_are_in(db: Database) -> None:
    async def work(_: Tx) -> None:
        await make_row("u1", "Ann")
        raise LookupError("on purpose")

    with pytest.raises(LookupError):
        await db.unit(work)
    assert await names(db) == []


async def test_times_of_models_and_of_parameters_are_the_same(db: Database) -> None:
    async def work(tx: Tx) -> None:
        await make_row("u1", "Ann")
        await tx.query(INSERT, ["u2", None, "Bob", db.db_time(MOMENT)])

    await db.unit(work)
    same = "select count(*) as n from users where created_at = $1"
    assert await db.query(same, [db.db_time(MOMENT)]) == [{"n": 2}]


async def test_cancelled_units_leak_neither_connections_nor_locks(db: Database) -> None:
    started = asyncio.Semaphore(0)

    async def work(tx: Tx) -> None:
        await tx.query("select 1")
        started.release()
        await tx.query(INSERT, ["twin", None, "twin", db.db_time(MOMENT)])
        raise LookupError("rolled back")

    tasks = [asyncio.create_task(db.unit(work)) for _ in range(200)]
    for _ in range(20):
        await started.acquire()
    for task in tasks:
        task.cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert any(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)
    await asyncio.gather(*(db.unit(adding(db, f"after-{n}")) for n in range(8)))
    assert len(await names(db)) == 8


async def test_a_cancelled_unit_is_still_carried_out(url: str) -> None:
    async with opened(url, pool_size=1) as db:
        await db.migrate()
        inside, go_on = asyncio.Event(), asyncio.Event()

        async def work(tx: Tx) -> None:
            inside.set()
            await go_on.wait()
            await adding(db, "Ann")(tx)

        task = asyncio.create_task(db.unit(work))
        await inside.wait()
        task.cancel()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await names(db) == ["Ann"]  # there is one connection: it waits for the unit


async def test_a_broken_constraint_is_the_callers_business(db: Database) -> None:
    await db.unit(adding(db, "Ann"))
    with pytest.raises(IntegrityError):
        await db.unit(adding(db, "Ann"))
    assert await names(db) == ["Ann"]


async def test_bad_sql_is_a_bug_and_not_an_outage(db: Database) -> None:
    with pytest.raises(OperationalError):
        await db.query("select nothing from nowhere")
    await db.ping()


async def test_migrating_again_changes_nothing(db: Database) -> None:
    await db.unit(adding(db, "Ann"))
    await db.migrate()
    assert await names(db) == ["Ann"]


async def test_concurrent_migrations_all_succeed(postgres_database: Callable[[], str]) -> None:
    url = postgres_database()
    opened_all = [await Databases.open({"users": url}, pool_size=1) for _ in range(8)]
    await asyncio.gather(*(databases.migrate() for databases in opened_all))
    applied = await opened_all[0]["users"].query("select name from tortoise_migrations order by name")
    assert [row["name"] for row in applied] == USERS_MIGRATIONS
    await asyncio.gather(*(databases.close() for databases in opened_all))


async def test_it_can_be_opened_again_after_it_was_closed(url: str) -> None:
    for round_ in range(3):
        async with opened(url) as db:
            await db.migrate()
            await db.unit(adding(db, f"round-{round_}"))
            assert len(await names(db)) == round_ + 1


async def test_several_databases_at_once(url: str, tmp_path: Path) -> None:
    urls = {"users": url, "templates": f"sqlite://{tmp_path}/templates.db"}
    databases = await Databases.open(urls)
    await databases.migrate()
    assert await databases["users"].query("select * from users") == []
    assert await databases["templates"].query("select * from templates") == []
    await databases.close()


async def test_what_was_committed_is_there_after_closing(url: str) -> None:
    async with opened(url) as db:
        await db.migrate()
        await db.unit(adding(db, "Ann"))
    async with opened(url) as db:
        assert await names(db) == ["Ann"]


async def test_a_closed_database_says_so(url: str) -> None:
    databases = await Databases.open({"users": url})
    await databases["users"].ping()
    await databases.close()
    await databases.close()
    with pytest.raises(DatabaseUnavailable):
        await databases["users"].ping()


async def test_a_database_that_is_away_is_unavailable() -> None:
    (port,) = free_ports(1)
    async with opened(f"postgres://nobody:secret@127.0.0.1:{port}/none") as db:
        for call in (db.ping(), db.unit(adding(db, "Ann"))):
            with pytest.raises(DatabaseUnavailable) as caught:
                await call
            assert "secret" not in str(caught.value)


async def test_connections_that_the_server_ends_are_replaced(postgres_database: Callable[[], str]) -> None:
    async with opened(postgres_database()) as db, opened(postgres_database()) as other:
        await db.migrate()
        name = (await db.query("select current_database() as name"))[0]["name"]

        async def work(tx: Tx) -> None:
            await other.query("select pg_terminate_backend(pid) from pg_stat_activity where datname = $1", [name])
            await tx.query("select 1")

        with pytest.raises(DatabaseUnavailable):
            await db.unit(work)
        await asyncio.gather(*(db.unit(adding(db, f"after-{n}")) for n in range(8)))
        assert len(await names(db)) == 8


async def test_nobody_waits_for_ever_for_a_connection(url: str) -> None:
    databases = await Databases.open({"users": url}, pool_size=1, patience=0.05)
    release = asyncio.Event()
    holder = asyncio.create_task(databases["users"].unit(lambda _: release.wait()))
    await asyncio.sleep(0)
    with pytest.raises(DatabaseUnavailable, match="busy"):
        await databases["users"].ping()
    release.set()
    await holder
    await databases["users"].ping()
    await databases.close()


async def test_migrate_waits_for_the_database(tmp_path: Path) -> None:
    # A directory in the file's place stands for a database that cannot be opened yet.
    blocked = tmp_path / "users.db"
    blocked.mkdir()
    async with opened(f"sqlite://{blocked}") as db:
        task = asyncio.create_task(db.migrate())
        with pytest.raises(DatabaseUnavailable):
            await db.ping()
        blocked.rmdir()
        await task
        assert await names(db) == []


@pytest.mark.parametrize("url", ["mysql://h/db", "nonsense", "postgres://u:p@h:port/db"])
async def test_a_url_that_cannot_be_used_is_named(url: str) -> None:
    with pytest.raises(ConfigurationError, match="users"):
        await Databases.open({"users": url})


@pytest.mark.parametrize(
    "value",
    [
        MOMENT,
        MOMENT.isoformat(),
        MOMENT.isoformat(" "),
        MOMENT.astimezone(timezone(timedelta(hours=2))),
        "2026-01-02 03:04:05.678901",
    ],
)
def test_times_are_read_as_utc(value: str | datetime) -> None:
    assert parse_time(value) == MOMENT
    assert parse_time(value).tzinfo is UTC


async def test_a_statement_of_its_own_never_joins_the_callers_transaction(postgres_database: Callable[[], str]) -> None:
    async with opened(postgres_database()) as db:
        await db.migrate()

        async def work(tx: Tx) -> None:
            await tx.query(INSERT, ["u1", None, "Ann", MOMENT])
            assert await names(db) == []
            await db.unit(adding(db, "Bob"))
            raise LookupError("on purpose")

        with pytest.raises(LookupError):
            await db.unit(work)
        assert await names(db) == ["Bob"]


async def test_on_sqlite_it_is_refused_instead_of_waiting_for_ever(tmp_path: Path) -> None:
    databases = await Databases.open({"users": f"sqlite://{tmp_path}/users.db"}, patience=0.05)
    db = databases["users"]
    with pytest.raises(DatabaseUnavailable, match="busy"):
        await db.unit(lambda _: db.ping())
    await db.ping()
    await databases.close()


KILLED = """
import asyncio, os, signal, sys
from datetime import UTC, datetime
from api.database import Databases

async def main():
    db = (await Databases.open({"users": sys.argv[1]}))["users"]
    await db.migrate()
    for number in range(1000):
        await db.query(
            "insert into users (id, locale, time_zone, created_at, updated_at) values ($1, 'en', 'UTC', $2, $2)",
            [str(number), db.db_time(datetime.now(UTC))],
        )
        print(number, flush=True)
        if number == 20:
            os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


async def test_what_was_committed_survives_a_killed_process(url: str) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", KILLED, url, stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    output, _ = await process.communicate()
    assert process.returncode == -signal.SIGKILL
    async with opened(url) as db:
        assert len(await db.query("select id from users")) == len(output.split()) == 21


async def test_cancelled_statements_leak_nothing_either(db: Database) -> None:
    tasks = [asyncio.create_task(db.query("select $1 as n", [str(number)])) for number in range(200)]
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert done
    assert any(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)
    answers = await asyncio.gather(*(db.query("select $1 as n", ["x"]) for _ in range(8)))
    assert answers == [[{"n": "x"}]] * 8
