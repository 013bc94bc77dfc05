"""What the sandbox plays: each fate as the providers see it, and what is said of it afterwards."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from domain.callbacks import Callback, CallbackKind
from domain.errors import DatabaseUnavailable
from domain.ids import NOTIFICATION, new_id
from domain.notification import Outcome
from domain.outgoing import Answer, OutgoingPush, PushOptions
from domain.recipient import Device
from tests.contracts.smtp_servers import mail, provider_for
from workers.email.smtp import SmtpProvider
from workers.push.fcm import FcmProvider
from workers.sandbox.afterwards import Afterwards
from workers.sandbox.fates import DOMAIN, MAIL_FATES, PUSH_FATES, Fate, Later, MailFate, Play, PushFate, push_fate
from workers.sandbox.fcm import FcmEndpoint
from workers.sandbox.mailbox import Mailbox

PATIENT, SHORT = 10.0, 0.3
BOUNCED = Later(kind=CallbackKind.BOUNCED, permanent=True, code="5.1.1", reason="No such mailbox.")
DELIVERED = Later(kind=CallbackKind.DELIVERED)


class Heard:
    """`Callbacks` on a list; the database behind it is `away` so many times."""

    def __init__(self, away: int = 0) -> None:
        self.callbacks: list[Callback] = []
        self._away = away
        self._news = asyncio.Event()

    async def record(self, callbacks: Sequence[Callback]) -> None:
        if self._away:
            self._away -= 1
            raise DatabaseUnavailable("The gateway database does not answer.")
        self.callbacks += callbacks
        self._news.set()

    async def kinds(self, count: int) -> list[CallbackKind]:
        """What was said, once it is so much."""
        async with asyncio.timeout(10):
            while len(self.callbacks) < count:
                self._news.clear()
                await self._news.wait()
        return [callback.kind for callback in self.callbacks]

    async def all_of(self, fate: Fate, id: str) -> None:
        """Wait for all that is said of a notification that was sent twice, and for nothing else."""
        kinds = [later.kind for later in fate.later] * 2
        assert sorted(await self.kinds(len(kinds))) == sorted(kinds)
        assert all(callback.notification_id == id for callback in self.callbacks)


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
async def afterwards(heard: Heard) -> AsyncIterator[Afterwards]:
    quick = Afterwards(heard, pause=0)
    yield quick
    await quick.stop()


@pytest.fixture
async def mailbox(afterwards: Afterwards) -> AsyncIterator[Mailbox]:
    box = Mailbox(afterwards=afterwards)
    await box.start()
    yield box
    await box.stop()


@pytest.fixture
async def smtp(mailbox: Mailbox) -> AsyncIterator[SmtpProvider]:
    provider = provider_for(mailbox.url)
    yield provider
    await provider.close()


@pytest.fixture
async def endpoint(afterwards: Afterwards) -> AsyncIterator[FcmEndpoint]:
    fcm = FcmEndpoint(slow=0, afterwards=afterwards)
    await fcm.start()
    yield fcm
    await fcm.stop()


@pytest.fixture
async def fcm(endpoint: FcmEndpoint) -> AsyncIterator[FcmProvider]:
    provider = FcmProvider(None, "sandbox", url=endpoint.url)
    yield provider
    await provider.close()


def expected(fate: Fate, *, permanent: bool) -> list[Outcome]:
    """What the first call comes to, and the second one for the same notification."""
    refused = isinstance(fate, MailFate | PushFate) and fate.refusal is not None
    first = Outcome.PERMANENT if permanent else Outcome.TRANSIENT
    if fate.play in (Play.HANG, Play.DROP, Play.NAMELESS):
        return [Outcome.UNKNOWN] * 2
    if not refused:
        return [Outcome.ACCEPTED] * 2
    return [first, Outcome.ACCEPTED if fate.once else first]


@pytest.mark.parametrize("fate", MAIL_FATES, ids=lambda fate: fate.name)
async def test_each_mail_meets_its_fate(mailbox: Mailbox, smtp: SmtpProvider, heard: Heard, fate: MailFate) -> None:
    id = new_id(NOTIFICATION)
    outgoing = mail(f"{fate.name}+one@{DOMAIN}", message_id=f"<{id}@heliograph.test>")
    deadline = SHORT if fate.play is Play.HANG else PATIENT
    answers = [await smtp.send(outgoing, deadline) for _ in range(2)]
    permanent = (fate.refusal or "").startswith("5")
    assert [answer.outcome for answer in answers] == expected(fate, permanent=permanent)
    if fate.refusal is not None:
        assert (answers[0].code or "") in fate.refusal
    await heard.all_of(fate, id)


def push(token: str, id: str) -> OutgoingPush:
    device = Device(id=None, token=token)
    return OutgoingPush(device=device, title="Hi", body="Hello", options=PushOptions(), notification_id=id)


@pytest.mark.parametrize("fate", PUSH_FATES, ids=lambda fate: fate.name)
async def test_each_push_meets_its_fate(fcm: FcmProvider, heard: Heard, fate: PushFate) -> None:
    outgoing = push(f"a-{fate.name}-token", new_id(NOTIFICATION))
    deadline = SHORT if fate.play is Play.HANG else PATIENT
    answers = [await fcm.send(outgoing, deadline) for _ in range(2)]
    permanent = fate.refusal is not None and fate.refusal.http_status in (400, 403, 404)
    assert [answer.outcome for answer in answers] == expected(fate, permanent=permanent)
    if fate.refusal is not None:
        assert answers[0].code == fate.refusal.error_code
    await heard.all_of(fate, outgoing.notification_id)


async def test_a_rate_limit_is_told_from_a_refusal(smtp: SmtpProvider, fcm: FcmProvider) -> None:
    limited: list[Answer] = [
        await smtp.send(mail(f"ratelimit@{DOMAIN}"), PATIENT),
        await fcm.send(push("sandbox-quota", new_id(NOTIFICATION)), PATIENT),
    ]
    assert [(answer.outcome, answer.rate_limited) for answer in limited] == [(Outcome.TRANSIENT, True)] * 2
    greylisted = await smtp.send(mail(f"defer@{DOMAIN}", number=1), PATIENT)
    assert not greylisted.rate_limited


async def test_an_address_elsewhere_meets_no_fate(mailbox: Mailbox, smtp: SmtpProvider) -> None:
    assert (await smtp.send(mail("bounce@example.com"), PATIENT)).outcome is Outcome.ACCEPTED
    assert mailbox.count == 1


@pytest.mark.parametrize("fate", PUSH_FATES, ids=lambda fate: fate.name)
def test_no_word_of_a_token_hides_another(fate: PushFate) -> None:
    assert push_fate(fate.name) is fate


async def test_what_comes_later_comes_in_order_and_says_all_there_is(heard: Heard, afterwards: Afterwards) -> None:
    afterwards.expect("ntf_1", (DELIVERED, BOUNCED))
    assert await heard.kinds(2) == [CallbackKind.DELIVERED, CallbackKind.BOUNCED]
    said = heard.callbacks[1]
    assert (said.notification_id, said.permanent, said.code, said.reason) == ("ntf_1", True, "5.1.1", BOUNCED.reason)
    assert said.occurred_at.tzinfo is not None


async def test_a_database_that_is_away_is_told_when_it_is_back() -> None:
    heard = Heard(away=2)
    afterwards = Afterwards(heard, pause=0)
    afterwards.expect("ntf_1", (DELIVERED,))
    assert await heard.kinds(1) == [CallbackKind.DELIVERED]
    await afterwards.stop()


async def test_no_more_is_kept_in_mind_than_was_agreed(heard: Heard) -> None:
    afterwards = Afterwards(heard, pause=0, waiting=1)
    afterwards.expect("ntf_1", (DELIVERED,))
    afterwards.expect("ntf_2", (DELIVERED,))
    assert await heard.kinds(1) == [CallbackKind.DELIVERED]
    async with asyncio.timeout(10):
        while len(heard.callbacks) < 2:
            afterwards.expect("ntf_3", (DELIVERED,))
            await asyncio.sleep(0)
    assert [callback.notification_id for callback in heard.callbacks[:2]] == ["ntf_1", "ntf_3"]
    await afterwards.stop()


async def test_the_mailbox_keeps_no_more_bytes_than_it_may() -> None:
    box = Mailbox(max_bytes=5_000)
    await box.start()
    provider = provider_for(box.url)
    for number in range(4):
        await provider.send(mail(number=number, text="x" * 2_000), PATIENT)
    kept = box.kept
    assert box.count == 4
    assert 1 <= len(kept) < 4
    assert sum(len(each.raw) for each in kept) <= 5_000
    assert "<ntf_3@heliograph.test>" in kept[0].mail.message_id
    assert box.find(kept[0].id) is kept[0]
    box.clear()
    assert box.kept == []
    await provider.close()
    await box.stop()
