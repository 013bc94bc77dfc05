"""Our other services as a role reaches them: at a fixed URL, in this process, or wherever the registry says."""

from collections.abc import Callable

import httpx
from starlette.types import ASGIApp

from api.changes import Changes
from api.discovery import Directory, RedisDirectory, StaticDirectory
from api.rest import Breaker, Called
from api.settings import Settings
from api.system import System
from api.templates.client import TemplatesClient
from api.tracing import TracedCalls
from api.users.client import UsersClient
from domain.errors import ConfigurationError
from domain.ports import Cache
from domain.tracing import UNTRACED, Tracer

CONNECTIONS = httpx.Limits(max_connections=100, max_keepalive_connections=20)


class Peers:
    """Makes the clients of one process. They remember together in `cache`, and forget what `changes` tells."""

    def __init__(
        self,
        settings: Settings,
        system: System,
        changes: Changes,
        cache: Cache | None,
        breaker: Callable[[str], Breaker],
        called: Called,
        tracer: Tracer = UNTRACED,
    ) -> None:
        self._settings, self._system, self._changes, self._cache = settings, system, changes, cache
        self._breaker, self._called, self._tracer = breaker, called, tracer
        self._registry: RedisDirectory | None = None

    def users(self, app: ASGIApp | None = None) -> UsersClient:
        """What asks the User Service; `app` is the service where it is in this process."""
        url = self._settings.users_url
        client = UsersClient(
            self._http("users", None if url else app),
            directory=self._directory("users", url, app),
            cache=self._cache,
            breaker=self._breaker("users"),
            service_token=self._settings.service_token,
            called=self._called,
        )
        self._changes.heed(client.heed)
        return client

    def templates(self, app: ASGIApp | None = None) -> TemplatesClient:
        """What asks the Template Service; `app` is the service where it is in this process."""
        url = self._settings.templates_url
        client = TemplatesClient(
            self._http("templates", None if url else app),
            directory=self._directory("templates", url, app),
            cache=self._cache,
            breaker=self._breaker("templates"),
            service_token=self._settings.service_token,
            called=self._called,
        )
        self._changes.heed(client.heed)
        return client

    def _http(self, name: str, app: ASGIApp | None) -> httpx.AsyncClient:
        client = httpx.AsyncClient(transport=self._transport(name, app), limits=CONNECTIONS)
        self._system.add(f"{name} client", stop=client.aclose)
        return client

    def _transport(self, name: str, app: ASGIApp | None) -> httpx.AsyncBaseTransport | None:
        """None is httpx's own."""
        inside = None if app is None else httpx.ASGITransport(app=app, raise_app_exceptions=False)
        if self._tracer is UNTRACED:
            return inside
        return TracedCalls(name, inside or httpx.AsyncHTTPTransport(limits=CONNECTIONS), self._tracer)

    def _directory(self, name: str, url: str | None, app: ASGIApp | None) -> Directory:
        """Raises `ConfigurationError` when nothing says where the service is."""
        if url is not None:
            return StaticDirectory(url)
        if app is not None:
            return StaticDirectory(f"http://{name}")
        if self._settings.discovery_url is None:
            raise ConfigurationError(
                f"HELIOGRAPH_{name.upper()}_URL: this role needs to know where the service is, by this or by"
                " HELIOGRAPH_DISCOVERY_URL."
            )
        if self._registry is None:
            self._registry = RedisDirectory(self._settings.discovery_url)
            self._system.add("registry", stop=self._registry.close)
        return self._registry
