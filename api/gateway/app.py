"""The API Gateway's HTTP: GraphQL, the status of notifications and requests over REST, health and metrics."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute

from api.gateway.graphql_view import GraphQLView
from api.gateway.playground import Playground, assets_route
from api.gateway.schema.context import Services
from api.health import Check, health_routes
from api.http import Correlation, LastResort, fail, install_error_handlers, respond
from api.security import Authenticator, Principal, Scope, require
from domain.errors import HeliographError, NotFound
from domain.ids import NOTIFICATION, is_id
from domain.views import NotificationView

OPTIONAL_CHECKS = ("feed", "broker")
"""Without them it still accepts and answers; notifications and events only come later: degraded, not down."""


class GatewayServices(Services, frozen=True, kw_only=True):
    """Everything that the gateway's HTTP needs. `checks` and `metrics` are what /health and /metrics show."""

    api_keys: Authenticator
    checks: Mapping[str, Check]
    metrics: CollectorRegistry | None = None
    playground: bool = True


def gateway_app(services: GatewayServices) -> Starlette:
    """The application. Opens nothing by itself."""
    playground = Playground() if services.playground else None
    graphql = GraphQLView(services, services.api_keys, playground=playground)
    status = _Status(services)
    routes = [
        Route("/graphql", graphql),
        WebSocketRoute("/graphql", graphql),
        Route("/v1/notifications/{id}", status.notification, methods=["GET"]),
        Route("/v1/requests/{request_id:path}", status.request, methods=["GET"]),
        *assets_route(),
        *health_routes(services.checks, optional=OPTIONAL_CHECKS, metrics=services.metrics),
    ]
    app = Starlette(routes=routes, middleware=[Middleware(Correlation), Middleware(LastResort)])
    install_error_handlers(app)  # type: ignore[arg-type]  # it only adds exception handlers, as any Starlette takes
    return app


class _Status:
    """The REST side: what became of a notification or a request, for those who do not speak GraphQL."""

    def __init__(self, services: GatewayServices) -> None:
        self._services = services

    async def notification(self, request: Request) -> Response:
        """`GET /v1/notifications/{id}`: where it is, every attempt, and its status log."""
        return await self._answer(request, self._find_notification)

    async def request(self, request: Request) -> Response:
        """`GET /v1/requests/{request_id}`: how far it has come."""
        return await self._answer(request, self._find_request)

    async def _answer(self, request: Request, find: Callable[[Principal, Request], Awaitable[Any]]) -> Response:
        try:
            principal = await self._services.api_keys.authenticate_headers(request.headers)
            require(principal, Scope.NOTIFICATIONS_READ)
            return respond(await find(principal, request))
        except HeliographError as error:
            return fail(error)

    async def _find_notification(self, _: Principal, request: Request) -> dict[str, Any]:
        identifier, queries = request.path_params["id"], self._services.queries
        view = await queries.notification(identifier) if is_id(NOTIFICATION, identifier) else None
        if view is None:
            raise NotFound("notification", identifier)
        attempts = (await queries.attempts([view.id])).get(view.id, ())
        timeline = (await queries.timeline([view.id])).get(view.id, ())
        return {**_shown(view), "attempts": attempts, "timeline": timeline}

    async def _find_request(self, principal: Principal, request: Request) -> dict[str, Any]:
        key, queries = request.path_params["request_id"], self._services.queries
        view = None if "\0" in key else await queries.request(principal.client, key) or await queries.request(None, key)
        if view is None:
            raise NotFound("request", key)
        shown = {name: getattr(view, name) for name in view.__struct_fields__}
        return {**shown, "finished": view.finished, "percent": view.percent}


def _shown(view: NotificationView) -> dict[str, Any]:
    """Without the device tokens: whoever holds one can push to the device."""
    recipient = view.recipient
    shown = {name: getattr(view, name) for name in view.__struct_fields__ if name not in ("request", "recipient")}
    shown["recipient"] = {
        "user_id": recipient.user_id,
        "email": recipient.email,
        "device_count": len(recipient.devices),
    }
    return shown
