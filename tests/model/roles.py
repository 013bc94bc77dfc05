"""What the roles do between two statements, by their own code: what a dispatcher publishes, what a worker reports."""

from collections.abc import Callable, Generator, Sequence
from functools import cache
from typing import Any, NamedTuple, NoReturn, cast

import msgspec

from domain.deliver import DatabaseClock, HandBack, deliver, sending
from domain.events import StatusChanged, decode_delivery, decode_report
from domain.notification import Outcome
from domain.outgoing import Delivered
from domain.ports import Broker, Claim, Due, Outbox, Publication
from domain.preferences import Preferences, QuietHours
from domain.recipient import Recipient, Standing
from domain.retry import RetryPolicy
from tests.contracts.gateway_store import LEASE
from tests.model.database import NOW, run
from tests.model.rows import NOTHING, Reports
from workers.dispatcher import Dispatcher
from workers.messages import report_publications

DEADLINE = LEASE / 3
QUIET = Recipient(email="a@example.com", preferences=Preferences(quiet_hours=QuietHours(start="00:00", end="23:00")))


class Held(NamedTuple):
    """A claim as its worker knows it."""

    attempt: int
    used: int
    uncertain: bool


class Published(NamedTuple):
    """What a dispatcher publishes for a row: the number of a report, and the attempt of a delivery item."""

    report: int
    item: int


class Roles:
    """The dispatcher and the worker. `schedule` is the retry policy's."""

    def __init__(self, reports: Reports, schedule: Sequence[float]) -> None:
        self._reports = reports
        self._policy = RetryPolicy(schedule=tuple(schedule), jitter=0.0)
        self._claims: dict[Held, Claim] = {}
        self.begin, self.answer, self.slow = cache(self._begin), cache(self._answer), cache(self._slow)

    def published(self, due: Due) -> Published:
        """What `Dispatcher` publishes, in their wire form and read again."""
        broker = _Broker()
        dispatcher = Dispatcher(cast(Outbox, None), cast(Broker, broker))
        run(dispatcher._publish(due.channel, [due]))
        report, item = NOTHING, NOTHING
        for publication in broker.publications:
            if publication.exchange.endswith("status"):
                report = self._reports.number(decode_report(publication.message.body).changes)
            else:
                item = decode_delivery(publication.message.body).items[0].attempt
        return Published(report, item)

    def holding(self, claim: Claim) -> Held:
        """Remember a claim by what tells it from others."""
        held = Held(claim.attempt, claim.attempts_used, claim.uncertain)
        self._claims[held] = claim
        return held

    def _begin(self, held: Held, expired: bool, late: bool, standing: str) -> int | HandBack | None:
        """`deliver` up to the provider's call: None when that is reached, else what it came to without one."""
        work = self._deliver(held, expired, late, standing, None)
        try:
            work.send(None)
        except StopIteration as stop:
            return stop.value if isinstance(stop.value, HandBack) else self._report(stop.value.changes)
        work.close()
        return None

    def _answer(self, held: Held, outcome: Outcome) -> int:
        """The report of a call that had this outcome."""
        return self._report(run(self._deliver(held, False, False, "allowed", outcome)).changes)

    def _slow(self, held: Held) -> int:
        """The report of a call that takes long."""
        return self._report([sending(self._claims[held], NOW)])

    def _report(self, changes: Sequence[StatusChanged]) -> int:
        (publication,) = report_publications([changes])
        return self._reports.number(decode_report(publication.message.body).changes)

    def _deliver(self, held: Held, expired: bool, late: bool, standing: str, outcome: Outcome | None) -> Any:
        deliver_by = NOW.replace(year=NOW.year - 1 if expired else NOW.year + 1)
        claim = msgspec.structs.replace(self._claims[held], deliver_by=deliver_by)
        clock = DatabaseClock(NOW, 0.0, _always(LEASE if late else 0.0))
        return deliver(claim, _Standings(standing), _Sender(outcome), self._policy, clock, DEADLINE)


class _Broker:
    """Takes what is published."""

    available = True

    def __init__(self) -> None:
        self.publications: list[Publication] = []

    def on_connected(self, callback: Callable[[], None]) -> None:
        """It never connects again."""

    async def publish(self, publications: Sequence[Publication], deadline: float = 10.0) -> None:
        self.publications.extend(publications)


class _Standings:
    """Says of every recipient what it is told to."""

    def __init__(self, standing: str) -> None:
        self._standing = standing

    async def of(self, claim: Claim) -> Standing:
        address = claim.recipient.email or ""
        if self._standing == "quiet":
            return Standing(recipient=QUIET, suppressed={})
        return Standing(recipient=claim.recipient, suppressed={address: "x"} if self._standing == "refused" else {})


class _Sender:
    """Has one outcome for every call; without one, the call is never answered."""

    def __init__(self, outcome: Outcome | None) -> None:
        self._outcome = outcome

    async def send(self, claim: Claim, deadline: float) -> Delivered:
        if self._outcome is None:
            await _Never()
        return Delivered(outcome=self._outcome, provider="model")


class _Never:
    def __await__(self) -> Generator[None, None, NoReturn]:
        yield
        raise AssertionError("nobody answers")


def _always(seconds: float) -> Callable[[], float]:
    return lambda: seconds
