"""Pages of other origins: which of them may call GraphQL (CORS). Sockets obey the same list, in Strawberry.

No cookie says who calls, so a page that is let in can do no more than what its own credential allows.
"""

from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response

from api.gateway.graphql_http import encoded

METHODS = ("GET", "HEAD", "POST")
SHOWN = ("X-Correlation-ID", "Retry-After", "WWW-Authenticate", "Allow")
"""The headers of an answer that a page may read, beside those that every page may."""


def for_origins(allowed: Collection[str]) -> list[Middleware]:
    """What a route needs so that pages of these origins may call it; `*` is every origin. Nothing where none may."""
    if not allowed:
        return []
    return [
        Middleware(
            _Cors, allow_origins=tuple(allowed), allow_methods=METHODS, allow_headers=("*",), expose_headers=SHOWN
        )
    ]


class _Cors(CORSMiddleware):
    """Refuses in JSON, as everything here."""

    def preflight_response(self, request_headers: Headers) -> Response:
        """What a browser asks before it lets a page call."""
        response = super().preflight_response(request_headers)
        if response.status_code < 400:
            return Response(headers=_without_body(response))
        error = {"message": f"{bytes(response.body).decode()}.", "extensions": {"code": "FORBIDDEN"}}
        return encoded({"errors": [error]}, response.status_code, headers=_without_body(response))


def _without_body(response: Response) -> dict[str, str]:
    return {name: value for name, value in response.headers.items() if not name.startswith("content-")}
