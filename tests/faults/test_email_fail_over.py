"""Email providers that stand in for each other, over real sockets and the whole way: who is called, at what cost."""

from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from domain.notification import Channel, Status
from domain.ports import EmailProvider
from tests.contracts.http_api import Fate
from tests.contracts.mailgun_server import MailgunApi
from tests.contracts.sendgrid_server import SendGridApi
from tests.contracts.smtp_servers import DROP, HANG, provider_for
from tests.faults.providers import Deliveries, Inbox, check_path, mail_sender, path_by
from workers.consumer import WorkerSettings
from workers.pacing import Pace, Rate

PATIENT = WorkerSettings(deadline=2.0)
"""Long enough that a second provider is worth trying."""
WINDOW = 30.0
Server = Inbox | SendGridApi | MailgunApi


class Clock:
    """The breakers' clock, which stands still until it is moved."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def path_over(
    folder: Path,
    *servers: Server,
    patience: float = 10.0,
    paces: Mapping[str, Pace] | None = None,
    **breaker: Any,
) -> AsyncIterator[Deliveries]:
    """A path at work whose email goes by the providers of these servers, in this order.

    The first one has `patience` seconds to open a connection.
    """
    async with AsyncExitStack() as stack:
        providers: list[EmailProvider] = []
        for server in servers:
            _ = await stack.enter_async_context(server.running())
            providers.append(_adapter(server, 10.0 if providers else patience))
            stack.push_async_callback(providers[-1].close)
        sender = mail_sender(*providers, paces=paces, **breaker)
        yield await stack.enter_async_context(path_by(folder, {Channel.EMAIL: sender}, settings=PATIENT))


def _adapter(server: Server, patience: float) -> EmailProvider:
    if isinstance(server, Inbox):
        return provider_for(server.url(), pool_size=50, connect_timeout=patience)
    return server.provider(connect_within=patience)


async def check_taken(path: Deliveries, *servers: Server) -> None:
    """Every invariant holds; what any of the providers has counts."""
    taken: Counter[str] = Counter()
    for server in servers:
        if isinstance(server, Inbox):
            taken += server.taken
        else:
            assert server.wrong == []
            taken += Counter(str(mail.notification_id) for mail in server.taken)
    await check_path(path, taken)


async def test_a_hung_provider_costs_one_time_out_a_window_and_the_rest_goes_by_the_next_at_once(
    tmp_path: Path,
) -> None:
    first, second, clock = SendGridApi(), Inbox(), Clock()
    first.fate = Fate.NO_ANSWER
    async with path_over(tmp_path, first, second, fail_max=1, reset_after=WINDOW, clock=clock) as path:
        (probe,) = await path.accept_on(Channel.EMAIL)
        view = (await path.ended([probe]))[probe]
        assert (view.status, view.possible_duplicate) == (Status.SENT, True)
        # Not in one attempt: what may have been sent is not given to another provider then and there.
        assert await path.providers_of(probe) == [(1, "sendgrid", "UNKNOWN"), (2, "smtp", "ACCEPTED")]
        assert first.called == 1

        for window in range(2, 4):
            rest = await path.accept_on(Channel.EMAIL, 20)
            await path.ended(rest)
            assert [await path.providers_of(id) for id in rest] == [[(1, "smtp", "ACCEPTED")]] * 20
            assert first.called == window - 1

            clock.now += WINDOW
            more = await path.accept_on(Channel.EMAIL, 10)
            views = await path.ended(more)
            assert {one.status for one in views.values()} == {Status.SENT}
            assert [one.possible_duplicate for one in views.values()].count(True) == 1, "the probe's"
            assert first.called == window
        await check_taken(path, first, second)


async def test_when_the_first_is_back_it_is_the_first_again(tmp_path: Path) -> None:
    first, second, clock = SendGridApi(), MailgunApi(), Clock()
    first.fate = Fate.BUSY
    async with path_over(tmp_path, first, second, fail_max=1, reset_after=WINDOW, clock=clock) as path:
        ids = await path.accept_on(Channel.EMAIL, 5)
        await path.ended(ids)
        first.fate = Fate.TAKEN
        clock.now += WINDOW
        (probe,) = await path.accept_on(Channel.EMAIL)
        await path.ended([probe])
        more = await path.accept_on(Channel.EMAIL, 5)
        await path.ended(more)
        assert [await path.providers_of(id) for id in (probe, *more)] == [[(1, "sendgrid", "ACCEPTED")]] * 6
        assert (len(first.taken), len(second.taken)) == (6, 5)
        await check_taken(path, first, second)


@pytest.mark.parametrize("fate", [Fate.BUSY, Fate.LIMITED, Fate.STRANGER, Fate.NOBODY_OPENS])
async def test_an_outage_is_made_good_within_the_attempt(tmp_path: Path, fate: Fate) -> None:
    first, second = SendGridApi(), Inbox()
    first.fate = fate
    async with path_over(tmp_path, first, second, patience=0.2) as path:
        (id,) = await path.accept_on(Channel.EMAIL)
        view = (await path.ended([id]))[id]
        assert (view.status, view.possible_duplicate) == (Status.SENT, False)
        assert await path.providers_of(id) == [(1, "sendgrid", "TRANSIENT"), (1, "smtp", "ACCEPTED")]
        assert await path.used(id) == 1
        await check_taken(path, first, second)


@pytest.mark.parametrize("script", [{"GREETING": b"554 out of order"}, {"GREETING": DROP}, {"GREETING": HANG}])
async def test_so_is_that_of_a_mail_server(tmp_path: Path, script: dict[str, bytes]) -> None:
    first, second = Inbox(script), MailgunApi()
    async with path_over(tmp_path, first, second, patience=0.2) as path:
        (id,) = await path.accept_on(Channel.EMAIL)
        await path.ended([id])
        assert await path.providers_of(id) == [(1, "smtp", "TRANSIENT"), (1, "mailgun", "ACCEPTED")]
        assert [mail.notification_id for mail in second.taken] == [id]
        await check_taken(path, first, second)


@pytest.mark.parametrize("fate", [Fate.CUT_OFF, Fate.GIBBERISH])
async def test_what_may_have_been_sent_is_never_given_to_another_provider_in_the_same_attempt(
    tmp_path: Path, fate: Fate
) -> None:
    first, second = MailgunApi(), Inbox()
    first.fate = fate
    async with path_over(tmp_path, first, second) as path:
        (id,) = await path.accept_on(Channel.EMAIL)
        assert (await path.ended([id]))[id].status is Status.FAILED
        assert await path.providers_of(id) == [(number, "mailgun", "UNKNOWN") for number in (1, 2, 3)]
        assert second.connections == 0
        await check_taken(path, first, second)


async def test_a_refusal_for_good_is_not_asked_again_elsewhere(tmp_path: Path) -> None:
    first, second = SendGridApi(), Inbox()
    first.fate = Fate.REFUSED
    async with path_over(tmp_path, first, second) as path:
        (id,) = await path.accept_on(Channel.EMAIL)
        assert (await path.ended([id]))[id].status is Status.FAILED
        assert await path.providers_of(id) == [(1, "sendgrid", "PERMANENT")]
        assert second.connections == 0
        await check_taken(path, first, second)


async def test_what_is_too_fast_for_the_first_goes_by_the_second(tmp_path: Path) -> None:
    first, second = SendGridApi(), Inbox()
    async with path_over(tmp_path, first, second, paces={"sendgrid": Pace(Rate(3, 3600.0))}) as path:
        ids = await path.accept_on(Channel.EMAIL, 20)
        await path.ended(ids)
        calls = Counter([tuple(await path.providers_of(id)) for id in ids])
        assert calls == {((1, "sendgrid", "ACCEPTED"),): 1, ((1, "smtp", "ACCEPTED"),): 19}
        await check_taken(path, first, second)


async def test_with_no_second_it_waits_its_turn_and_uses_no_attempt_for_it(tmp_path: Path) -> None:
    only = SendGridApi()
    async with path_over(tmp_path, only, paces={"sendgrid": Pace(Rate(10, 1.0))}) as path:
        ids = await path.accept_on(Channel.EMAIL, 25)
        views = await path.ended(ids)
        assert {view.status for view in views.values()} == {Status.SENT}
        assert [await path.used(id) for id in ids] == [1] * 25
        assert [len(await path.providers_of(id)) for id in ids] == [1] * 25
        await check_taken(path, only)


async def test_many_that_are_under_way_when_it_hangs_are_each_in_doubt_once_at_most_and_all_arrive(
    tmp_path: Path,
) -> None:
    first, second = SendGridApi(), Inbox()
    first.fate = Fate.NO_ANSWER
    async with path_over(tmp_path, first, second, fail_max=1, reset_after=3600.0) as path:
        ids = await path.accept_on(Channel.EMAIL, 20)
        views = await path.ended(ids)
        assert {view.status for view in views.values()} == {Status.SENT}
        in_doubt = [(1, "sendgrid", "UNKNOWN"), (2, "smtp", "ACCEPTED")]
        stories = [await path.providers_of(id) for id in ids]
        assert all(story in (in_doubt, [(1, "smtp", "ACCEPTED")]) for story in stories)
        assert stories.count(in_doubt) == first.called >= 1
        assert second.taken == dict.fromkeys(ids, 1)
        await check_taken(path, first, second)
