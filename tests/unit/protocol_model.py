"""One notification as the protocol drives it: rules R1 to R3 played by hand, everything else through `track`.

Dispatchers, workers (zombies too), callers and providers act in any order; what they report is
delivered in any order, several times, late or never. So the histories are those that the claims allow, and no others.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from domain.events import StatusChanged
from domain.notification import BEFORE_QUEUED, FINAL, Progress, Status
from domain.track import Entry, track

NOW = datetime(2030, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(minutes=1)

ENDINGS: dict[str, tuple[Status, ...]] = {
    "accepted": (Status.SENDING, Status.SENT),
    "transient": (Status.SENDING, Status.RETRYING),
    "unknown": (Status.SENDING, Status.RETRYING),
    "permanent": (Status.SENDING, Status.FAILED),
    "used_up": (Status.FAILED,),
    "expired": (Status.EXPIRED,),
    "skipped": (Status.SKIPPED,),
    "quiet_hours": (Status.SCHEDULED,),
}
"""What the holder of a claim reports, by what happened."""


class Holder(msgspec.Struct, frozen=True):
    """A worker that claimed; it is a zombie once its token is not the row's any more."""

    token: str
    attempt: int


class Step(msgspec.Struct, frozen=True):
    """Somebody acts. `number` picks among the candidates that there are."""

    action: str
    number: int = 0


class World:
    """The row, and all that is under way. A step that is not possible now does nothing."""

    def __init__(self, first: Status = Status.ACCEPTED) -> None:
        self.row = Progress(id="ntf_1", status=first, sequence=1, next_at=NOW)
        self.entries: list[Entry] = []
        self.heard: list[tuple[StatusChanged, ...]] = []
        self.unheard: list[tuple[StatusChanged, ...]] = []
        self.accepted = 0
        self._first = first
        self._items: list[int] = []
        self._holders: list[Holder] = []
        self._settled: tuple[StatusChanged, ...] = ()
        self._claims = 0

    def play(self, steps: Sequence[Step]) -> None:
        """Take the steps in order."""
        for step in steps:
            self._act(step)
            self._check()
        self._check_story()

    def apply(self, change: StatusChanged) -> str | None:
        """What `record` does with one change; why it was ignored, if it was."""
        before = self.row
        self.row, entries, why = track(before, change, NOW)
        self.entries.extend(entries)
        if not self.row.settled:
            self._settled = ()
        if why is not None:
            assert why, "an ignored change carries its reason"
            assert entries == []
            assert msgspec.structs.replace(self.row, possible_duplicate=before.possible_duplicate) == before
        return why

    def _check(self) -> None:
        """What holds at every moment."""
        assert (self.row.next_at is None) is self.row.final
        assert not (self.row.final and self.row.token)
        assert self.row.sequence == 1 + len(self.entries)
        assert self.row.attempt == self._claims
        if self.row.status is Status.CANCELLED:
            assert not self._holders, "cancelled while an attempt was under way"
            assert self.accepted == 0, "cancelled after it was sent"

    def _check_story(self) -> None:
        """The log goes from status to status without a hole, and ends where the row is."""
        statuses = [self._first, *(entry.status for entry in self.entries)]
        assert [entry.previous_status for entry in self.entries] == statuses[:-1]
        assert [entry.sequence for entry in self.entries] == list(range(2, len(statuses) + 1))
        assert self.row.status is statuses[-1]

    def _act(self, step: Step) -> None:
        name, number = step.action, step.number
        if name in ENDINGS:
            self._finish(name, number)
        else:
            getattr(self, f"_{name}")(number)

    def _take(self, _: int) -> None:
        """R2: what is due moves its clock, an ended lease is revoked, a settled claim is reported once more."""
        if self.row.final:
            return
        if self._settled:
            self._report(*self._settled)
            return
        if self.row.token is not None:
            self._change(token=None, uncertain=True, attempts_used=self.row.attempts_used + 1)
        self._change(next_at=LATER)
        if self.row.status in BEFORE_QUEUED:
            self._report(self._said(Status.QUEUED, Holder("", self.row.attempt), token=None))
        self._items.append(self.row.attempt)

    def _claim(self, number: int) -> None:
        """R1, for any copy of any delivery item that was ever published; 0 is the newest."""
        if not self._items or self.row.final or self.row.token is not None:
            return
        if self._items[-1 - number % len(self._items)] != self.row.attempt:
            return
        self._claims += 1
        token = f"clm_{self._claims}"
        self._change(attempt=self.row.attempt + 1, token=token, next_at=LATER)
        self._holders.append(Holder(token, self.row.attempt))

    def _slow(self, number: int) -> None:
        """A call that takes long reports SENDING by itself."""
        if self._holders:
            self._report(self._said(Status.SENDING, self._holders[number % len(self._holders)]))

    def _finish(self, ending: str, number: int) -> None:
        """R3: settle where the claim is still held, then report in any case."""
        holder = self._pop_holder(number)
        if holder is None:
            return
        self.accepted += ending == "accepted"
        changes = tuple(self._said(status, holder, ending=ending) for status in ENDINGS[ending])
        if self.row.token == holder.token and not self._settled:
            self._settled = changes
            self._change(settled=True)
        self._report(*changes)

    def _die(self, number: int) -> None:
        self._pop_holder(number)

    def _release(self, number: int) -> None:
        holder = self._pop_holder(number)
        if holder and self.row.token == holder.token:
            self._change(token=None, next_at=NOW)

    def _next(self, _: int) -> None:
        """The oldest report that was not heard."""
        if self.unheard:
            self.heard.append(self.unheard[0])
            self._hear(self.unheard.pop(0))

    def _overtake(self, number: int) -> None:
        """Any report that was not heard."""
        if self.unheard:
            self.heard.append(self.unheard.pop(number % len(self.unheard)))
            self._hear(self.heard[-1])

    def _again(self, number: int) -> None:
        """A report that was heard before."""
        if self.heard:
            self._hear(self.heard[number % len(self.heard)])

    def _purge(self, _: int) -> None:
        """The status queue loses everything."""
        self.unheard.clear()

    def _cancel(self, _: int) -> None:
        self.apply(self._said(Status.CANCELLED, Holder("", 0), token=None))

    def _replay(self, _: int) -> None:
        self.apply(self._said(Status.QUEUED, Holder("", 0), token=None, replay=True))

    def _confirm(self, _: int) -> None:
        """What the provider says later: a webhook is recorded at once."""
        if self.accepted:
            self.apply(self._said(Status.DELIVERED, Holder("", 0), token=None))

    def _bounce(self, _: int) -> None:
        """The bounce listener reports like a worker."""
        if self.accepted:
            self._report(self._said(Status.BOUNCED, Holder("", 0), token=None))

    def _hear(self, report: Sequence[StatusChanged]) -> None:
        for change in report:
            self.apply(change)

    def _report(self, *changes: StatusChanged) -> None:
        self.unheard.append(changes)

    def _pop_holder(self, number: int) -> Holder | None:
        return self._holders.pop(number % len(self._holders)) if self._holders else None

    def _change(self, **changes: object) -> None:
        self.row = msgspec.structs.replace(self.row, **changes)

    def _said(
        self, status: Status, holder: Holder, *, token: str | None = "", replay: bool = False, ending: str = ""
    ) -> StatusChanged:
        return StatusChanged(
            notification_id=self.row.id,
            status=status,
            occurred_at=NOW,
            attempt=holder.attempt,
            token=holder.token if token == "" else token,
            replay=replay,
            reason=ending or None,
            retry_at=LATER if status in (Status.RETRYING, Status.SCHEDULED) else None,
            uses_attempt=status not in (Status.SENDING, Status.SCHEDULED) and bool(ending),
            uncertain=ending == "unknown" and status is Status.RETRYING,
        )


ACTIONS = (
    *("take", "claim") * 5,
    *("next", "slow", "transient") * 2,
    *ENDINGS,
    *("die", "release", "overtake", "again", "purge", "cancel", "replay", "replay", "confirm", "bounce"),
)
"""What may happen; the ordinary more often, so that histories go far."""


def flat(reports: Sequence[Sequence[StatusChanged]]) -> list[StatusChanged]:
    """The changes of all of them, in order."""
    return [change for report in reports for change in report]


def endings(entries: Sequence[Entry]) -> list[list[Status]]:
    """The final statuses in order, a list for each life; a replay begins a new one."""
    lives: list[list[Status]] = [[]]
    for entry in entries:
        if entry.change.replay:
            lives.append([])
        elif entry.status in FINAL:
            lives[-1].append(entry.status)
    return lives
