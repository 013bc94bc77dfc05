"""The Template Service over REST."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import msgspec
from fastapi import FastAPI, Path, Query
from prometheus_client import CollectorRegistry
from pydantic import Field
from starlette.responses import Response

from api.health import Check
from api.http import page_meta, respond
from api.inputs import Input, Locale, PageLimit, PageNumber, Segment, Text
from api.openapi import Answers, service
from api.records import Deleted, RenderedTemplate, ResolvedTemplate
from api.templates.repository import NewTemplate, NewVersion, TemplateRepository
from domain.errors import FieldProblem, NotFound, TemplateError, UndefinedVariable, ValidationFailed
from domain.markup.environment import MAX_SOURCE
from domain.notification import Channel
from domain.offloop import OffLoop
from domain.template import Renderer, Template, TemplateLocale, TemplateVersion, problems

MAX_LOCALES = 100

Liquid = Annotated[Text, Field(max_length=MAX_SOURCE)]
Line = Annotated[Text, Field(max_length=2_000)]
Key = Annotated[
    str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,99}$", description="Names the template in calls.", examples=["welcome"])
]
Number = Annotated[int, Path(ge=1, le=2_000_000_000)]


class LocaleBody(Input):
    """What a version says in one language, in Liquid. EMAIL needs a subject and html or text, PUSH a title."""

    locale: Locale
    subject: Annotated[Line | None, Field(examples=["Welcome, {{ name }}"])] = None
    html: Annotated[Liquid | None, Field(examples=["<p>Hello {{ name }}!</p>"])] = None
    text: Annotated[Liquid | None, Field(description="Derived from the HTML when left out.")] = None
    title: Line | None = None
    body: Liquid | None = None
    image_url: Line | None = None
    data: Annotated[dict[Text, Line] | None, Field(max_length=50)] = None


class VersionBody(Input):
    """A version in all its languages. It cannot be changed later: write the next one."""

    locales: Annotated[list[LocaleBody], Field(min_length=1, max_length=MAX_LOCALES)]
    note: Annotated[Text | None, Field(max_length=500, examples=["Shorter subject"])] = None


class CreateTemplate(Input):
    """A new template, perhaps with its first version."""

    key: Key
    name: Annotated[Text | None, Field(min_length=1, max_length=200)] = None
    default_locale: Locale = "en"
    version: VersionBody | None = None
    publish: Annotated[bool, Field(description="Publish the first version at once.")] = False


class RenderBody(Input):
    """What to render it with. Without a version the published one is rendered."""

    variables: Annotated[dict[str, Any], Field(default_factory=dict, examples=[{"name": "Ann"}])]
    locale: Locale | None = None
    version: Annotated[int | None, Field(ge=1, le=2_000_000_000)] = None
    channel: Annotated[Channel | None, Field(description="Only what this channel needs.")] = None


TAGS = [
    {"name": "templates", "description": "What can be said."},
    {"name": "versions", "description": "Immutable, numbered bodies of a template, in several languages."},
    {"name": "rendering", "description": "Which body a recipient gets, and what it reads like."},
]


def templates_app(
    repository: TemplateRepository,
    *,
    service_token: str | None,
    checks: Mapping[str, Check] | None = None,
    metrics: CollectorRegistry | None = None,
) -> FastAPI:
    """The service on top of its repository. With a service token, callers must present it."""
    app = service(
        title="Heliograph Template Service",
        description="Templates in Liquid, their versions and languages.",
        tags=TAGS,
        checks={"database": repository.ping} if checks is None else checks,
        service_token=service_token,
        metrics=metrics,
    )
    answers = Answers()
    off_loop = OffLoop("templates")
    _add_templates(app, repository, answers, off_loop)
    _add_versions(app, repository, answers, off_loop)
    _add_rendering(app, repository, answers, off_loop)
    answers.install(app)
    return app


def _add_templates(app: FastAPI, repository: TemplateRepository, answers: Answers, off_loop: OffLoop) -> None:
    tag, made = "templates", answers.of(Template, "The template.", 409, status=201)

    @app.post("/v1/templates", tags=[tag], status_code=201, responses=made)
    async def create_template(body: CreateTemplate) -> Response:
        """Add a template. Mistakes in its Liquid are told by part, line and column."""
        if body.publish and body.version is None:
            raise ValidationFailed.of("publish", "nothing_to_publish", "needs a version to publish")
        version = None
        if (first := body.version) is not None:
            version = await off_loop.run(lambda: _new_version(first, body.default_locale, ("version",)))
        new = NewTemplate(
            key=body.key,
            name=body.name or body.key,
            default_locale=body.default_locale,
            version=version,
            publish=body.publish,
        )
        return respond(await repository.create(new), "Template created.", status=201)

    @app.get("/v1/templates", tags=[tag], responses=answers.of(list[Template], "A page of templates, by key."))
    async def list_templates(page: PageNumber = 1, limit: PageLimit = 20) -> Response:
        """List templates with what they have published."""
        templates, total = await repository.page(page, limit)
        return respond(templates, meta=page_meta(total, page, limit))

    @app.get("/v1/templates/{key}", tags=[tag], responses=answers.of(Template, "The template.", 404))
    async def get_template(key: Segment) -> Response:
        """One template with its published version."""
        return respond(await repository.get(key))

    @app.delete("/v1/templates/{key}", tags=[tag], responses=answers.of(Deleted, "Gone.", 404))
    async def delete_template(key: Segment) -> Response:
        """Remove a template. What was accepted with one of its versions is still sent."""
        await repository.delete(key)
        return respond(Deleted(id=key), "Template deleted.")


def _add_versions(app: FastAPI, repository: TemplateRepository, answers: Answers, off_loop: OffLoop) -> None:
    tag, one = "versions", "/v1/templates/{key}/versions/{version}"
    made = answers.of(TemplateVersion, "The version.", 404, status=201)

    @app.post("/v1/templates/{key}/versions", tags=[tag], status_code=201, responses=made)
    async def create_version(key: Segment, body: VersionBody) -> Response:
        """Write the next version. It is not sent before it is published."""
        template = await repository.get(key)
        version = await off_loop.run(lambda: _new_version(body, template.default_locale, ()))
        return respond(await repository.add_version(key, version), "Version created.", status=201)

    versions = answers.of(list[TemplateVersion], "All versions, the newest first.", 404)

    @app.get("/v1/templates/{key}/versions", tags=[tag], responses=versions)
    async def list_versions(key: Segment) -> Response:
        """List the versions of a template."""
        found = await repository.versions(key)
        return respond(found, meta=page_meta(len(found), 1, max(1, len(found))))

    @app.get(one, tags=[tag], responses=answers.of(TemplateVersion, "The version.", 404))
    async def get_version(key: Segment, version: Number) -> Response:
        """One version, published or not."""
        return respond(await repository.version(key, version))

    @app.post(f"{one}/publish", tags=[tag], responses=answers.of(Template, "The template.", 404))
    async def publish_version(key: Segment, version: Number) -> Response:
        """Send this version from now on. Publishing an older one rolls back."""
        return respond(await repository.publish(key, version), "Version published.")


def _add_rendering(app: FastAPI, repository: TemplateRepository, answers: Answers, off_loop: OffLoop) -> None:
    tag, renderer = "rendering", Renderer(cache_size=256)

    @app.get("/v1/templates/{key}/resolve", tags=[tag], responses=answers.of(ResolvedTemplate, "The body.", 404))
    async def resolve(
        key: Segment,
        locale: Annotated[str | None, Query(max_length=35, examples=["pt-BR"])] = None,
        version: Annotated[int | None, Query(ge=1, le=2_000_000_000)] = None,
    ) -> Response:
        """The body for a locale: pt-BR, then pt, then the template's default."""
        found = await _find(repository, key, version)
        body, chain = found.choose(locale)
        return respond(_resolved(found, body, chain))

    @app.post("/v1/templates/{key}/render", tags=[tag], responses=answers.of(RenderedTemplate, "As it reads.", 404))
    async def render(key: Segment, body: RenderBody) -> Response:
        """Render a version without sending it."""
        found = await _find(repository, key, body.version)
        return respond(await off_loop.run(lambda: _rendered(renderer, found, body)))


async def _find(repository: TemplateRepository, key: str, version: int | None) -> TemplateVersion:
    if version is not None:
        return await repository.version(key, version)
    published = (await repository.get(key)).published
    if published is None:
        raise NotFound("published version of template", key)
    return published


def _resolved(version: TemplateVersion, body: TemplateLocale, chain: tuple[str, ...]) -> ResolvedTemplate:
    return ResolvedTemplate(
        key=version.key, version=version.version, locale=body.locale, locale_fallback=chain, body=body
    )


def _rendered(renderer: Renderer, version: TemplateVersion, asked: RenderBody) -> RenderedTemplate:
    body, chain = version.choose(asked.locale)
    channels = [asked.channel] if asked.channel else sorted(body.channels())
    parts: dict[str, Any] = {}
    for channel in channels:
        try:
            rendered = renderer.render(body, asked.variables, channel=channel)
        except UndefinedVariable as error:
            raise ValidationFailed.of(f"variables.{error.name}", "undefined_variable", error.message) from error
        except TemplateError as error:
            raise ValidationFailed.of("variables", error.code.lower(), error.message) from error
        parts.update({name: value for name, value in msgspec.structs.asdict(rendered).items() if value is not None})
    return RenderedTemplate(
        key=version.key, version=version.version, locale=body.locale, locale_fallback=chain, **parts
    )


def _new_version(body: VersionBody, default_locale: str, path: tuple[str, ...]) -> NewVersion:
    locales = tuple(TemplateLocale(**locale.model_dump()) for locale in body.locales)
    if found := list(_version_problems(locales, default_locale, path)):
        raise ValidationFailed(found)
    return NewVersion(locales=locales, note=body.note)


def _version_problems(
    locales: tuple[TemplateLocale, ...], default_locale: str, path: tuple[str, ...]
) -> Iterator[FieldProblem]:
    tags = [locale.locale for locale in locales]
    if default_locale not in tags:
        message = f"must have a body for the template's default locale {default_locale!r}"
        yield FieldProblem((*path, "locales"), "default_locale_missing", message)
    for index, locale in enumerate(locales):
        here = (*path, "locales", str(index))
        if locale.locale in tags[:index]:
            yield FieldProblem((*here, "locale"), "duplicate", f"{locale.locale!r} is there twice")
        if not locale.channels():
            yield FieldProblem(here, "no_channel", "needs a subject and html or text for EMAIL, or a title for PUSH")
        for part, error in problems(locale):
            yield FieldProblem((*here, *part.split(".", 1)), error.code.lower(), error.message)
