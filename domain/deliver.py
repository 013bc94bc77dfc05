"""Verb 2: one delivery attempt.

The worker holds the claim. First decide whether to send at all (only the holder of a claim may decide not to, rule
R8), by the recipient's preferences as they are now; then let the channel's sender try; then conclude from what the
provider answered. Deciding and concluding are pure; `deliver` only puts them around the call. It never raises for a
recipient's, a template's or a provider's fault.

Does the outcome use up an attempt?

    accepted, permanent       yes, and it is over
    transient, unknown        yes
    rate limited              no, the first `MAX_PUT_OFFS` times
    skipped, quiet hours      no: nothing was tried
    no provider available     no: the claim is handed back
    shutdown before the call  no: the claim is handed back
    a worker that was killed  yes: the dispatcher counts it when the lease ends
"""

from collections.abc import Callable
from datetime import datetime, timedelta

import msgspec

from domain.attempted import attempted
from domain.events import StatusChanged
from domain.notification import Outcome, Status
from domain.outgoing import Delivered
from domain.ports import Claim, Sender, Settlement, Standings
from domain.reasons import Attempted, written
from domain.recipient import Decision, Purpose, Standing, may_contact
from domain.refusals import REFUSED_ADDRESS
from domain.retry import AfterUnknown, GiveUp, RetryPolicy
from domain.text import cleaned

LEASE_MARGIN = 5.0
"""Seconds of a lease that are kept for storing the outcome after the call's deadline."""
PAUSE = 1.0
"""Seconds after which to look again where nobody said how long: what was handed back must not come round at once."""


class HandBack(msgspec.Struct, frozen=True):
    """Nothing was tried: release the claim and look again in `delay` seconds."""

    claim: Claim
    delay: float
    reason: str


class DatabaseClock:
    """The database's clock as a worker sees it: the time of its claim plus what its own monotonic clock counted.

    So a worker whose wall clock is wrong by an hour still decides and reports rightly. `asked_at` is what `monotonic`
    said before the claim was asked for: however long the worker was held up since, no lease looks longer than it is.
    """

    def __init__(self, claimed_at: datetime, asked_at: float, monotonic: Callable[[], float]) -> None:
        self._claimed_at = claimed_at
        self._asked_at = asked_at
        self._monotonic = monotonic

    def now(self) -> datetime:
        """UTC; ahead of the database by at most the time that the claim took, and never behind it."""
        return self._claimed_at + timedelta(seconds=self._monotonic() - self._asked_at)


async def deliver(
    claim: Claim, standings: Standings, sender: Sender, policy: RetryPolicy, clock: DatabaseClock, deadline: float
) -> Settlement | HandBack:
    """Make one attempt for a claimed notification and say what came of it.

    `deadline` bounds the provider call in seconds. A claim whose lease is too short for it is handed back (rule R7).
    Raises `DatabaseUnavailable` when nobody can say who is suppressed; then nothing was tried.
    """
    refusal = decide_not_to_send(claim, policy, clock.now())
    if refusal is not None:
        return _settled(claim, refusal)
    standing = await standings.of(claim)
    decision, refusal = respect(claim, standing, clock.now())
    if refusal is not None:
        return _settled(claim, refusal)
    left = (claim.lease_until - clock.now()).total_seconds()
    if left < deadline + LEASE_MARGIN:
        return HandBack(claim, PAUSE, "the lease left is shorter than the call may take")
    started_at = clock.now()
    delivered = await sender.send(addressed(claim, standing), deadline)
    if delivered.outcome is None:
        return HandBack(claim, delivered.retry_after or PAUSE, delivered.reason or "no provider is available")
    ending = conclude(claim, _about(claim, standing, delivered), policy, clock.now())
    decided = attempted(claim, standing, decision, delivered.routes, started_at)
    return _settled(claim, sending(claim, started_at), _remembered(_explained(ending, decided), standing))


def _settled(claim: Claim, *changes: StatusChanged) -> Settlement:
    return Settlement(id=claim.id, token=claim.token, changes=changes)


def respect(claim: Claim, standing: Standing, now: datetime) -> tuple[Decision, StatusChanged | None]:
    """Whether the recipient may be contacted; the change that spares them if not, now or at all, else None."""
    if standing.recipient is None:
        return Decision(), _change(claim, Status.SKIPPED, now, reason="The user was erased.", detail={"code": "erased"})
    purpose = Purpose(category=claim.category, priority=claim.priority)
    decision = may_contact(standing.recipient, claim.channel, purpose, now, standing.suppressed)
    if decision.allowed:
        return decision, None
    status = Status.SKIPPED if decision.refused else Status.SCHEDULED
    change = _change(claim, status, now, reason=decision.reason, detail={"code": str(decision.code)})
    if decision.until is not None:
        # By deliver_by somebody must look again, to say EXPIRED.
        until = min(decision.until, claim.deliver_by or decision.until)
        detail = {**change.detail, "held_until": decision.until.isoformat()}
        change = msgspec.structs.replace(change, retry_at=until, detail=detail)
    decided = Attempted(at=now, rule=decision.rule, quiet=decision.quiet)
    return decision, _remembered(_explained(change, decided), standing)


def _explained(change: StatusChanged, decided: Attempted) -> StatusChanged:
    return msgspec.structs.replace(change, detail=change.detail | written(decided))


def addressed(claim: Claim, standing: Standing) -> Claim:
    """The claim with its recipient as they are now, without the devices that are suppressed or refused it for good."""
    assert standing.recipient is not None, "an erased recipient is spared"
    recipient = standing.recipient
    devices = tuple(
        device
        for device in recipient.devices
        if device.token not in standing.suppressed and device.id not in claim.refused_devices
    )
    if len(devices) != len(recipient.devices):
        recipient = msgspec.structs.replace(recipient, devices=devices)
    return msgspec.structs.replace(claim, recipient=recipient)


def _about(claim: Claim, standing: Standing, delivered: Delivered) -> Delivered:
    """Without the word that the address is refused, where that is not the address that the store knows: the user has
    changed it since, and no address travels in a report."""
    now = None if standing.recipient is None else standing.recipient.email
    if REFUSED_ADDRESS not in delivered.detail or now == claim.recipient.email:
        return delivered
    detail = {name: value for name, value in delivered.detail.items() if name != REFUSED_ADDRESS}
    return msgspec.structs.replace(delivered, detail=detail)


def _remembered(change: StatusChanged, standing: Standing) -> StatusChanged:
    """Says that the recipient is only remembered, while the User Service is away."""
    return msgspec.structs.replace(change, detail={**change.detail, "stale": ["user"]}) if standing.stale else change


def decide_not_to_send(claim: Claim, policy: RetryPolicy, now: datetime) -> StatusChanged | None:
    """The change that ends a notification without a call, or None to go on."""
    if claim.deliver_by is not None and now >= claim.deliver_by:
        return _change(claim, Status.EXPIRED, now, reason="It could not be sent before deliver_by.")
    if _is_held(claim, policy):
        reason = "An earlier attempt may have reached the recipient; it is held instead of being sent twice."
        return _change(claim, Status.FAILED, now, reason=reason, detail={"code": "outcome_unknown"})
    if claim.attempts_used >= policy.max_attempts:
        reason = f"All {policy.max_attempts} attempts are used up."
        return _change(claim, Status.FAILED, now, reason=reason, detail={"code": "attempts_used_up"})
    return None


def _is_held(claim: Claim, policy: RetryPolicy) -> bool:
    """Whoever replays a held notification accepts that it may be sent twice: a replay starts at 0 attempts used."""
    return claim.uncertain and claim.attempts_used > 0 and policy.after_unknown is AfterUnknown.HOLD


def sending(claim: Claim, at: datetime) -> StatusChanged:
    """The report that a provider is being called."""
    detail: dict[str, object] = {"possible_duplicate": True} if claim.uncertain else {}
    return _change(claim, Status.SENDING, at, detail=detail)


def conclude(claim: Claim, delivered: Delivered, policy: RetryPolicy, now: datetime) -> StatusChanged:
    """What the provider's answer means for the notification."""
    outcome = delivered.outcome
    assert outcome is not None, "nothing was tried, so there is nothing to conclude"
    detail = dict(delivered.detail)
    if delivered.code is not None:
        detail["code"] = cleaned(delivered.code)
    if claim.uncertain:
        detail["possible_duplicate"] = True
    if outcome is Outcome.ACCEPTED:
        return _after_call(claim, Status.SENT, delivered, now, detail, delivered.reason)
    put_off = policy.put_off(_unused(claim), delivered.retry_after) if _only_limited(delivered) else None
    verdict = put_off or policy.decide(claim.attempts_used + 1, outcome, delivered.retry_after)
    if isinstance(verdict, GiveUp):
        detail.setdefault("code", verdict.code)
        detail["given_up"] = verdict.code
        return _after_call(claim, Status.FAILED, delivered, now, detail, delivered.reason or verdict.reason)
    if put_off is not None:
        detail["put_off"] = "rate_limited"
    retry_at = now + timedelta(seconds=verdict.seconds)
    if claim.deliver_by is not None:
        retry_at = min(retry_at, claim.deliver_by)  # by then somebody must look again, to say EXPIRED
    retrying = _after_call(claim, Status.RETRYING, delivered, now, detail, delivered.reason, retry_at)
    return msgspec.structs.replace(retrying, uses_attempt=put_off is None)


def _only_limited(delivered: Delivered) -> bool:
    return delivered.rate_limited and delivered.outcome is Outcome.TRANSIENT


def _unused(claim: Claim) -> int:
    """How many claims before this one used no attempt. After a replay those that it forgave count too."""
    return claim.attempt - 1 - claim.attempts_used


def _after_call(
    claim: Claim,
    status: Status,
    delivered: Delivered,
    now: datetime,
    detail: dict[str, object],
    reason: str | None,
    retry_at: datetime | None = None,
) -> StatusChanged:
    attempts = [
        msgspec.structs.replace(attempt, retry_at=retry_at, code=cleaned(attempt.code), detail=cleaned(attempt.detail))
        for attempt in delivered.attempts
    ]
    return StatusChanged(
        notification_id=claim.id,
        status=status,
        occurred_at=now,
        attempt=claim.attempt,
        token=claim.token,
        reason=cleaned(reason),
        provider=delivered.provider,
        provider_message_id=cleaned(delivered.provider_message_id),
        retry_at=retry_at,
        uses_attempt=True,
        uncertain=delivered.outcome is Outcome.UNKNOWN,
        attempts=attempts,
        detail=detail,
    )


def _change(
    claim: Claim, status: Status, at: datetime, reason: str | None = None, detail: dict[str, object] | None = None
) -> StatusChanged:
    return StatusChanged(
        notification_id=claim.id,
        status=status,
        occurred_at=at,
        attempt=claim.attempt,
        token=claim.token,
        reason=reason,
        detail=detail or {},
    )
