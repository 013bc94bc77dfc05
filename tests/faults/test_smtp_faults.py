"""Mail servers that fail, over real sockets and the whole way: what is said, what it costs, and what arrives."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest

from domain import retry
from domain.notification import Channel, Status
from domain.retry import RetryPolicy
from tests.contracts.smtp_servers import DOT, DROP, HANG
from tests.faults.providers import SOON, Fcm, Inbox, check_path, path_to
from workers.email.smtp_limits import is_rate_limit

BUSY, UNKNOWN_USER = b"451 4.3.0 try again later", b"550 5.1.1 no such mailbox"
TOO_MANY, TOO_FAST = b"421 4.7.0 Too many connections", b"450 4.7.1 Rate limit exceeded"
TIMED_OUT, TAKEN = ("TRANSIENT", "timeout"), ("ACCEPTED", "2.0.0")
PATIENT = RetryPolicy(schedule=(0.05,) * 20, jitter=0.0)

Attempts = list[tuple[str, str | None]]


@pytest.mark.parametrize(
    ("script", "attempts"),
    [
        ({"GREETING": [HANG, b"220 hello"]}, [TIMED_OUT, TAKEN]),
        ({"RCPT": [HANG, b"250 2.1.5 OK"]}, [TIMED_OUT, TAKEN]),
        ({"GREETING": [b"421 4.3.2 going down", b"220 hello"]}, [("TRANSIENT", "connection_refused"), TAKEN]),
        ({"MAIL": [b"what?", b"250 2.1.0 OK"]}, [("TRANSIENT", "malformed_reply"), TAKEN]),
        ({"RCPT": [b"250-2.1.5 half an", b"250 2.1.5 OK"]}, [TIMED_OUT, TAKEN]),
        ({"DATA": [DROP, b"354 go on"]}, [("TRANSIENT", "disconnected"), TAKEN]),
        ({DOT: [BUSY, b"250 2.0.0 queued"]}, [("TRANSIENT", "4.3.0"), TAKEN]),
    ],
)
async def test_before_the_final_dot_nothing_is_in_doubt(
    tmp_path: Path, script: Mapping[str, bytes | list[bytes]], attempts: Attempts
) -> None:
    inbox = Inbox(script)
    async with path_to(tmp_path, inbox, settings=SOON) as path:
        (id,) = await path.accept_on(Channel.EMAIL)
        view = (await path.ended([id]))[id]
        assert (view.status, view.possible_duplicate) == (Status.SENT, False)
        assert (await path.attempts_of(id), await path.used(id)) == (attempts, 2)
        assert inbox.taken == {id: 1}
        await check_path(path, inbox.taken)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (DROP, "disconnected"),
        (HANG, "timeout"),
        (b"what?", "malformed_reply"),
        (b"250-2.0.0 half an answer", "timeout"),
    ],
)
async def test_after_the_final_dot_it_is_sent_again_with_the_same_id_and_says_so(
    tmp_path: Path, answer: bytes, code: str
) -> None:
    inbox = Inbox({DOT: [answer, b"250 2.0.0 queued"]})
    async with path_to(tmp_path, inbox, settings=SOON) as path:
        (id,) = await path.accept_on(Channel.EMAIL)
        view = (await path.ended([id]))[id]
        assert (view.status, view.possible_duplicate) == (Status.SENT, True)
        assert await path.attempts_of(id) == [("UNKNOWN", code), TAKEN]
        # By our Message-ID: a mailbox can tell that it is the same mail.
        assert inbox.taken == {id: 2}
        assert (await check_path(path, inbox.taken)).duplicates == 1


async def test_whatever_a_server_never_answers_the_duplicates_are_bounded(tmp_path: Path) -> None:
    inbox = Inbox({DOT: DROP})
    async with path_to(tmp_path, inbox) as path:
        ids = await path.accept_on(Channel.EMAIL, 10)
        views = await path.ended(ids)
        assert {(view.status, view.possible_duplicate) for view in views.values()} == {(Status.FAILED, True)}
        assert inbox.taken == dict.fromkeys(ids, 3), "as often as the policy says, and no more"
        for id in ids:
            assert await path.attempts_of(id) == [("UNKNOWN", "disconnected")] * 3
        await check_path(path, inbox.taken)


async def test_a_refusal_for_good_is_one_attempt_and_one_dead_letter(tmp_path: Path) -> None:
    inbox = Inbox({"RCPT": UNKNOWN_USER})
    async with path_to(tmp_path, inbox) as path:
        (id,) = await path.accept_on(Channel.EMAIL)
        view = (await path.ended([id]))[id]
        assert view.status is Status.FAILED
        assert view.reason == "The mail server refused the recipient (550): no such mailbox"
        assert await path.attempts_of(id) == [("PERMANENT", "5.1.1")]
        assert [letter["notification_id"] for letter in await path.dead_letters(1)] == [id]
        assert inbox.taken == {}
        await check_path(path, inbox.taken)


async def test_a_storm_of_deferrals_passes_and_everything_arrives_once(tmp_path: Path) -> None:
    inbox = Inbox({"RCPT": [BUSY] * 60 + [b"250 2.1.5 OK"]})
    async with path_to(tmp_path, inbox, policy=PATIENT) as path:
        ids = await path.accept_on(Channel.EMAIL, 30)
        views = await path.ended(ids)
        assert {view.status for view in views.values()} == {Status.SENT}
        assert inbox.taken == dict.fromkeys(ids, 1)
        assert await path.outcomes() == {"TRANSIENT": 60, "ACCEPTED": 30}
        await check_path(path, inbox.taken)


async def test_of_a_server_that_fails_at_random_everything_arrives_once(tmp_path: Path) -> None:
    chance = Random(20)
    replies = [BUSY if chance.random() < 0.05 else b"250 2.1.5 OK" for _ in range(400)]
    inbox = Inbox({"RCPT": [*replies, b"250 2.1.5 OK"]})
    async with path_to(tmp_path, inbox, policy=PATIENT) as path:
        ids = await path.accept_on(Channel.EMAIL, 300)
        views = await path.ended(ids)
        assert {view.status for view in views.values()} == {Status.SENT}
        assert inbox.taken == dict.fromkeys(ids, 1)
        outcomes = await path.outcomes()
        assert outcomes["TRANSIENT"] == replies[: outcomes.total()].count(BUSY) > 0
        await check_path(path, inbox.taken)


class TestRateLimits:
    @pytest.mark.parametrize(
        ("verb", "reply", "code"),
        [("GREETING", TOO_MANY, "connection_refused"), ("MAIL", TOO_MANY, "421"), ("RCPT", TOO_FAST, "4.7.1")],
    )
    async def test_however_often_it_is_put_off_it_uses_no_attempt(
        self, tmp_path: Path, verb: str, reply: bytes, code: str
    ) -> None:
        by_the_book = {"GREETING": b"220 hello", "MAIL": b"250 2.1.0 OK", "RCPT": b"250 2.1.5 OK"}[verb]
        inbox = Inbox({verb: [reply] * 5 + [by_the_book]})
        async with path_to(tmp_path, inbox) as path:
            (id,) = await path.accept_on(Channel.EMAIL)
            view = (await path.ended([id]))[id]
            assert (view.status, view.possible_duplicate) == (Status.SENT, False)
            assert await path.attempts_of(id) == [("TRANSIENT", code)] * 5 + [TAKEN]
            assert await path.used(id) == 1
            assert (await path.story(id)).count(Status.RETRYING) == 5
            await check_path(path, inbox.taken)

    @pytest.mark.parametrize(
        ("code", "said"),
        [
            (421, "4.7.28 Our system has detected an unusual rate of unsolicited mail"),
            (450, "4.2.1 The user you are trying to contact is receiving mail too quickly"),
            (450, "4.7.1 Error: too much mail from 192.0.2.1"),
            (454, "Throttling failure: Maximum sending rate exceeded."),
            (421, "4.3.2 too many concurrent SMTP connections"),
            (451, "rate-limited, please slow down"),
        ],
    )
    def test_servers_say_it_in_many_ways(self, code: int, said: str) -> None:
        assert is_rate_limit(code, said)

    @pytest.mark.parametrize(
        ("code", "said"),
        [
            (450, "4.7.1 Greylisted, see you in 300 seconds"),
            (452, "4.2.2 mailbox over quota"),
            (421, "4.3.2 shutting down"),
            (451, "4.3.0 operate the separate queue first"),
            (451, "4.4.6 too many hops"),
            (550, "5.7.1 rate limit exceeded"),
        ],
    )
    def test_what_is_about_the_mail_or_the_server_is_no_rate_limit(self, code: int, said: str) -> None:
        assert not is_rate_limit(code, said)

    async def test_a_limit_for_ever_ends_at_deliver_by(self, tmp_path: Path) -> None:
        inbox = Inbox({"RCPT": TOO_FAST})
        async with path_to(tmp_path, inbox) as path:
            soon = datetime.now(UTC) + timedelta(seconds=1)
            (id,) = await path.accept_on(Channel.EMAIL, deliver_by=soon)
            view = (await path.ended([id]))[id]
            assert view.status is Status.EXPIRED
            assert set(await path.attempts_of(id)) == {("TRANSIENT", "4.7.1")}
            assert await path.used(id) == 0
            await check_path(path, inbox.taken)

    async def test_a_limit_for_ever_ends_after_so_many_times_and_then_the_attempts(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(retry, "MAX_PUT_OFFS", 4)
        inbox = Inbox({"RCPT": TOO_FAST})
        async with path_to(tmp_path, inbox) as path:
            (id,) = await path.accept_on(Channel.EMAIL)
            view = (await path.ended([id]))[id]
            assert (view.status, await path.used(id)) == (Status.FAILED, 3)
            assert view.reason == "The mail server refused the recipient (450): Rate limit exceeded"
            assert await path.attempts_of(id) == [("TRANSIENT", "4.7.1")] * 7
            await check_path(path, inbox.taken)


class TestBreaker:
    async def test_an_outage_burns_no_attempts_and_the_other_channel_goes_on(self, tmp_path: Path) -> None:
        inbox, fcm = Inbox({"GREETING": b"554 out of order"}), Fcm()
        breaker = {"fail_max": 3, "reset_after": 0.1}
        async with path_to(tmp_path, inbox, fcm, policy=PATIENT, breaker=breaker, settings=SOON) as path:
            mails = await path.accept_on(Channel.EMAIL, 3)
            await path.until_failed(3)
            inbox.answer_from_now_on("GREETING", HANG)
            await inbox.all_gone()
            inbox.most_at_once = 0
            mails += await path.accept_on(Channel.EMAIL, 20)
            pushes = await path.accept_on(Channel.PUSH, 20)
            assert {view.status for view in (await path.ended(pushes)).values()} == {Status.SENT}
            await path.until_failed(6)
            assert inbox.most_at_once == 1, "one probe at a time"

            inbox.answer_from_now_on("GREETING", b"220 hello")
            views = await path.ended(mails)
            assert {view.status for view in views.values()} == {Status.SENT}
            used = [await path.used(id) for id in mails]
            assert sum(used) == len(mails) + (await path.outcomes())["TRANSIENT"], "only calls that were made count"
            assert (inbox.taken, fcm.taken) == (dict.fromkeys(mails, 1), dict.fromkeys(pushes, 1))
            await check_path(path, inbox.taken + fcm.taken)
