"""Templates as GraphQL shows them, and what changes them."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Self

import strawberry
from strawberry import UNSET
from strawberry.scalars import JSON

from api.gateway.schema.context import Info
from api.gateway.schema.envelope import PageMeta, Response
from api.gateway.schema.node import Node
from api.records import Page
from domain.errors import FieldProblem, ValidationFailed
from domain.template import Template as TemplateRecord
from domain.template import TemplateLocale as LocaleView
from domain.template import TemplateVersion as VersionView

field = strawberry.field

_PARTS = {
    "subject": "Email: the subject. Liquid, one line.",
    "html": "Email: the HTML part. Liquid; variables are escaped.",
    "text": "Email: the text part. Liquid; made from the HTML where it is missing.",
    "title": "Push: the title. Liquid, one line.",
    "body": "Push: the text. Liquid.",
    "image_url": "Push: a picture. Liquid.",
    "data": "Push: text values by name, for the app. Liquid.",
}
_MAX_PROBLEMS = 100
_LOCALE = "A BCP 47 tag such as pt-BR."


@strawberry.type(description="One language of a template version.")
class TemplateLocale:
    """One language of a template version."""

    locale: str = field(description=_LOCALE)
    subject: str | None = field(description=_PARTS["subject"])
    html: str | None = field(description=_PARTS["html"])
    text: str | None = field(description=_PARTS["text"])
    title: str | None = field(description=_PARTS["title"])
    body: str | None = field(description=_PARTS["body"])
    image_url: str | None = field(description=_PARTS["image_url"])
    data: JSON | None = field(description=_PARTS["data"])

    @classmethod
    def of(cls, view: LocaleView) -> Self:
        """From the domain."""
        return cls(locale=view.locale, **{part: getattr(view, part) for part in _PARTS})


@strawberry.type(description="A numbered body of a template. It never changes once it was published.")
class TemplateVersion:
    """A numbered body of a template."""

    version: int = field(description="Counts from 1.")
    published: bool = field(description="Whether this is the version that is sent now.")
    locales: list[TemplateLocale] = field(description="Its languages.")
    note: str | None = field(description="What the author had to say about it.")
    created_at: datetime = field(description="When it was written.")
    view: strawberry.Private[VersionView]

    @field(description="The variables that some language of it uses, as dotted paths.")
    async def variables(self, info: Info) -> list[str]:
        """Found by static analysis, when asked for: all its texts are read, beside the event loop."""
        return list(await info.context.services.previews.variables(self.view))

    @classmethod
    def of(cls, view: VersionView, published: int | None) -> Self:
        """From the domain; `published` is the version that is sent now."""
        return cls(
            version=view.version,
            published=view.version == published,
            locales=[TemplateLocale.of(locale) for locale in view.locales],
            note=view.note,
            created_at=view.created_at,
            view=view,
        )


@strawberry.type(description="A named template with its versions.")
class Template(Node):
    """A named template with its versions."""

    key: str = field(description="What notifications name it by.")
    name: str = field(description="What people call it.")
    default_locale: str = field(description="The language of last resort.")
    published_version: int | None = field(description="The version that is sent now; null before the first.")
    created_at: datetime = field(description="When it was created.")
    updated_at: datetime = field(description="When it last changed.")

    @field(description="All its versions, the newest first.")
    async def versions(self, info: Info) -> list[TemplateVersion]:
        """Asked of the Template Service."""
        found = await info.context.loaders.versions.load(self.key)
        return [TemplateVersion.of(version, self.published_version) for version in found]

    @classmethod
    def of(cls, view: TemplateRecord) -> Self:
        """From the Template Service."""
        return cls(
            id=strawberry.ID(view.id),
            key=view.key,
            name=view.name,
            default_locale=view.default_locale,
            published_version=view.published_version,
            created_at=view.created_at,
            updated_at=view.updated_at,
        )


@strawberry.input(description="One language of a template version.")
class TemplateLocaleInput:
    """One language of a template version."""

    locale: str = field(description=_LOCALE)
    subject: str | None = field(default=UNSET, description=_PARTS["subject"])
    html: str | None = field(default=UNSET, description=_PARTS["html"])
    text: str | None = field(default=UNSET, description=_PARTS["text"])
    title: str | None = field(default=UNSET, description=_PARTS["title"])
    body: str | None = field(default=UNSET, description=_PARTS["body"])
    image_url: str | None = field(default=UNSET, description=_PARTS["image_url"])
    data: JSON | None = field(default=UNSET, description=_PARTS["data"])

    def problems(self, path: tuple[str, ...]) -> Iterator[FieldProblem]:
        """What has the wrong type; the fields are named below `path`."""
        data: Any = self.data or {}
        if not isinstance(data, dict):
            yield FieldProblem((*path, "data"), "type", "takes an object")
            return
        for name, value in data.items():
            if not isinstance(value, str):
                yield FieldProblem((*path, "data", name), "type", "takes a text")

    def read(self) -> LocaleView:
        """For the domain, where there are no problems."""
        parts: dict[str, Any] = {part: getattr(self, part) or None for part in _PARTS}
        return LocaleView(locale=self.locale, **parts)


@strawberry.input(description="A new version of a template.")
class TemplateVersionInput:
    """A new version of a template."""

    locales: list[TemplateLocaleInput] = field(description="Its languages, at least one.")
    note: str | None = field(default=UNSET, description="What you have to say about it.")

    def read(self, path: tuple[str, ...] = ()) -> list[LocaleView]:
        """The languages for the domain; raises `ValidationFailed` naming the fields below `path`."""
        problems = [
            problem
            for index, locale in enumerate(self.locales)
            for problem in locale.problems((*path, "locales", str(index)))
        ]
        if problems:
            raise ValidationFailed(problems[:_MAX_PROBLEMS])
        return [locale.read() for locale in self.locales]


@strawberry.input(description="A new template, with its first version if you like.")
class CreateTemplateInput:
    """A new template."""

    key: str = field(description="What notifications name it by.")
    name: str | None = field(default=UNSET, description="What people call it; the key when left out.")
    default_locale: str | None = field(default=UNSET, description="The language of last resort; default en.")
    version: TemplateVersionInput | None = field(default=UNSET, description="Its first version.")
    publish: bool | None = field(default=UNSET, description="Whether to publish that version at once.")


@strawberry.type(description="One template.")
class TemplatePayload(Response):
    """One template."""

    data: Template | None = field(default=None, description="The template; null on failure.")


@strawberry.type(description="A page of templates.")
class TemplateListPayload(Response):
    """A page of templates."""

    data: list[Template] | None = field(default=None, description="The templates; null on failure.")

    @classmethod
    def of(cls, found: Page[TemplateRecord]) -> Self:
        """From the Template Service."""
        items = [Template.of(view) for view in found.items]
        return cls.ok(items, meta=PageMeta.of(found.meta.total, found.meta.page, found.meta.limit))
