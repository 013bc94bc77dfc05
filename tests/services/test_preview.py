"""Templates through GraphQL with the real Template Service behind it: previews, and what is refused and how."""

from collections.abc import AsyncIterator
from pathlib import Path
from threading import get_ident
from typing import Any
from unittest.mock import Mock

import pytest
import strawberry
from strawberry.schema.config import StrawberryConfig

from api.database import Databases
from api.gateway.previews import Previews
from api.gateway.schema.authoring import TemplateMutations, TemplateQueries
from api.gateway.schema.context import Context
from api.gateway.schema.errors import ERROR_TYPES
from api.gateway.schema.preview import PreviewQueries
from api.gateway.schema.scalars import SCALARS
from api.security import ALL_SCOPES, Principal, Scope
from api.templates.app import templates_app
from api.templates.client import TemplatesClient
from api.templates.repository import TemplateRepository
from domain.drafting import Drafting
from domain.errors import RateLimited, ValidationFailed
from domain.markup.scan import MAX_CODE, MAX_SOURCE
from domain.notification import Channel
from domain.submission import TemplateRef
from domain.template import Renderer, TemplateLocale
from tests.services.rest_clients import Wire

EN = TemplateLocale(
    locale="en",
    subject="Hi {{ name }}",
    html="<p>Hello <b>{{ name }}</b></p>",
    title="Hi {{ name }}",
    body="{{ count }} new",
    image_url="https://x.test/{{ name }}.png",
    data={"name": "{{ name }}"},
)
PT = TemplateLocale(locale="pt", subject="Oi {{ name }}", text="Ola {{ name }}")
PREVIEW = """query ($input: PreviewTemplateInput!) { preview_template(input: $input) { success
  error { __typename code message ... on ValidationError { fields { path code message } }
          ... on RateLimitedError { retry_after_seconds } }
  data { key version locale locale_fallback subject html text title body image_url data } } }"""
CREATE = """mutation ($input: CreateTemplateInput!) { create_template(input: $input) { success
  error { code message ... on ValidationError { fields { path code message } } } data { key } } }"""
VERSION = """mutation ($key: String!, $input: TemplateVersionInput!) {
  create_template_version(key: $key, input: $input) { success
  error { code message ... on ValidationError { fields { path code message } } } data { key } } }"""


@strawberry.type
class Query(TemplateQueries, PreviewQueries):
    """The part of the schema that is tested here."""


@strawberry.type
class Mutation(TemplateMutations):
    """The part of the schema that is tested here."""


SCHEMA = strawberry.Schema(
    query=Query,
    mutation=Mutation,
    types=ERROR_TYPES,
    config=StrawberryConfig(auto_camel_case=False, scalar_map=SCALARS),
)


class NoLimit:
    """A `Limiter` that lets everybody pass."""

    async def check(self, principal: Principal) -> None:
        """As often as they like."""


class World:
    """The gateway's GraphQL and the Template Service."""

    def __init__(self, wire: Wire, templates: TemplatesClient) -> None:
        self.wire, self.templates = wire, templates
        self.previews = Previews(templates)
        self.scopes = ALL_SCOPES

    async def ask(self, document: str, **variables: Any) -> Any:
        """The data of the one field."""
        services = Mock(templates=self.templates, previews=self.previews, limiter=NoLimit())
        context = Context(
            services=services,
            correlation_id="cor_test",
            caller=Principal(client="shop", key_id="key_1", name="all", scopes=self.scopes),
            headers={},
        )
        answer = await SCHEMA.execute(document, variable_values=variables, context_value=context)
        assert not answer.errors, answer.errors
        assert answer.data is not None
        return next(iter(answer.data.values()))

    async def preview(self, variables: Any = None, channel: str | None = None, **template: Any) -> Any:
        """Of the template `welcome`."""
        given = {"template": {"key": "welcome", **template}, "variables": variables, "channel": channel}
        return await self.ask(PREVIEW, input={name: value for name, value in given.items() if value is not None})


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    databases = await Databases.open({"templates": f"sqlite://{tmp_path}/templates.db"})
    await databases.migrate()
    wire = Wire(templates_app(TemplateRepository(databases["templates"]), service_token=None))
    async with wire.client() as http:
        world = World(wire, TemplatesClient(http))
        await world.templates.create("welcome", locales=[EN, PT], publish=True)
        yield world
        world.previews.close()
    await databases.close()


def problems(payload: Any) -> list[tuple[list[str], str]]:
    """Path and code of everything that is wrong."""
    assert (payload["success"], payload["data"]) == (False, None)
    assert payload["error"]["code"] == "VALIDATION_FAILED"
    return [(field["path"], field["code"]) for field in payload["error"]["fields"]]


# ---------------------------------------------------------------------------------------------------------- previews


async def test_a_preview_is_what_delivery_renders(world: World) -> None:
    variables = {"name": "<Ada>", "count": 3}
    payload = await world.preview(variables)
    rendered = {
        **vars_of(Renderer().render(EN, variables, channel=Channel.PUSH)),
        **vars_of(Renderer().render(EN, variables, channel=Channel.EMAIL)),
    }
    chosen = {"key": "welcome", "version": 1, "locale": "en", "locale_fallback": ["en"]}
    assert payload == {"success": True, "error": None, "data": {**chosen, **rendered}}
    assert payload["data"]["html"] == "<p>Hello <b>&lt;Ada&gt;</b></p>"
    assert payload["data"]["text"] == "Hello <Ada>"


def vars_of(rendered: Any) -> dict[str, Any]:
    """The parts that a channel needs."""
    return {name: getattr(rendered, name) for name in rendered.__struct_fields__ if getattr(rendered, name) is not None}


async def test_a_channel_needs_only_its_own_parts_and_variables(world: World) -> None:
    mail = (await world.preview({"name": "Ada"}, "EMAIL"))["data"]
    assert (mail["subject"], mail["title"], mail["body"], mail["data"]) == ("Hi Ada", None, None, None)
    push = (await world.preview({"name": "Ada", "count": 3}, "PUSH"))["data"]
    assert (push["title"], push["body"], push["data"], push["subject"]) == ("Hi Ada", "3 new", {"name": "Ada"}, None)


async def test_the_locale_falls_back_as_it_does_when_sending(world: World) -> None:
    data = (await world.preview({"name": "Ada"}, locale="pt-br"))["data"]
    assert (data["locale"], data["locale_fallback"], data["subject"]) == ("pt", ["pt-BR", "pt"], "Oi Ada")


async def test_a_version_is_previewed_before_it_is_published(world: World) -> None:
    await world.templates.create_version("welcome", [TemplateLocale(locale="en", title="Soon, {{ name }}")])
    draft = (await world.preview({"name": "Ada"}, version=2))["data"]
    assert (draft["version"], draft["title"]) == (2, "Soon, Ada")
    published = (await world.preview({"name": "Ada", "count": 1}))["data"]
    assert published["version"] == 1


async def test_every_missing_variable_is_named_as_when_sending(world: World) -> None:
    assert problems(await world.preview({})) == [
        (["variables", "count"], "missing"),
        (["variables", "name"], "missing"),
    ]
    assert problems(await world.preview(None, "EMAIL")) == [(["variables", "name"], "missing")]


async def test_a_variable_that_only_rendering_misses_is_named_too(world: World) -> None:
    listed = TemplateLocale(locale="en", title="{% for one in them %}{{ one.name }}{% endfor %}")
    await world.templates.create_version("welcome", [listed])
    payload = await world.preview({"them": [{"name": "Ada"}, {}]}, version=2)
    assert problems(payload) == [(["variables", "one.name"], "undefined_variable")]


async def test_a_template_that_goes_too_far_is_named(world: World) -> None:
    endless = TemplateLocale(locale="en", title="{% for i in (1..n) %}x{% endfor %}")
    await world.templates.create_version("welcome", [endless])
    assert problems(await world.preview({"n": 10**6}, version=2)) == [(["template"], "template_limit")]


async def test_a_channel_without_a_body_is_refused(world: World) -> None:
    payload = await world.preview({"name": "Ada"}, "PUSH", locale="pt")
    assert problems(payload) == [(["template"], "body")]
    assert "PUSH" in payload["error"]["fields"][0]["message"]


@pytest.mark.parametrize(
    ("template", "variables", "wrong"),
    [
        ({"key": "nothing"}, {}, (["template", "key"], "not_found")),
        ({"key": ""}, {}, (["template", "key"], "empty")),
        ({"version": 7}, {}, (["template", "version"], "not_found")),
        ({"version": 0}, {}, (["template", "version"], "range")),
        ({"locale": "no tag"}, {}, (["template", "locale"], "locale")),
        ({}, [1], (["variables"], "type")),
        ({}, {"name": "nul\0"}, (["variables"], "characters")),
        ({}, {"name": "x" * 70_000}, (["variables"], "size")),
    ],
)
async def test_bad_input_is_named(
    world: World, template: dict[str, Any], variables: Any, wrong: tuple[list[str], str]
) -> None:
    assert problems(await world.preview(variables, **template)) == [wrong]


async def test_without_a_published_version_one_must_be_named(world: World) -> None:
    await world.templates.create("later", locales=[EN])
    assert problems(await world.preview({}, key="later")) == [(["template", "key"], "not_published")]


async def test_a_preview_needs_the_scope_to_read_templates(world: World) -> None:
    world.scopes = frozenset({Scope.TEMPLATES_WRITE})
    assert (await world.preview({}))["error"]["code"] == "FORBIDDEN"


async def test_while_the_template_service_is_away_what_is_remembered_is_previewed(world: World) -> None:
    await world.preview({"name": "Ada", "count": 1})
    world.wire.away = True
    assert (await world.preview({"name": "Ada", "count": 1}))["success"]
    assert (await world.preview({}, key="other"))["error"]["code"] == "UPSTREAM_UNAVAILABLE"


async def test_previews_never_hold_up_the_event_loop(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = []
    drafts, render = Drafting.drafts, Renderer.render

    def noting(original: Any) -> Any:
        def noted(*args: Any, **kwargs: Any) -> Any:
            threads.append(get_ident())
            return original(*args, **kwargs)

        return noted

    monkeypatch.setattr(Drafting, "drafts", noting(drafts))
    monkeypatch.setattr(Renderer, "render", noting(render))
    await world.preview({"name": "Ada", "count": 1})
    await world.preview({"name": "Ada", "count": 1})
    assert len(threads) == 8  # one check, which measures the push, and two channels each
    assert len(set(threads)) == 1
    assert get_ident() not in threads


async def test_more_previews_than_can_wait_are_put_off(world: World) -> None:
    previews = Previews(world.templates, waiting=0)
    with pytest.raises(RateLimited):
        await previews.render(TemplateRef(key="welcome"), {}, None)
    previews.close()
    world.previews = Previews(world.templates, waiting=0)
    assert (await world.preview({}))["error"]["retry_after_seconds"] == 1


async def test_a_refused_preview_leaves_its_place_to_the_next(world: World) -> None:
    previews = Previews(world.templates, waiting=1)
    for _ in range(3):
        with pytest.raises(ValidationFailed):
            await previews.render(TemplateRef(key="welcome"), {}, None)
    given = {"name": "Ada", "count": 1}
    assert (await previews.render(TemplateRef(key="welcome"), given, None)).rendered.subject == "Hi Ada"
    previews.close()


async def test_a_version_tells_its_variables(world: World) -> None:
    template = await world.ask('{ template(key: "welcome") { data { versions { variables } } } }')
    assert template["data"]["versions"] == [{"variables": ["count", "name"]}]


# ---------------------------------------------------------------------------------------------------------- refusals

AT = ["locales", "0"]
SYNTAX = {
    "a tag that is never closed": ("<p>\n  {{ name", 2, 3),
    "a filter that is not there": ("<p>\n  {{ name | shout }}", 2, 13),
    "a block that is never closed": ("{% if a %}\nx", 2, 2),
    "a tag that is not there": ("{% include 'x' %}", 1, 4),
}
LIMITS = {
    "too many tags": "{{ a }}" * (MAX_CODE // 7 + 1),
    "a tag that is too long": "{{ a" + " | upcase" * 1_000 + " }}",
    "blocks within blocks": "{% if a %}" * 40 + "{% endif %}" * 40,
    "brackets within brackets": "{{ " + "a[" * 200 + "a" + "]" * 200 + " }}",
    "a long condition": "{% if a" + " or a" * 200 + " %}{% endif %}",
    "never closed, again and again": "{% if a %}{{ a }}" + "{{ " * 80_000 + "}}",
    "nothing but space": "{{" + " " * 3_000 + "}}",
}


@pytest.mark.parametrize("source", SYNTAX)
async def test_a_syntax_error_is_told_with_line_and_column(world: World, source: str) -> None:
    text, line, column = SYNTAX[source]
    locales = [{"locale": "en", "subject": "s", "html": text}]
    created = await world.ask(CREATE, input={"key": "new", "version": {"locales": locales}})
    added = await world.ask(VERSION, key="welcome", input={"locales": locales})
    assert problems(created) == [(["version", *AT, "html"], "template_syntax")]
    assert problems(added) == [([*AT, "html"], "template_syntax")]
    for payload in (created, added):
        assert payload["error"]["fields"][0]["message"].endswith(f"(line {line}, column {column})")
    assert (await world.ask(CREATE, input={"key": "new"}))["success"]  # nothing was stored


@pytest.mark.parametrize("source", LIMITS)
async def test_a_text_that_asks_for_too_much_is_refused(world: World, source: str) -> None:
    body = {"locale": "en", "subject": "s", "html": LIMITS[source], "data": {"k": "{{ a" + " | upcase" * 200 + "}}"}}
    created = await world.ask(CREATE, input={"key": "new", "version": {"locales": [body]}})
    assert (["version", *AT, "html"], "template_limit") in problems(created)


GOOD = {"locale": "en", "subject": "s", "text": "t"}
BAD: list[tuple[dict[str, Any], list[str], str | None]] = [
    ({"key": "Not A Key"}, ["key"], None),
    ({"key": ""}, ["key"], None),
    ({"key": "k" * 101}, ["key"], None),
    ({"default_locale": "klingonisch!"}, ["default_locale"], None),
    ({"default_locale": "pt"}, ["version", "locales"], "default_locale_missing"),
    ({"version": {"locales": []}}, ["version", "locales"], None),
    ({"version": {"locales": [{**GOOD, "locale": "en US"}]}}, ["version", *AT, "locale"], None),
    ({"version": {"locales": [GOOD, GOOD]}}, ["version", "locales", "1", "locale"], "duplicate"),
    ({"version": {"locales": [GOOD, {**GOOD, "locale": "EN"}]}}, ["version", "locales", "1", "locale"], "duplicate"),
    ({"version": {"locales": [{"locale": "en", "subject": "s"}]}}, ["version", *AT], "no_channel"),
    ({"version": {"locales": [{**GOOD, "html": "x" * (MAX_SOURCE + 1)}]}}, ["version", *AT, "html"], "too_long"),
    ({"version": {"locales": [{**GOOD, "subject": "x" * 2_001}]}}, ["version", *AT, "subject"], None),
    ({"version": {"locales": [{**GOOD, "data": {"k": "x" * 2_001}}]}}, ["version", *AT, "data", "k"], None),
    ({"version": {"locales": [{**GOOD, "data": {"k": 5}}]}}, ["version", *AT, "data", "k"], "type"),
    ({"version": {"locales": [{**GOOD, "data": [1]}]}}, ["version", *AT, "data"], "type"),
    ({"version": {"locales": [{**GOOD, "text": "nul\0"}]}}, ["version", *AT, "text"], None),
    ({"version": {"locales": [GOOD], "note": "n" * 501}}, ["version", "note"], None),
    ({"version": None, "publish": True}, ["publish"], None),
]


@pytest.mark.parametrize(("changes", "path", "code"), BAD)
async def test_what_cannot_be_a_template_is_refused_by_field(
    world: World, changes: dict[str, Any], path: list[str], code: str | None
) -> None:
    payload = await world.ask(CREATE, input={"key": "new", "version": {"locales": [GOOD]}, **changes})
    found = {tuple(field): given for field, given in problems(payload)}
    assert tuple(path) in found
    assert code is None or found[tuple(path)] == code


async def test_everything_that_is_wrong_is_told_at_once(world: World) -> None:
    locales = [{**GOOD, "subject": "{{", "text": "{% x %}"}, {**GOOD, "locale": "pt", "data": {"k": "{{ a | b }}"}}]
    paths = [path for path, _ in problems(await world.ask(VERSION, key="welcome", input={"locales": locales}))]
    assert paths == [[*AT, "subject"], [*AT, "text"], ["locales", "1", "data", "k"]]


async def test_a_version_of_a_template_that_is_not_there_is_not_found(world: World) -> None:
    payload = await world.ask(VERSION, key="nothing", input={"locales": [GOOD]})
    assert payload["error"]["code"] == "NOT_FOUND"
