"""GraphQL over HTTP: what a request asks for and how it is answered (the working draft of GraphQL over HTTP).

Everything that is refused is refused as JSON in GraphQL's own shape. docs/graphql-over-http.md has the statuses.
"""

import asyncio
from collections.abc import Mapping
from email.message import Message
from typing import Any

import msgspec
import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from strawberry.types import ExecutionResult

from api.gateway.media_types import EVENTS_TYPE, GRAPHQL_TYPE, JSON_TYPE, lists, preferred
from api.gateway.trusted import BadDocumentId, document_id_of

MAX_BODY = 4 * 1024 * 1024
BODY_SECONDS = 30.0
PARTIAL_SUCCESS = 294
"""What the draft calls a result that has errors. It means something beside GraphQL's own media type only."""
_ALLOWED = {"Allow": "GET, HEAD, POST, OPTIONS"}
_UTF8 = frozenset({"utf-8", "utf8"})


class Params(msgspec.Struct, frozen=True):
    """What a client wants executed. `query` is empty where `document_id` says which document it is."""

    query: str
    variables: dict[str, Any] | None = None
    operation_name: str | None = None
    document_id: str | None = None


class Refused(Exception):
    """The request is no GraphQL request that could be executed. Becomes an answer with this HTTP status."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        self.status, self.code, self.headers = status, code, dict(headers or {})
        super().__init__(message)


async def read_params(request: Request) -> Params:
    """What the request asks for. Raises `Refused`."""
    if request.method in ("GET", "HEAD"):
        return _params(_from_url(request))
    if request.method != "POST":
        raise Refused(405, "METHOD_NOT_ALLOWED", "GraphQL takes GET and POST.", _ALLOWED)
    _check_encoding(request)
    return _params(_json(await _body(request), "The body"))


def check_accepted(request: Request) -> None:
    """Raises `Refused` when the client takes nothing that we could answer with."""
    if _json_type(request) is None and not takes_events(request):
        offered = f"{GRAPHQL_TYPE}, {JSON_TYPE} or {EVENTS_TYPE}"
        raise Refused(406, "NOT_ACCEPTABLE", f"An answer is {offered}.")


def takes_events(request: Request) -> bool:
    """Whether the client asks for server-sent events. Some do on every request, and mean subscriptions."""
    return lists(request.headers.get("accept", ""), EVENTS_TYPE)


def takes_events_only(request: Request) -> bool:
    """Whether it takes nothing else."""
    return takes_events(request) and _json_type(request) is None


def methods() -> Response:
    """The answer to OPTIONS."""
    return Response(status_code=204, headers=_ALLOWED)


def answer(request: Request, result: ExecutionResult) -> Response:
    """The answer to an operation that was executed, or refused for its document or its variables."""
    media_type = accepted_type(request)
    return encoded(payload_of(result), _status(result, media_type), media_type)


def payload_of(result: ExecutionResult) -> dict[str, Any]:
    """A result as it is sent. Without `data` where nothing was executed."""
    errors = [error.formatted for error in result.errors or ()]
    if _never_began(result):
        return {"errors": errors}
    return {"errors": errors, "data": result.data} if errors else {"data": result.data}


def refusal(
    request: Request,
    status: int,
    message: str,
    extensions: Mapping[str, Any],
    headers: Mapping[str, str] | None = None,
) -> Response:
    """An answer without an execution."""
    errors = [{"message": message, "extensions": dict(extensions)}]
    return encoded({"errors": errors}, status, accepted_type(request), headers)


def encoded(
    payload: Mapping[str, Any], status: int, media_type: str = JSON_TYPE, headers: Mapping[str, str] | None = None
) -> Response:
    """JSON that no cache keeps."""
    always = {"Cache-Control": "no-store", "Vary": "Accept, Authorization"}
    return Response(orjson.dumps(payload), status, {**always, **(headers or {})}, f"{media_type}; charset=utf-8")


def accepted_type(request: Request) -> str:
    """The media type that the client likes best of our two; the older one for those that leave it to us."""
    return _json_type(request) or JSON_TYPE


def wants_page(request: Request) -> bool:
    """Whether a browser asks for a page to look at."""
    accepts_html = "text/html" in request.headers.get("accept", "").lower()
    return request.method in ("GET", "HEAD") and accepts_html and "query" not in request.query_params


def _never_began(result: ExecutionResult) -> bool:
    return result.data is None and bool(result.errors) and all(error.path is None for error in result.errors or ())


def _json_type(request: Request) -> str | None:
    return preferred(request.headers.get("accept", ""), (JSON_TYPE, GRAPHQL_TYPE))


def _status(result: ExecutionResult, media_type: str) -> int:
    """The older media type hides from HTTP that something went wrong: its clients expect that."""
    if media_type != GRAPHQL_TYPE or not result.errors:
        return 200
    return 400 if _never_began(result) else PARTIAL_SUCCESS


def _check_encoding(request: Request) -> None:
    """JSON only: a form would make this a request that any page may send without being asked (CSRF)."""
    given = Message()
    given["Content-Type"] = request.headers.get("content-type", "")
    if given.get_content_type() != JSON_TYPE:
        raise Refused(415, "UNSUPPORTED_MEDIA_TYPE", f"The body must be {JSON_TYPE}.")
    if str(given.get_param("charset", "utf-8")).lower() not in _UTF8:
        raise Refused(415, "UNSUPPORTED_MEDIA_TYPE", "The body must be UTF-8.")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Refused(
            415, "UNSUPPORTED_MEDIA_TYPE", "The body must not be compressed.", {"Accept-Encoding": "identity"}
        )


def _from_url(request: Request) -> dict[str, Any]:
    """The parameters of the URL. An empty one that may be left out counts as left out."""
    given: dict[str, Any] = {name: value for name, value in request.query_params.items() if value or name == "query"}
    for name in ("variables", "extensions"):
        if name in given:
            given[name] = _json(given[name], f"`{name}`")
    return given


async def _body(request: Request) -> bytes:
    too_large = Refused(413, "TOO_LARGE", f"The body is larger than {MAX_BODY // 1024 // 1024} MB.")
    announced = request.headers.get("content-length", "0")
    if not announced.isdigit() or int(announced) > MAX_BODY:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MAX_BODY:
                    raise too_large
    except ClientDisconnect as error:
        raise Refused(400, "BAD_REQUEST", "The body ended too early.") from error
    except TimeoutError as error:
        raise Refused(408, "REQUEST_TIMEOUT", "The body took too long.", {"Connection": "close"}) from error
    return bytes(body)


def _json(text: bytes | str, what: str) -> Any:
    try:
        return orjson.loads(text)
    except (orjson.JSONDecodeError, UnicodeEncodeError) as error:
        raise Refused(400, "BAD_REQUEST", f"{what} must be JSON in UTF-8.") from error


def _params(given: Any) -> Params:
    if isinstance(given, list):
        raise Refused(400, "BAD_REQUEST", "Send one operation a request; batching is not offered.")
    if not isinstance(given, dict):
        raise Refused(400, "BAD_REQUEST", "The body must be a JSON object.")
    query, variables, name = given.get("query"), given.get("variables"), given.get("operationName")
    try:
        document_id = document_id_of(given)
    except BadDocumentId as error:
        raise Refused(400, "BAD_REQUEST", str(error)) from error
    if query is None and document_id is not None:
        query = ""
    elif not isinstance(query, str) or not query.strip():
        raise Refused(400, "BAD_REQUEST", "`query` must be a GraphQL document.")
    if not isinstance(variables, dict | None):
        raise Refused(400, "BAD_REQUEST", "`variables` must be an object.")
    if not isinstance(name, str | None):
        raise Refused(400, "BAD_REQUEST", "`operationName` must be a text.")
    return Params(query, variables, name, document_id)
