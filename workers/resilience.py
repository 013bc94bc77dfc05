"""Circuit breakers, one per process and per whom it calls, and the chain of providers that a channel fails over along.

aiobreaker counts the failures and keeps the state. What it leaves open is closed here, once: half-open lets one probe
through instead of everybody, time is monotonic, and the error that tripped the breaker comes out as itself.
"""

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Generic, Protocol, TypeVar, cast

import msgspec
from aiobreaker import CircuitBreaker, CircuitBreakerError, CircuitBreakerListener

from domain.events import Attempt
from domain.notification import Outcome
from domain.outgoing import Answer
from domain.reasons import PassedOver, Step
from workers.pacing import Pace

T = TypeVar("T")

log = logging.getLogger(__name__)

_ABOUT_THE_MAIL = re.compile(r"4\.(?!3\.)\d+\.\d+|45\d")
_PROBE_PATIENCE = 1.0
COSTLY = 1.0
"""Seconds. An outage that took so long to tell is not waited for again while somebody else can send."""


class BreakerState(StrEnum):
    """Whether calls go through."""

    CLOSED = "CLOSED"
    OPEN = "OPEN"
    HALF_OPEN = "HALF_OPEN"


class BreakerOpenError(Exception):
    """The call was not made; come back in `retry_in` seconds."""

    def __init__(self, name: str, retry_in: float) -> None:
        self.retry_in = retry_in
        super().__init__(f"{name} is not called for another {retry_in:.1f} s")


class _OutageError(Exception):
    """Tells aiobreaker that an answer counts as a failure."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        super().__init__()


def only_errors(answer: object) -> bool:
    """For a breaker whose calls raise every outage: no answer is one."""
    return False


def is_outage(answer: Answer) -> bool:
    """Whether an answer speaks of the provider's health rather than of one recipient or one message.

    UNKNOWN does, and TRANSIENT too unless its code is an SMTP reply about the mail at hand, such as greylisting or a
    full mailbox (45x, and RFC 3463's 4.x.y but for 4.3.y, the state of the mail system).
    """
    if answer.outcome is Outcome.TRANSIENT:
        return _ABOUT_THE_MAIL.fullmatch(answer.code or "") is None
    return answer.outcome is Outcome.UNKNOWN


class Breaker(CircuitBreakerListener):  # type: ignore[misc]  # aiobreaker has no types
    """Opens after `fail_max` outages in a row, lets one probe through after `reset_after` seconds, and so on.

    `counts` says which answers are outages, and must fit the calls that are made; an exception is always one.
    `on_change` is told (name, new state) and must neither raise nor block.
    """

    def __init__(
        self,
        name: str,
        *,
        fail_max: int = 5,
        reset_after: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
        counts: Callable[[Any], bool] = is_outage,
        on_change: Callable[[str, BreakerState], None] | None = None,
    ) -> None:
        self.name = name
        self._reset_after = reset_after
        self._clock = clock
        self.is_outage = counts
        self._on_change = on_change
        self._probing = False
        self._reopens_at = 0.0
        # Its own timer is never asked: we move it to half-open by our clock before we call through it.
        self._circuit = CircuitBreaker(
            fail_max=fail_max, timeout_duration=timedelta(seconds=reset_after), listeners=[self], name=name
        )

    @property
    def state(self) -> BreakerState:
        """OPEN also when the time for a probe has come and nobody has called yet."""
        return BreakerState(self._circuit.current_state.name)

    def allows(self) -> bool:
        """Whether a call would go through now."""
        if self.state is BreakerState.OPEN:
            return self._clock() >= self._reopens_at
        return not (self.state is BreakerState.HALF_OPEN and self._probing)

    def retry_in(self) -> float:
        """Seconds until a call may go through; 0 if it may now. While a probe is out, a guess."""
        if self.allows():
            return 0.0
        if self.state is BreakerState.OPEN:
            return self._reopens_at - self._clock()
        return min(_PROBE_PATIENCE, self._reset_after)

    def trip(self) -> None:
        """Open it, however few outages there were. May be called again."""
        if self.state is BreakerState.CLOSED:
            self._circuit.open()

    async def call(self, fn: Callable[[], Awaitable[T]]) -> T:
        """Make the call and count what comes of it. Raises `BreakerOpenError` instead of calling, and what `fn` raises.

        A cancelled call counts neither way.
        """
        if not self.allows():
            raise BreakerOpenError(self.name, self.retry_in())
        if self.state is BreakerState.CLOSED:
            return await self._counted(fn)
        if self.state is BreakerState.OPEN:
            self._circuit.half_open()
        self._probing = True
        try:
            return await self._counted(fn)
        finally:
            self._probing = False

    async def _counted(self, fn: Callable[[], Awaitable[T]]) -> T:
        async def guarded() -> T:
            answer = await fn()
            if self.is_outage(answer):
                raise _OutageError(answer)
            return answer

        try:
            answer: T = await self._circuit.call_async(guarded)
        except _OutageError as outage:
            return cast(T, outage.answer)
        except CircuitBreakerError as tripped:  # this very call tripped it
            if isinstance(tripped.__cause__, _OutageError):
                return cast(T, tripped.__cause__.answer)
            raise (tripped.__cause__ or tripped) from None
        return answer

    def state_change(self, breaker: Any, old: Any, new: Any) -> None:
        """aiobreaker's callback. Late failures of calls from before it opened do not push the probe out."""
        if old.state is new.state:
            return
        if new.state.name == BreakerState.OPEN:
            self._reopens_at = self._clock() + self._reset_after
        # To half-open and back is one more probe that failed, and nothing new.
        level = logging.WARNING if BreakerState.CLOSED in {old.state.name, new.state.name} else logging.DEBUG
        log.log(level, "breaker %s: %s -> %s", self.name, old.state.name, new.state.name)
        if self._on_change is not None:
            self._on_change(self.name, BreakerState(new.state.name))


class Named(Protocol):
    """What a chain must know of a provider."""

    name: str


P = TypeVar("P", bound=Named)


class Chained(msgspec.Struct, frozen=True, kw_only=True):
    """What a chain came to. `answer` None: no provider was available, nothing was tried; ask again in `retry_in`.

    `steps` says which providers had their turn, and why some were not called.
    """

    answer: Answer | None = None
    provider: str | None = None
    attempts: tuple[Attempt, ...] = ()
    steps: tuple[Step, ...] = ()
    retry_in: float | None = None


class ProviderChain(Generic[P]):
    """A channel's providers in order of preference (at least one), each behind its breaker and at its pace, if any.

    `clock` gives the time that attempts are recorded with; `least` is the number of seconds that must be left for
    another provider to be worth trying, `costly` after how many an outage opens a breaker at once. `on_attempt` is told
    of each call and must neither raise nor block.
    """

    def __init__(
        self,
        providers: Sequence[P],
        breakers: Mapping[str, Breaker],
        *,
        clock: Callable[[], datetime],
        paces: Mapping[str, Pace] | None = None,
        least: float = 1.0,
        grace: float = 1.0,
        costly: float = COSTLY,
        on_attempt: Callable[[Attempt], None] = lambda attempt: None,
    ) -> None:
        if not providers:
            raise ValueError("A chain needs a provider.")
        self.providers = tuple(providers)
        self._paces = paces or {}
        self.breakers = {provider.name: breakers[provider.name] for provider in providers}
        self._clock = clock
        self._least = least
        self._grace = grace
        self._costly = costly
        self._on_attempt = on_attempt

    async def call(
        self,
        do: Callable[[P, float], Awaitable[Answer]],
        deadline: float,
        *,
        number: int,
        device_id: str | None = None,
        among: Callable[[P], bool] = lambda provider: True,
    ) -> Chained:
        """Call the first provider `among` them that is available; fail over while it is sure that nothing was sent.

        A provider whose breaker is open, or whose pace has no room now, is passed over; nothing was tried when all are.
        Only an outage leads to the next provider: PERMANENT and a recipient's TRANSIENT would be the same there, and
        UNKNOWN may have been sent. Each provider is called once at most, so the attempts differ in `provider`. All of
        it ends within `deadline` seconds; a provider that overruns its share by the grace period counts as UNKNOWN.

        A single outage opens the breaker of a provider that was waited for in vain, where another one stands behind it:
        so a dead one costs those who call it by then one time-out, and nobody after them.
        """
        ends_at = time.monotonic() + deadline
        last, steps = Chained(), list[Step]()
        for provider in self.providers:
            left = ends_at - time.monotonic()
            in_time = left > 0 and (last.answer is None or left >= self._least)
            step = self._turn(provider.name, among(provider), in_time)
            steps.append(step)
            if step.passed_over is PassedOver.NO_TIME:
                break
            if step.passed_over is not None:
                continue
            answer, record = await self._attempt(provider, do, left, number, device_id)
            last = Chained(answer=answer, provider=provider.name, attempts=(*last.attempts, record))
            outage = self.breakers[provider.name].is_outage(answer)
            if outage and record.duration_ms >= self._costly * 1000 and self._has_stand_in(provider, among):
                self.breakers[provider.name].trip()
            if answer.outcome is not Outcome.TRANSIENT or not outage:
                break
        if last.answer is None:
            return Chained(steps=tuple(steps), retry_in=self._retry_in(list(filter(among, self.providers))))
        return msgspec.structs.replace(last, steps=tuple(steps))

    def _turn(self, name: str, serves: bool, in_time: bool) -> Step:
        """Whether a provider may be called now, and if not, why. A call that may be made counts against its pace."""
        if not serves:
            return Step(provider=name, passed_over=PassedOver.NOT_SERVED)
        if not in_time:
            return Step(provider=name, passed_over=PassedOver.NO_TIME)
        breaker, pace = self.breakers[name], self._paces.get(name)
        if not breaker.allows():
            probed = breaker.state is BreakerState.HALF_OPEN
            until = None if probed else self._clock() + timedelta(seconds=breaker.retry_in())
            why = PassedOver.PROBED if probed else PassedOver.BREAKER_OPEN
            return Step(provider=name, passed_over=why, until=until)
        if pace is not None and not pace.take():
            until = self._clock() + timedelta(seconds=pace.wait())
            return Step(provider=name, passed_over=PassedOver.PACE, until=until)
        return Step(provider=name, probe=breaker.state is not BreakerState.CLOSED)

    def _has_stand_in(self, provider: P, among: Callable[[P], bool]) -> bool:
        return any(among(other) for other in self.providers[self.providers.index(provider) + 1 :])

    def _retry_in(self, providers: Sequence[P]) -> float:
        """When to come back: when one of them is available, and where it has a pace, when it is one's turn."""
        if not providers:
            return 0.0
        name = min((provider.name for provider in providers), key=self._wait)
        wait, pace = self.breakers[name].retry_in(), self._paces.get(name)
        return wait if pace is None else max(wait, pace.turn())

    def _wait(self, name: str) -> float:
        wait, pace = self.breakers[name].retry_in(), self._paces.get(name)
        return wait if pace is None else max(wait, pace.wait())

    async def _attempt(
        self, provider: P, do: Callable[[P, float], Awaitable[Answer]], left: float, number: int, device_id: str | None
    ) -> tuple[Answer, Attempt]:
        """Nothing waits between a provider's turn and this, so its breaker still lets the call through."""
        started_at, started = self._clock(), time.monotonic()
        answer = await self.breakers[provider.name].call(lambda: self._guarded(provider, do, left))
        attempt = Attempt(
            number=number,
            provider=provider.name,
            outcome=answer.outcome,
            started_at=started_at,
            duration_ms=round((time.monotonic() - started) * 1000),
            device_id=device_id,
            code=answer.code,
            detail=answer.detail,
        )
        self._on_attempt(attempt)
        return answer, attempt

    async def _guarded(self, provider: P, do: Callable[[P, float], Awaitable[Answer]], left: float) -> Answer:
        """A provider that breaks its promises may have sent the notification all the same."""
        try:
            async with asyncio.timeout(left + self._grace):
                return await do(provider, left)
        except Exception:
            log.exception("provider %s failed in a way of its own", provider.name)
            detail = "The provider's adapter failed before it had an answer."
            return Answer(outcome=Outcome.UNKNOWN, code="internal_error", detail=detail)
