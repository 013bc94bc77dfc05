"""GraphQL over WebSocket: `graphql-transport-ws` to the letter, where Strawberry's own handler is not."""

import logging
from collections.abc import Mapping
from contextlib import aclosing, suppress
from typing import Any, cast

import orjson
from graphql import GraphQLError
from starlette.websockets import WebSocketDisconnect, WebSocketState
from strawberry.asgi import ASGIWebSocketAdapter
from strawberry.http.exceptions import WebSocketDisconnected
from strawberry.subscriptions.protocols.graphql_transport_ws.handlers import BaseGraphQLTransportWSHandler, Operation
from strawberry.subscriptions.protocols.graphql_transport_ws.types import (
    ConnectionInitMessage,
    Message,
    SubscribeMessage,
)

from api.gateway.guard import LIMIT_EXCEEDED
from api.gateway.schema.context import Context
from api.gateway.sockets import Sockets
from api.gateway.streams import Streams
from api.gateway.subscription import Asked, NotBegun
from api.gateway.trusted import BadDocumentId, TrustedDocuments, document_id_of
from domain.errors import Unauthenticated, Unavailable

log = logging.getLogger(__name__)

MAX_CHARACTERS = 64 * 1024
MAX_REASON_BYTES = 123
"""A control frame holds 125 bytes, and the code is two of them (RFC 6455, section 5.5)."""
UNAUTHORIZED, FORBIDDEN, TRY_AGAIN_LATER = 4401, 4403, 1013


class Adapter(ASGIWebSocketAdapter):
    """Sends text, and nothing to a socket that is closed."""

    async def send_json(self, message: Mapping[str, object]) -> None:
        """Raises `WebSocketDisconnected`, which the handler takes for the end."""
        if self.ws.application_state is not WebSocketState.CONNECTED:
            raise WebSocketDisconnected
        await super().send_json(message)

    async def send_text(self, text: str) -> None:
        """Likewise, for what is encoded already."""
        if self.ws.application_state is not WebSocketState.CONNECTED:
            raise WebSocketDisconnected
        try:
            await self.ws.send_text(text)
        except WebSocketDisconnect as error:
            raise WebSocketDisconnected from error

    async def close(self, code: int, reason: str) -> None:
        """May be called twice, and on a socket that has gone. What does not fit a frame of the reason is cut off."""
        if self.ws.application_state is WebSocketState.CONNECTED:
            fitting = reason.encode(errors="replace")[:MAX_REASON_BYTES].decode(errors="ignore")
            with suppress(WebSocketDisconnect):
                await super().close(code, fitting)


class Handler(BaseGraphQLTransportWSHandler[Context, None]):
    """One socket. A bad document harms only its own operation; a bad message closes the socket, as it should.

    It lives as long as its credential: `sockets` shuts it out when that expires or is revoked.
    """

    websocket: Adapter

    def __init__(self, *, sockets: Sockets, streams: Streams, trusted: TrustedDocuments, **given: Any) -> None:
        super().__init__(**given)
        self._sockets, self._streams, self._trusted = sockets, streams, trusted
        self._shut_out = False

    async def shut_out(self, reason: str) -> None:
        """Take no more from it, cancel what is under way, and close it with 4403."""
        self._shut_out = True
        for operation in list(self.operations):
            await self.cleanup_operation(operation)
        await self.websocket.close(FORBIDDEN, reason)

    async def shutdown(self) -> None:
        """The end, whoever brought it about."""
        if self.context.caller is not None:
            self._sockets.remove(self, self.context.caller)
        await super().shutdown()

    async def handle_message(self, message: Message) -> None:
        """Anything that is no message of the protocol closes the socket with 4400."""
        if self._shut_out:
            return
        problem = _problem_of(message)
        if problem is None:
            await super().handle_message(message)
        else:
            await self.handle_invalid_message(problem)

    async def handle_connection_init(self, message: ConnectionInitMessage) -> None:
        """4401 without credentials, 4403 with bad ones, 1013 when nobody can tell."""
        if message.get("payload") is None:
            message = {"type": "connection_init", "payload": {}}
        acknowledged = self.connection_acknowledged
        try:
            await super().handle_connection_init(message)
            if self.connection_acknowledged and not acknowledged:
                self.connection_init_timeout_task = (
                    None  # it was cancelled, and would be kept for as long as the socket
                )
                self._sockets.add(self, self.context.principal)
        except Unauthenticated:
            await self.websocket.close(UNAUTHORIZED, "Unauthorized")
        except Unavailable as error:
            log.warning("a socket could not be authenticated: %s", error)
            await self.websocket.close(TRY_AGAIN_LATER, "Try again later")

    async def handle_subscribe(self, message: SubscribeMessage) -> None:
        """A document that is too long is not even parsed; one that was named by its id is looked up."""
        if self.connection_acknowledged:
            try:
                message = self._spelt_out(message)
            except GraphQLError as error:
                await self.send_message({"id": message["id"], "type": "error", "payload": [error.formatted]})
                return
        await super().handle_subscribe(message)

    def _spelt_out(self, message: SubscribeMessage) -> SubscribeMessage:
        """The message with the text of its document. Raises a coded `GraphQLError`."""
        payload = message["payload"]
        query = self._trusted.text_of(payload.get("query") or "", document_id_of(payload))
        if len(query) > MAX_CHARACTERS:
            text = f"The document is longer than {MAX_CHARACTERS:,} characters."
            raise GraphQLError(text, extensions={"code": LIMIT_EXCEEDED})
        return {**message, "payload": {**payload, "query": query}}

    async def run_operation(self, operation: Operation[Context, None]) -> None:
        """One operation, from its beginning to `complete`, or to `error` when it never began."""
        try:
            await self._send_all(operation)
            await operation.send_operation_message({"id": operation.id, "type": "complete"})
        except NotBegun as refusal:
            await operation.send_initial_errors(refusal.errors)
        except Exception as error:
            await self.handle_task_exception(error)
            self.operations.pop(operation.id, None)

    async def _send_all(self, operation: Operation[Context, None]) -> None:
        asked = Asked(operation.query, operation.variables, operation.operation_name)
        head = f'{{"id":{orjson.dumps(operation.id).decode()},"type":"next","payload":'
        async with aclosing(self._streams.run(asked, self.context.for_one())) as payloads:
            async for payload in payloads:
                await self.websocket.send_text(f"{head}{payload}}}")

    async def handle_task_exception(self, error: Exception) -> None:
        """A client that leaves in the middle is nothing to speak of."""
        if not isinstance(error, WebSocketDisconnected):
            log.error("an operation on a socket failed", exc_info=error)


def credentials_of(params: Mapping[str, Any] | None, headers: Mapping[str, str]) -> Mapping[str, str]:
    """The credentials in the payload of `connection_init` as headers; those of the handshake where it has none."""
    names = {"authorization": "authorization", "api_key": "x-api-key", "x-api-key": "x-api-key"}
    found = {
        names[name.lower()]: value
        for name, value in (params or {}).items()
        if name.lower() in names and isinstance(value, str)
    }
    return found or headers


def decoded(text: str | bytes) -> object:
    """JSON; raises a `json.JSONDecodeError` for anything else."""
    return cast(object, orjson.loads(text))


def _problem_of(message: object) -> str | None:
    """What is wrong with the shape of a message (the protocol's section "Message types")."""
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        return "A message is an object with a type"
    kind = message["type"]
    if kind in ("subscribe", "complete") and (not isinstance(message.get("id"), str) or not message["id"]):
        return "The message needs an id"
    if kind == "subscribe":
        return _problem_of_payload(message.get("payload"))
    return None


def _problem_of_payload(payload: object) -> str | None:
    if not isinstance(payload, dict):
        return "The payload needs a query"
    try:
        document_id = document_id_of(payload)
    except BadDocumentId as error:
        return str(error)
    query = payload.get("query")
    if (query is not None or document_id is None) and (not isinstance(query, str) or not query):
        return "The payload needs a query"
    if not isinstance(payload.get("variables"), dict | None):
        return "The variables are an object"
    if not isinstance(payload.get("operationName"), str | None):
        return "The operationName is a text"
    return None
