"""The Template Service as the others see it: over HTTP, or over ASGITransport in one process."""

from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from api.client_cache import ClientCache
from api.records import Deleted, Page, RenderedTemplate
from api.rest import RestClient, segment
from domain.notification import Channel
from domain.template import Template, TemplateLocale, TemplateVersion

_FOR_EVER = float("inf")


class TemplatesClient:
    """`domain.ports.Templates`, and what the gateway offers of the Template Service.

    Published versions never change and are remembered for good, the `cache_size` last used ones; what is published now
    is fresh for `ttl` seconds and served for `stale` seconds while the service is away. What is changed through this
    client is seen by it at once. Errors: `ValidationFailed`, `NotFound`, `Conflict`, `UpstreamUnavailable`.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        *,
        service_token: str | None = None,
        ttl: float = 2.0,
        stale: float = 3_600.0,
        cache_size: int = 1_000,
        deadline: float = 2.0,
    ) -> None:
        self._rest = RestClient(http, "Template Service", service_token, deadline)
        self._templates: ClientCache[str, Template] = ClientCache(size=cache_size, ttl=ttl, stale=stale)
        self._frozen: ClientCache[tuple[str, int], TemplateVersion] = ClientCache(
            size=cache_size, ttl=_FOR_EVER, stale=0
        )
        self._drafts: ClientCache[tuple[str, int], TemplateVersion] = ClientCache(size=cache_size, ttl=ttl, stale=stale)

    async def published(self, key: str) -> Template:
        """The template as it is published now; `published` is None while nothing is."""
        return await self._templates.get(key, lambda: self.get(key))

    async def version(self, key: str, version: int) -> TemplateVersion:
        """One version, published or not, of a deleted template too."""
        found = self._frozen.fresh((key, version))
        if found is not None:
            return found
        return await self._drafts.get((key, version), lambda: self._version(key, version))

    async def get(self, key: str) -> Template:
        """One template with its published version, as it is now."""
        template = await self._rest.call("GET", _path(key), Template, about=("template", key))
        if template.published is not None:
            self._frozen.keep((key, template.published.version), template.published)
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
            self._templates.drop(key)

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
        about = ("template version", f"{key}@{version}")
        try:
            path = f"{_path(key)}/versions/{version}/publish"
            return await self._rest.call("POST", path, Template, about=about, repeatable=True)
        finally:
            self._templates.drop(key)
            self._drafts.drop((key, version))

    async def delete(self, key: str) -> None:
        """Remove a template. Its versions stay for what was accepted with them."""
        try:
            await self._rest.call("DELETE", _path(key), Deleted, about=("template", key))
        finally:
            self._templates.drop(key)

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

    async def _version(self, key: str, version: int) -> TemplateVersion:
        about = ("template version", f"{key}@{version}")
        found = await self._rest.call("GET", f"{_path(key)}/versions/{version}", TemplateVersion, about=about)
        if found.published:
            self._frozen.keep((key, version), found)
        return found


def _path(key: str) -> str:
    return f"/v1/templates/{segment('template', key)}"
