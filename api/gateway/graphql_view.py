"""GraphQL at one URL: Strawberry's view, with our own HTTP around it and our own handler for sockets."""

import logging
from collections.abc import Collection
from datetime import timedelta
from functools import partial

import msgspec
from graphql import GraphQLError
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket
from strawberry.asgi import GraphQL
from strawberry.exceptions import ConnectionRejectionError
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError
from strawberry.subscriptions import GRAPHQL_TRANSPORT_WS_PROTOCOL
from strawberry.types.execution import ExecutionContext, PreExecutionError
from strawberry.types.graphql import OperationType
from strawberry.types.unset import UnsetType

from api.gateway.documents import Gate, Library
from api.gateway.event_stream import EventStream, whole_stream
from api.gateway.failures import INTERNAL, presented, shown
from api.gateway.graphql_http import (
    Params,
    Refused,
    answer,
    check_accepted,
    methods,
    payload_of,
    read_params,
    refusal,
    takes_events,
    takes_events_only,
    wants_page,
)
from api.gateway.graphql_socket import Adapter, Handler, credentials_of, decoded
from api.gateway.graphql_sse import frames
from api.gateway.guard import LIMIT_EXCEEDED
from api.gateway.playground.page import Playground
from api.gateway.schema import build_schema
from api.gateway.schema.context import Context
from api.gateway.schema.services import Services
from api.gateway.sockets import Sockets
from api.gateway.streams import Streams
from api.gateway.subscribers import Subscribers
from api.gateway.subscription import Asked
from api.gateway.trusted import TrustedDocuments
from api.gateway.validation import Inspector, Policy
from api.security import Authenticator
from domain.errors import RequestError, Unauthenticated, Unavailable
from domain.telemetry import correlation_id, sane_correlation_id, traceparent
from domain.tracing import UNTRACED, Tracer

log = logging.getLogger(__name__)

INIT_TIMEOUT = timedelta(seconds=5)
OPERATIONS_PER_SOCKET = 100
_ALLOWED = {
    "GET": frozenset({OperationType.QUERY}),
    "HEAD": frozenset({OperationType.QUERY}),
    "POST": frozenset({OperationType.QUERY, OperationType.MUTATION}),
}


_SUBSCRIPTIONS = (
    "Subscriptions go over a WebSocket (graphql-transport-ws) at this URL, or as server-sent events to who accepts "
    "text/event-stream."
)


class GraphQLView(GraphQL[Context, None]):
    """An ASGI application for a `Route` and a `WebSocketRoute` (a mount would break the sockets).

    `keys` says who calls; `sockets` are those that are open, for whoever learns that a credential has ended;
    `subscribers` counts the subscriptions of each caller. `playground` is the page for browsers, None for none.
    `policy` is what documents may do; a manifest with a document that may not raises `ConfigurationError`. Pages of
    `allowed_origins` may open sockets, beside our own. Every answer is JSON but that page and the streams of
    server-sent events.
    """

    websocket_adapter_class = Adapter

    def __init__(
        self,
        services: Services,
        keys: Authenticator,
        *,
        sockets: Sockets | None = None,
        playground: Playground | None = None,
        subscribers: Subscribers | None = None,
        policy: Policy | None = None,
        allowed_origins: Collection[str] = (),
        tracer: Tracer = UNTRACED,
    ) -> None:
        policy = policy or Policy()
        self._limits = policy.limits
        inspector = Inspector(build_schema()._schema, policy)
        trusted = TrustedDocuments(policy, inspector)
        library = Library(inspector, trusted)
        schema = build_schema((partial(Gate, library),), suggestions=policy.suggestions)
        super().__init__(
            schema,
            graphql_ide=None,
            subscription_protocols=(GRAPHQL_TRANSPORT_WS_PROTOCOL,),
            connection_init_wait_timeout=INIT_TIMEOUT,
            max_subscriptions_per_connection=OPERATIONS_PER_SOCKET,
            allowed_origins=tuple(allowed_origins),
        )
        self._sockets = Sockets() if sockets is None else sockets
        self._streams = Streams(schema, library, subscribers or Subscribers())
        self.graphql_transport_ws_handler_class = partial(  # type: ignore[assignment]
            Handler, sockets=self._sockets, streams=self._streams, trusted=trusted
        )
        self._tracer = tracer
        self._services, self._keys, self._playground, self._trusted = services, keys, playground, trusted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request or one socket."""
        if scope["type"] == "websocket":
            await self._serve_socket(scope, receive, send)
            return
        request = Request(scope, receive)
        response = await self._respond(request)
        await response(scope, receive, send)

    # ------------------------------------------------------------------------------------------------------- HTTP

    async def _respond(self, request: Request) -> Response:
        try:
            if request.method == "OPTIONS":
                return methods()
            if self._playground is not None and wants_page(request):
                return self._playground.page()
            check_accepted(request)
            return await self._execute(request)
        except Refused as error:
            return refusal(request, error.status, str(error), {"code": error.code}, error.headers)
        except RequestError as error:
            headers = {"WWW-Authenticate": "Bearer"} if isinstance(error, Unauthenticated) else {}
            return refusal(request, error.http_status, error.message, shown(error), headers)
        except Unavailable as error:
            log.warning("answered 503: %s", error)
            return refusal(request, 503, error.message, shown(error), {"Retry-After": "1"})
        except Exception:
            identifier = correlation_id.get()
            log.exception("correlation id %s: a GraphQL request failed", identifier)
            return refusal(request, 500, "Internal error", {"code": INTERNAL, "correlation_id": identifier})

    async def _execute(self, request: Request) -> Response:
        context = await self.get_context(request, Response())
        context.caller = await self._keys.authenticate_headers(request.headers)
        params = await read_params(request)
        try:
            params = msgspec.structs.replace(params, query=self._trusted.text_of(params.query, params.document_id))
        except GraphQLError as error:
            return answer(request, PreExecutionError(data=None, errors=[error]))
        if len(params.query) > self._limits.characters:
            raise Refused(400, LIMIT_EXCEEDED, f"The document is longer than {self._limits.characters:,} characters.")
        return await self._run(request, params, context)

    async def _run(self, request: Request, params: Params, context: Context) -> Response:
        try:
            result = await self.schema.execute(
                params.query,
                variable_values=params.variables,
                context_value=context,
                operation_name=params.operation_name,
                allowed_operation_types=_ALLOWED[request.method],
            )
        except InvalidOperationTypeError as error:
            if _may_stream(request, error.operation_type):
                return self._stream(request, params, context)
            raise _wrong_method(request, error.operation_type) from error
        except CannotGetOperationTypeError as error:
            raise Refused(400, "BAD_REQUEST", "The document has no operation of that name.") from error
        self._describe(context)
        if result.errors:
            result.errors = presented(result.errors, context)
        if takes_events_only(request):
            return whole_stream(payload_of(result))
        return answer(request, result)

    def _describe(self, context: Context) -> None:
        """Name the request's span after its operation; variables and texts stay out."""
        execution = context.execution
        if (
            self._tracer is UNTRACED
            or not isinstance(execution, ExecutionContext)
            or execution.graphql_document is None
        ):
            return
        kind, span = execution.operation_type.value.lower(), self._tracer.current()
        span.rename(kind)
        span.set(
            {"graphql.operation.type": kind, "graphql.operation.name": (execution.operation_name or "")[:80] or None}
        )

    def _stream(self, request: Request, params: Params, context: Context) -> Response:
        """A subscription as server-sent events."""
        context.last_event_id = request.headers.get("last-event-id")
        asked = Asked(params.query, params.variables, params.operation_name)
        return EventStream(frames(self._streams, asked, context), self._sockets, context.principal)

    # ---------------------------------------------------------------------------------------------------- sockets

    async def _serve_socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        socket = WebSocket(scope, receive, send)
        try:
            await self.run(socket)
        except Exception:
            log.exception("correlation id %s: a socket failed", correlation_id.get())
            await send({"type": "websocket.close", "code": 1011})

    async def on_ws_connect(self, context: Context) -> UnsetType:
        """Raises `Unauthenticated` without credentials and `ConnectionRejectionError` with bad ones."""
        headers = credentials_of(context.connection_params, context.headers)
        try:
            context.caller = await self._keys.authenticate_headers(headers)
        except Unauthenticated as error:
            if "authorization" in headers or "x-api-key" in headers:
                raise ConnectionRejectionError from error
            raise
        return UnsetType()  # an acknowledgement without a payload

    # -------------------------------------------------------------------------------------------- what both share

    async def get_context(self, request: Request | WebSocket, response: Response | WebSocket) -> Context:
        """The context of one request, or of one socket, before anybody has said who calls."""
        return Context(
            services=self._services,
            correlation_id=correlation_id.get() or sane_correlation_id(None),
            caller=None,
            headers=request.headers,
            traceparent=traceparent.get(),
        )

    def decode_json(self, data: str | bytes) -> object:
        """What came over a socket."""
        return decoded(data)


def _may_stream(request: Request, operation: OperationType) -> bool:
    return operation is OperationType.SUBSCRIPTION and request.method != "HEAD" and takes_events(request)


def _wrong_method(request: Request, operation: OperationType) -> Refused:
    if operation is OperationType.SUBSCRIPTION:
        return Refused(400, "BAD_REQUEST", _SUBSCRIPTIONS)
    return Refused(405, "METHOD_NOT_ALLOWED", "Mutations go by POST.", {"Allow": "POST"})
