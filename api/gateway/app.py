"""The API Gateway's HTTP: GraphQL, the status of notifications and requests over REST, what providers and recipients
say after sending, health and metrics."""

from collections.abc import Mapping

import msgspec
from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Route, WebSocketRoute

from api.gateway.aftermath import Aftermath
from api.gateway.graphql_view import GraphQLView
from api.gateway.origins import for_origins
from api.gateway.playground.page import Playground
from api.gateway.rest import PATHS, rest_app
from api.gateway.schema.services import Services
from api.gateway.sockets import Sockets
from api.gateway.subscribers import Subscribers
from api.gateway.validation import Policy
from api.health import Check, health_routes
from api.http import Correlation, LastResort, install_error_handlers
from api.security import Authenticator

OPTIONAL_CHECKS = ("feed", "broker")
"""Without them it still accepts and answers; notifications and events only come later: degraded, not down."""


class GatewayServices(Services, frozen=True, kw_only=True):
    """Everything that the gateway's HTTP needs. `checks` and `metrics` are what /health and /metrics show.

    `policy` is what GraphQL documents may do. `beside` are the REST services behind the same port and API keys, by the
    prefixes of their paths there: /docs describes them too. `sockets` are told which keys are revoked. Pages of
    `allowed_origins` may call GraphQL. `aftermath` is for what is said after sending.
    """

    api_keys: Authenticator
    checks: Mapping[str, Check]
    metrics: CollectorRegistry | None = None
    playground: bool = True
    policy: Policy = Policy()
    beside: Mapping[str, FastAPI] = {}
    sockets: Sockets
    aftermath: Aftermath
    subscribers: Subscribers = msgspec.field(default_factory=Subscribers)
    allowed_origins: tuple[str, ...] = ()


def gateway_app(services: GatewayServices) -> Starlette:
    """The application. Opens nothing by itself. Raises `ConfigurationError` for a manifest that cannot be trusted."""
    playground = Playground() if services.playground else None
    graphql = GraphQLView(
        services,
        services.api_keys,
        sockets=services.sockets,
        subscribers=services.subscribers,
        playground=playground,
        policy=services.policy,
        allowed_origins=services.allowed_origins,
        tracer=services.send_ports.tracer,
    )
    rest = rest_app(services.queries, services.api_keys, services.limiter, services.beside)
    routes = [
        Route("/graphql", graphql, middleware=for_origins(services.allowed_origins)),
        WebSocketRoute("/graphql", graphql),
        *(Route(path, rest) for path in PATHS),
        *services.aftermath.routes(services.queries),
        *([playground.files()] if playground else []),
        *health_routes(services.checks, optional=OPTIONAL_CHECKS, metrics=services.metrics),
    ]
    app = Starlette(routes=routes, middleware=[Middleware(Correlation), Middleware(LastResort)])
    install_error_handlers(app)  # type: ignore[arg-type]  # it only adds exception handlers, as any Starlette takes
    return app
