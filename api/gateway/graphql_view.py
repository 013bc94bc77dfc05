"""GraphQL at one URL: Strawberry's view, with our own HTTP around it and our own handler for sockets."""

import logging
from collections.abc import Iterator
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
from strawberry.types import StreamExecutionResult
from strawberry.types.execution import PreExecutionError
from strawberry.types.graphql import OperationType
from strawberry.types.unset import UnsetType

from api.gateway.documents import Documents, Gate
from api.gateway.failures import INTERNAL, presented, shown
from api.gateway.graphql_http import Params, Refused, answer, read_params, refusal, wants_page
from api.gateway.graphql_socket import Adapter, Handler, Pace, credentials_of, decoded
from api.gateway.guard import LIMIT_EXCEEDED
from api.gateway.playground import Playground
from api.gateway.schema import build_schema
from api.gateway.schema.context import Context
from api.gateway.schema.services import Services
from api.gateway.sockets import Sockets
from api.gateway.trusted import TrustedDocuments
from api.gateway.validation import Inspector, Policy
from api.security import Authenticator
from domain.errors import RequestError, Unauthenticated, Unavailable
from domain.telemetry import correlation_id, sane_correlation_id, traceparent

log = logging.getLogger(__name__)

INIT_TIMEOUT = timedelta(seconds=5)
OPERATIONS_PER_SOCKET = 100
ACCEPTS_PER_SECOND = 1_000.0
_ALLOWED = {
    "GET": frozenset({OperationType.QUERY}),
    "POST": frozenset({OperationType.QUERY, OperationType.MUTATION}),
}


class GraphQLView(GraphQL[Context, None]):
    """An ASGI application for a `Route` and a `WebSocketRoute` (a mount would break the sockets).

    `keys` says who calls; `sockets` are those that are open, for whoever learns that a credential has ended;
    `playground` is the page for browsers, None for none. Every answer is JSON but that page. `policy` is what documents
    may do; a manifest with a document that may not raises `ConfigurationError`.
    """

    websocket_adapter_class = Adapter

    def __init__(
        self,
        services: Services,
        keys: Authenticator,
        *,
        sockets: Sockets | None = None,
        playground: Playground | None = None,
        policy: Policy | None = None,
    ) -> None:
        policy = policy or Policy()
        self._limits = policy.limits
        inspector = Inspector(build_schema()._schema, policy)
        trusted = TrustedDocuments(policy, inspector)
        gate = partial(_Operation, Documents(), inspector, trusted)
        super().__init__(
            build_schema((gate,), suggestions=policy.suggestions),
            graphql_ide=None,
            subscription_protocols=(GRAPHQL_TRANSPORT_WS_PROTOCOL,),
            connection_init_wait_timeout=INIT_TIMEOUT,
            max_subscriptions_per_connection=OPERATIONS_PER_SOCKET,
        )
        opened = Sockets() if sockets is None else sockets
        self.graphql_transport_ws_handler_class = partial(Handler, sockets=opened, trusted=trusted)  # type: ignore[assignment]
        self._services, self._keys, self._playground, self._trusted = services, keys, playground, trusted
        self._pace = Pace(ACCEPTS_PER_SECOND)

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
            if self._playground is not None and wants_page(request):
                return self._playground.page()
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
            raise _wrong_method(request, error.operation_type) from error
        except CannotGetOperationTypeError as error:
            raise Refused(400, "BAD_REQUEST", "The document has no operation of that name.") from error
        if result.errors:
            result.errors = presented(result.errors, context)
        return answer(request, result)

    # ---------------------------------------------------------------------------------------------------- sockets

    async def _serve_socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        socket = WebSocket(scope, receive, send)
        try:
            await self.run(socket)
        except Exception:
            log.exception("correlation id %s: a socket failed", correlation_id.get())
            await send({"type": "websocket.close", "code": 1011})

    async def create_websocket_response(self, request: WebSocket, subprotocol: str | None) -> WebSocket:
        """Accept, at a pace that leaves time for everything else."""
        await self._pace.turn()
        return await super().create_websocket_response(request, subprotocol)

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


class _Operation(Gate):
    """A gate that also sees to what a socket's clients are shown of errors."""

    def on_stream_result(self, result: StreamExecutionResult) -> Iterator[None]:
        """Before each result that is sent over a socket."""
        errors = getattr(result, "errors", None)
        if errors:
            result.errors = presented(errors, self.execution_context.context)  # type: ignore[union-attr]
        yield


def _wrong_method(request: Request, operation: OperationType) -> Refused:
    if operation is OperationType.SUBSCRIPTION:
        return Refused(400, "BAD_REQUEST", "Subscriptions go over a WebSocket (graphql-transport-ws) at this URL.")
    return Refused(405, "METHOD_NOT_ALLOWED", "Mutations go by POST.", {"Allow": "POST"})
