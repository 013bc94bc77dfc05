"""The Template Service as the others see it: over HTTP, or over ASGITransport in one process."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from operator import attrgetter
from typing import Any

import httpx

from api.client_cache import ClientCache, Memory, SharedCache
from api.discovery import Directory
from api.records import Deleted, Page, RenderedTemplate
from api.rest import Breaker, Called, RestClient, segment, unheard
from domain.changes import Changed, Kind
from domain.errors import NotFound
from domain.notification import Channel
from domain.ports import Cache, Known
from domain.template import Template, TemplateLocale, TemplateVersion

SERVICE = "templates"
"""The Template Service's name in the directory."""
_FOR_EVER = float("inf")


class TemplatesClient:
    """`domain.ports.Templates`, and what the gateway offers of the Template Service.

    Published versions never change and are remembered for good, the `cache_size` last used ones, and for a day in the
    shared cache. What is published now is fresh for `ttl` seconds in this process and for `shared_ttl` in the shared
    cache. While the service is away it stands in: for `stale` seconds from here, for a day from the shared cache. What
    is changed through this client is seen by it at once, other changes when `heed` is told. Errors: `ValidationFailed`,
    `NotFound`, `Conflict`, `UpstreamUnavailable`.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        *,
        directory: Directory | None = None,
        cache: Cache | None = None,
        breaker: Breaker | None = None,
        service_token: str | None = None,
        ttl: float = 10.0,
        shared_ttl: float = 30.0,
        stale: float = 3_600.0,
        cache_size: int = 1_000,
        deadline: float = 2.0,
        called: Called = unheard,
    ) -> None:
        """Without a directory the service is where `http` points to. `called` is told of calls, as by `RestClient`."""
        self._rest = RestClient(
            http,
            SERVICE,
            "Template Service",
            directory=directory,
            breaker=breaker,
            token=service_token,
            deadline=deadline,
            called=called,
        )
        self._templates: Memory[Template] = Memory(
            ClientCache(size=cache_size, ttl=ttl, stale=stale),
            SharedCache(cache, Kind.TEMPLATE, Template, ttl=shared_ttl),
        )
        self._versions: Memory[TemplateVersion] = Memory(
            ClientCache(size=cache_size, ttl=ttl, stale=stale),
            SharedCache(cache, Kind.TEMPLATE, TemplateVersion, ttl=_FOR_EVER),
            lasts=attrgetter("published"),
        )

    async def published(self, key: str) -> Known[Template]:
        """The template as it is published now; its `published` is None while nothing is."""
        found = await self._templates.get(key, self._ask_template)
        if found is None:
            raise NotFound("template", key)
        return found

    async def version(self, key: str, version: int) -> TemplateVersion:
        """One version, published or not, of a deleted template too."""
        name = _name(key, version)
        found = await self._versions.get(name, self._ask_version)
        if found is None:
            raise NotFound("template version", name)
        return found.value

    def heed(self, changed: Changed | None) -> None:
        """Forget at once what has changed; for `api.changes.Changes`. None: ask again for everything."""
        if changed is None:
            self._templates.doubt()
            self._versions.doubt()
        elif changed.kind is Kind.TEMPLATE:
            for key in changed.names:
                self._forget(key)

    async def get(self, key: str) -> Template:
        """One template with its published version, as it is now."""
        since = self._versions.generation
        template = await self._rest.call("GET", _path(key), Template, about=("template", key))
        if template.published is not None:
            await self._versions.learn({_name(key, template.published.version): template.published}, since)
        return template

    async def list(self, *, page: int = 1, limit: int = 20) -> Page[Template]:
        """One page of templates, by key."""
        return await self._rest.page("/v1/templates", Template, page=page, limit=limit)

    async def versions(self, key: str) -> Sequence[TemplateVersion]:
        """All versions, the newest first."""
        found: Page[TemplateVersion] = await self._rest.page(
            f"{_path(key)}/versions", TemplateVersion, about=("template", key)
        )
        return found.items

    async def create(
        self,
        key: str,
        *,
        name: str | None = None,
        default_locale: str | None = None,
        locales: Sequence[TemplateLocale] | None = None,
        note: str | None = None,
        publish: bool = False,
    ) -> Template:
        """Add a template; with `locales` also its first version, which `publish` publishes at once.

        Wrong fields of the version are named `version.…`.
        """
        body: dict[str, Any] = {"key": key, "publish": publish}
        if name is not None:
            body["name"] = name
        if default_locale is not None:
            body["default_locale"] = default_locale
        if locales is not None:
            body["version"] = {"locales": locales, "note": note}
        try:
            return await self._rest.call("POST", "/v1/templates", Template, json=body)
        finally:
            self._forget(key)

    async def create_version(
        self, key: str, locales: Sequence[TemplateLocale], *, note: str | None = None
    ) -> TemplateVersion:
        """Write the next version; it is not published."""
        body = {"locales": locales, "note": note}
        return await self._rest.call(
            "POST", f"{_path(key)}/versions", TemplateVersion, json=body, about=("template", key)
        )

    async def publish(self, key: str, version: int) -> Template:
        """Send this version from now on; an older one rolls back. May be called twice."""
        about = ("template version", _name(key, version))
        try:
            path = f"{_path(key)}/versions/{version}/publish"
            return await self._rest.call("POST", path, Template, about=about, repeatable=True)
        finally:
            self._forget(key)

    async def delete(self, key: str) -> None:
        """Remove a template. Its versions stay for what was accepted with them."""
        try:
            await self._rest.call("DELETE", _path(key), Deleted, about=("template", key))
        finally:
            self._forget(key)

    async def render(
        self,
        key: str,
        variables: Mapping[str, Any],
        *,
        locale: str | None = None,
        version: int | None = None,
        channel: Channel | None = None,
    ) -> RenderedTemplate:
        """What a recipient would get to see. Wrong variables are `ValidationFailed` fields `variables.…`."""
        body = {"variables": variables, "locale": locale, "version": version, "channel": channel}
        given = {name: value for name, value in body.items() if value is not None}
        path, about = f"{_path(key)}/render", ("template", key)
        return await self._rest.call("POST", path, RenderedTemplate, json=given, about=about, repeatable=True)

    async def _ask_template(self, keys: Sequence[str]) -> Mapping[str, Template]:
        found = {}
        for key in keys:
            with suppress(NotFound):
                found[key] = await self.get(key)
        return found

    async def _ask_version(self, names: Sequence[str]) -> Mapping[str, TemplateVersion]:
        found = {}
        for name in names:
            key, _, version = name.rpartition("@")
            with suppress(NotFound):
                found[name] = await self._rest.call("GET", f"{_path(key)}/versions/{version}", TemplateVersion)
        return found

    def _forget(self, key: str) -> None:
        self._templates.drop(key)
        self._versions.doubt()  # a version that was not published may be now


def _name(key: str, version: int) -> str:
    return f"{key}@{version}"


def _path(key: str) -> str:
    return f"/v1/templates/{segment('template', key)}"
