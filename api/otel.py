"""Tracing by OpenTelemetry: `domain.tracing.Tracer` on its SDK, exporting by OTLP over HTTP. The extra `otel`.

Imported only where HELIOGRAPH_OTLP_URL is set. What ties spans together is our own traceparent, so nothing of
OpenTelemetry's global state is used. Spans wait in a bounded queue and are sent by a thread; when the collector is away
they are dropped, and nobody waits for it.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from importlib import metadata

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import Span as SdkSpan
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from domain.telemetry import sane_traceparent, traceparent
from domain.tracing import CURRENT, UNHEARD, Attributes, Kind, Span

QUEUE, BATCH = 4096, 512
"""Spans that wait at most, and that go together."""
EXPORT_SECONDS, EVERY_SECONDS = 5.0, 1.0
FLUSH_SECONDS = 5.0
"""How long a stop waits for what was not sent yet."""
MAX_LINKS = 128

_current: ContextVar["OtelSpan | None"] = ContextVar("current_span", default=None)


class OtelSpan:
    """`domain.tracing.Span`."""

    def __init__(self, span: SdkSpan) -> None:
        self._span = span
        context = span.get_span_context()
        assert context is not None, "a span that was started has one"
        self._links = len(getattr(span, "links", ()))
        self.traceparent = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"

    def rename(self, name: str) -> None:
        self._span.update_name(name)

    def set(self, attributes: Attributes) -> None:
        self._span.set_attributes(_said(attributes))

    def link(self, traceparents: Iterable[str | None]) -> None:
        for context in _contexts(traceparents):
            if self._links == MAX_LINKS:
                break
            self._links += 1
            self._span.add_link(context)

    def fail(self, why: str) -> None:
        self._span.set_status(Status(StatusCode.ERROR, why))


class OtelTracer:
    """`domain.tracing.Tracer`. Spans go to `processor`; `sample` is the share of new traces that are kept (0 to 1), and
    a trace that comes from elsewhere is kept if it was kept there."""

    def __init__(self, role: str, processor: SpanProcessor, *, sample: float = 1.0) -> None:
        version = metadata.version("heliograph")
        # What OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say goes before.
        ours = Resource({"service.name": f"heliograph-{role}", "service.version": version})
        resource = Resource.create().merge(ours).merge(OTELResourceDetector().detect())
        self._provider = TracerProvider(
            resource=resource, sampler=ParentBased(TraceIdRatioBased(sample)), shutdown_on_exit=False
        )
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("heliograph", version)

    @contextmanager
    def span(
        self,
        name: str,
        kind: Kind = Kind.INTERNAL,
        attributes: Attributes | None = None,
        *,
        parent: str | None = CURRENT,
        links: Iterable[str | None] = (),
        began: int | None = None,
    ) -> Iterator[Span]:
        span = OtelSpan(
            self._tracer.start_span(  # type: ignore[arg-type]  # the SDK's tracer starts the SDK's spans
                name,
                context=_context_of(traceparent.get() if parent == CURRENT else parent),
                kind=SpanKind[kind.value],
                attributes=_said(attributes or {}),
                links=[Link(context) for context in _contexts(links)][:MAX_LINKS],
                start_time=began,
            )
        )
        ambient, current = traceparent.set(span.traceparent), _current.set(span)
        try:
            yield span
        except BaseException as error:
            span.fail(type(error).__name__)  # never its text, which may be a stranger's
            raise
        finally:
            _current.reset(current)
            traceparent.reset(ambient)
            span._span.end()

    def current(self) -> Span:
        return _current.get() or UNHEARD

    async def close(self) -> None:
        """Send what waits, for a bounded time. May be called twice."""
        await asyncio.to_thread(self._provider.shutdown)


def open_tracer(role: str, url: str, sample: float) -> OtelTracer:
    """A tracer that exports to the collector at `url`, such as http://collector:4318."""
    exporter = OTLPSpanExporter(endpoint=f"{url.rstrip('/')}/v1/traces", timeout=EXPORT_SECONDS)
    return OtelTracer(role, _Bounded(exporter), sample=sample)


class _Bounded(BatchSpanProcessor):
    """The SDK's own waits half a minute for a collector that is away."""

    def __init__(self, exporter: OTLPSpanExporter) -> None:
        super().__init__(
            exporter,
            max_queue_size=QUEUE,
            max_export_batch_size=BATCH,
            schedule_delay_millis=EVERY_SECONDS * 1000,
        )

    def shutdown(self) -> None:
        self._batch_processor.shutdown(timeout_millis=int(FLUSH_SECONDS * 1000))


def _said(attributes: Attributes) -> Mapping[str, str | int | float | bool]:
    return {name: value for name, value in attributes.items() if value is not None}


def _contexts(traceparents: Iterable[str | None]) -> Iterator[SpanContext]:
    for text in dict.fromkeys(traceparents):
        if (context := _parsed(text)) is not None:
            yield context


def _context_of(text: str | None) -> Context:
    """Never OpenTelemetry's own current context: an empty one begins a trace."""
    context = _parsed(text)
    return Context() if context is None else set_span_in_context(NonRecordingSpan(context), Context())


def _parsed(text: str | None) -> SpanContext | None:
    if sane_traceparent(text) is None:
        return None
    assert text is not None
    _, trace, span, flags = text.split("-")
    context = SpanContext(int(trace, 16), int(span, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16)))
    return context if context.is_valid else None
