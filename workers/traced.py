"""Providers whose calls are spans. The provider is a stranger: our traceparent does not go to it."""

from collections.abc import Sequence

from domain.notification import Outcome
from domain.outgoing import Answer, OutgoingEmail, OutgoingPush
from domain.ports import EmailProvider, PushProvider
from domain.recipient import Device
from domain.tracing import UNTRACED, Attributes, Kind, Span, Tracer


class TracedEmail:
    """`domain.ports.EmailProvider`, each mail a span."""

    def __init__(self, provider: EmailProvider, tracer: Tracer) -> None:
        self.name = provider.name
        self._provider, self._tracer = provider, tracer

    async def send(self, mail: OutgoingEmail, deadline: float) -> Answer:
        """One mail to one recipient."""
        told = _asked(self.name, mail.notification_id)
        with self._tracer.span(f"call {self.name}", Kind.CLIENT, told) as span:
            return _told(span, await self._provider.send(mail, deadline))

    async def close(self) -> None:
        """Let go of connections."""
        await self._provider.close()


class TracedPush:
    """`domain.ports.PushProvider`, each push a span."""

    def __init__(self, provider: PushProvider, tracer: Tracer) -> None:
        self.name = provider.name
        self._provider, self._tracer = provider, tracer

    def serves(self, device: Device) -> bool:
        """Whether the device's token is of this provider's kind."""
        return self._provider.serves(device)

    async def send(self, push: OutgoingPush, deadline: float) -> Answer:
        """One push notification to one device."""
        told = {**_asked(self.name, push.notification_id), "heliograph.device.id": push.device.id}
        with self._tracer.span(f"call {self.name}", Kind.CLIENT, told) as span:
            return _told(span, await self._provider.send(push, deadline))

    async def close(self) -> None:
        """Let go of connections."""
        await self._provider.close()


def traced_email(providers: Sequence[EmailProvider], tracer: Tracer) -> Sequence[EmailProvider]:
    """These providers; as they are, when nobody listens."""
    return providers if tracer is UNTRACED else [TracedEmail(each, tracer) for each in providers]


def traced_push(providers: Sequence[PushProvider], tracer: Tracer) -> Sequence[PushProvider]:
    """These providers; as they are, when nobody listens."""
    return providers if tracer is UNTRACED else [TracedPush(each, tracer) for each in providers]


def _asked(provider: str, notification: str) -> Attributes:
    return {"heliograph.provider": provider, "heliograph.notification.id": notification}


def _told(span: Span, answer: Answer) -> Answer:
    span.set({"heliograph.outcome": answer.outcome.value, "heliograph.code": answer.code})
    if answer.outcome is not Outcome.ACCEPTED:
        span.fail(answer.outcome.value)
    return answer
