"""GraphQL over HTTP: what a request asks for and how it is answered (the working draft of GraphQL over HTTP).

Everything that is refused is refused as JSON in GraphQL's own shape.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from strawberry.types import ExecutionResult

from api.gateway.trusted import BadDocumentId, document_id_of

MAX_BODY = 4 * 1024 * 1024
JSON_TYPE = "application/json"
GRAPHQL_TYPE = "application/graphql-response+json"
_ALLOWED = {"Allow": "GET, POST"}


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
    if request.method == "GET":
        return _params(_from_url(request))
    if request.method != "POST":
        raise Refused(405, "METHOD_NOT_ALLOWED", "GraphQL takes GET and POST.", _ALLOWED)
    kind, _, parameters = request.headers.get("content-type", "").partition(";")
    if kind.strip().lower() != JSON_TYPE:
        raise Refused(415, "UNSUPPORTED_MEDIA_TYPE", f"The body must be {JSON_TYPE}.")
    if "charset" in parameters.lower() and "utf-8" not in parameters.lower():
        raise Refused(415, "UNSUPPORTED_MEDIA_TYPE", "The body must be UTF-8.")
    return _params(_json(await _body(request), "The body"))


def answer(request: Request, result: ExecutionResult) -> Response:
    """The answer to an operation that was executed, or refused for its document or its variables."""
    errors = [error.formatted for error in result.errors or ()]
    media_type = accepted_type(request)
    if _never_began(result):
        # No `data` key: nothing was executed. The older media type hides this from HTTP.
        return encoded({"errors": errors}, 400 if media_type == GRAPHQL_TYPE else 200, media_type)
    payload: dict[str, Any] = {"errors": errors, "data": result.data} if errors else {"data": result.data}
    return encoded(payload, 200, media_type)


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
    """The media type that the client likes best of our two; the older one for those that say nothing."""
    best, found = 0.0, JSON_TYPE
    for entry in request.headers.get("accept", "").lower().split(","):
        name, *parameters = (part.strip() for part in entry.split(";"))
        quality = _quality(parameters)
        if name in (GRAPHQL_TYPE, JSON_TYPE) and quality > best:
            best, found = quality, name
    return found


def wants_page(request: Request) -> bool:
    """Whether a browser asks for a page to look at."""
    accepts_html = "text/html" in request.headers.get("accept", "").lower()
    return request.method in ("GET", "HEAD") and accepts_html and "query" not in request.query_params


def _never_began(result: ExecutionResult) -> bool:
    return result.data is None and bool(result.errors) and all(error.path is None for error in result.errors or ())


def _quality(parameters: Sequence[str]) -> float:
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return float(parameter[2:])
            except ValueError:
                return 0.0
    return 1.0


def _from_url(request: Request) -> dict[str, Any]:
    given: dict[str, Any] = dict(request.query_params)
    for name in ("variables", "extensions"):
        if text := given.pop(name, None):
            given[name] = _json(text, f"`{name}`")
    return given


async def _body(request: Request) -> bytes:
    too_large = Refused(413, "TOO_LARGE", f"The body is larger than {MAX_BODY // 1024 // 1024} MB.")
    announced = request.headers.get("content-length", "0")
    if not announced.isdigit() or int(announced) > MAX_BODY:
        raise too_large
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY:
                raise too_large
    except ClientDisconnect as error:
        raise Refused(400, "BAD_REQUEST", "The body ended too early.") from error
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
