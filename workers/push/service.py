"""The Push Service's way out: one notification becomes text once and goes to every device of its recipient.

The devices are called side by side; each has its own outcome and its own record, and together they come to one
outcome for the notification (`docs/protocol.md`).
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from domain.notification import Channel, Outcome
from domain.outgoing import Answer, Delivered, OutgoingPush, PushOptions
from domain.ports import Claim, PushProvider, Templates
from domain.push_payload import merge
from domain.reasons import PassedOver, Step, routes_of
from domain.recipient import UNREACHABLE, Device
from domain.template import Rendered, Renderer
from domain.urls import image_problem
from workers.rendering import refused, rendered_or_refused
from workers.resilience import Chained, ProviderChain

DEVICES_AT_ONCE = 20
NOBODYS = Answer(
    outcome=Outcome.PERMANENT,
    code="no_provider_for_token",
    detail="No push provider that is set up knows tokens of this kind.",
)
_PRECEDENCE = (Outcome.ACCEPTED, Outcome.UNKNOWN, Outcome.TRANSIENT, Outcome.PERMANENT)
"""The outcome of all is the first of these that some device had: UNKNOWN, because a retry may then send twice."""


class DeviceResult(msgspec.Struct, frozen=True):
    """What came of one device."""

    device: Device
    chained: Chained

    @property
    def outcome(self) -> Outcome:
        """A device that no provider was available for is to be tried again."""
        return Outcome.TRANSIENT if self.chained.answer is None else self.chained.answer.outcome

    @property
    def failed(self) -> bool:
        """Whether a provider tried and failed: neither a rate limit nor a breaker that is open is a failure."""
        answer = self.chained.answer
        return self.outcome is Outcome.TRANSIENT and answer is not None and not answer.rate_limited


class PushSender:
    """`domain.ports.Sender` for PUSH. `clock` is monotonic, in seconds; `devices_at_once` bounds one notification."""

    def __init__(
        self,
        chain: ProviderChain[PushProvider],
        templates: Templates,
        clock: Callable[[], float] = time.monotonic,
        *,
        renderer: Renderer | None = None,
        devices_at_once: int = DEVICES_AT_ONCE,
    ) -> None:
        self._chain = chain
        self._templates = templates
        self._clock = clock
        self._renderer = renderer or Renderer()
        self._devices_at_once = devices_at_once

    async def send(self, claim: Claim, deadline: float) -> Delivered:
        """Render once, call for every device, and conclude, all within `deadline` seconds."""
        ends_at = self._clock() + deadline
        rendered = await rendered_or_refused(claim, Channel.PUSH, self._templates, self._renderer, deadline)
        if isinstance(rendered, Delivered):
            return rendered
        if rendered.title is None:
            return refused("no_push_content", "There is no title to show: it was not written for push.")
        if not claim.recipient.contact_points(Channel.PUSH):
            return refused("no_device", UNREACHABLE[Channel.PUSH])
        options = merge(rendered, claim.push or PushOptions())
        if options.image_url is not None and (problem := image_problem(options.image_url)):
            return refused("invalid_image_url", f"The image's URL {problem}.")
        devices = {device.token: device for device in claim.recipient.devices}.values()
        pushes = [_push(claim.id, device, rendered, options) for device in devices]
        return conclude(await self._send_to_all(pushes, claim.attempt, ends_at))

    async def _send_to_all(self, pushes: Sequence[OutgoingPush], number: int, ends_at: float) -> list[DeviceResult]:
        slots = asyncio.Semaphore(self._devices_at_once)

        async def send(push: OutgoingPush) -> DeviceResult:
            async with slots:
                return DeviceResult(push.device, await self._call(push, number, ends_at - self._clock()))

        return await asyncio.gather(*map(send, pushes))

    async def _call(self, push: OutgoingPush, number: int, left: float) -> Chained:
        if left <= 0:
            return Chained(retry_in=0.0)
        if not any(provider.serves(push.device) for provider in self._chain.providers):
            steps = [Step(provider=each.name, passed_over=PassedOver.NOT_SERVED) for each in self._chain.providers]
            return Chained(answer=NOBODYS, steps=tuple(steps))
        return await self._chain.call(
            lambda provider, seconds: provider.send(push, seconds),
            left,
            number=number,
            device_id=push.device.id,
            among=lambda provider: provider.serves(push.device),
        )


def _push(notification_id: str, device: Device, rendered: Rendered, options: PushOptions) -> OutgoingPush:
    return OutgoingPush(
        device=device,
        title=rendered.title or "",
        body=rendered.body or "",
        options=options,
        notification_id=notification_id,
    )


def conclude(results: Sequence[DeviceResult]) -> Delivered:
    """One outcome for all devices: any accepted, else any that may be tried again, else refused for good.

    Nothing counts as an attempt when no provider was available for any of them.
    """
    waits = [wait for wait in map(_wait, results) if wait is not None]
    if all(result.chained.answer is None for result in results):
        reason = "No push provider is available."
        return Delivered(outcome=None, code="no_provider", retry_after=min(waits, default=None), reason=reason)
    outcome = next(outcome for outcome in _PRECEDENCE if any(result.outcome is outcome for result in results))
    decisive = next((result.chained for result in results if _decides(result, outcome)), Chained())
    answer = decisive.answer or Answer(outcome=outcome)
    return Delivered(
        outcome=outcome,
        attempts=tuple(attempt for result in results for attempt in result.chained.attempts),
        provider=decisive.provider,
        provider_message_id=answer.provider_message_id,
        code=answer.code,
        reason=_reason(results, answer),
        retry_after=max(waits, default=None),
        rate_limited=outcome is Outcome.TRANSIENT and not any(result.failed for result in results),
        routes=routes_of(result.chained.steps for result in results if result.chained.steps),
        detail={"devices": [_described(result) for result in results]},
    )


def _decides(result: DeviceResult, outcome: Outcome) -> bool:
    return result.chained.answer is not None and result.outcome is outcome


def _wait(result: DeviceResult) -> float | None:
    answer = result.chained.answer
    return result.chained.retry_in if answer is None else answer.retry_after


def _reason(results: Sequence[DeviceResult], answer: Answer) -> str | None:
    if len(results) == 1:
        return answer.detail
    accepted = sum(result.outcome is Outcome.ACCEPTED for result in results)
    summary = f"Accepted for {accepted} of {len(results)} devices."
    return summary if answer.detail is None else f"{summary} {answer.detail}"


def _described(result: DeviceResult) -> dict[str, Any]:
    """A device's outcome, without its token. `retire` says that the device can never be reached again."""
    chained = result.chained
    described: dict[str, Any] = {"device_id": result.device.id, "outcome": None, "provider": chained.provider}
    if chained.answer is not None:
        described |= {"outcome": chained.answer.outcome.value, "code": chained.answer.code}
        if chained.answer.retire_contact_point:
            described["retire"] = True
    return described
