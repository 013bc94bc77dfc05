"""The Template Service, through its client and over raw HTTP, on both engines."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from api.database import Databases
from api.templates.app import templates_app
from api.templates.client import TemplatesClient
from api.templates.repository import TemplateRepository
from domain.errors import Conflict, NotFound, UpstreamUnavailable, ValidationFailed
from domain.notification import Channel
from domain.ports import Known
from domain.template import TemplateLocale
from tests.services.rest_clients import Wire, raw

EN = TemplateLocale(locale="en", subject="Hi {{ name }}", html="<p>Hello <b>{{ name }}</b></p>", title="Hi {{ name }}")
PT = TemplateLocale(locale="pt", subject="Oi {{ name }}", text="Olá {{ name }}", title="Oi")


@pytest.fixture
async def wire(database_url: str) -> AsyncIterator[Wire]:
    databases = await Databases.open({"templates": database_url})
    await databases.migrate()
    yield Wire(templates_app(TemplateRepository(databases["templates"]), service_token=None))
    await databases.close()


@pytest.fixture
async def templates(wire: Wire) -> AsyncIterator[TemplatesClient]:
    async with wire.client() as http:
        yield TemplatesClient(http)


@pytest.fixture
async def others(wire: Wire) -> AsyncIterator[TemplatesClient]:
    """Another process: it does not see at once what `templates` changes."""
    async with wire.client() as http:
        yield TemplatesClient(http, ttl=0.0)


async def test_a_template_is_kept_as_given(templates: TemplatesClient) -> None:
    made = await templates.create("welcome", name="Welcome mail", locales=[EN, PT], note="first", publish=True)
    assert (made.key, made.name, made.default_locale, made.published_version) == ("welcome", "Welcome mail", "en", 1)
    assert made.published is not None
    assert made.published.locales == (EN, PT)
    assert (made.published.note, made.published.published) == ("first", True)
    assert await templates.get("welcome") == made
    assert await templates.published("welcome") == Known(made)


async def test_every_part_of_a_body_is_kept(templates: TemplatesClient) -> None:
    body = TemplateLocale(
        locale="en",
        subject="s",
        html="h",
        text="t",
        title="t",
        body="b",
        image_url="https://x.test/{{ id }}.png",
        data={"order": "{{ id }}", "ü": "ü"},
    )
    await templates.create("all", locales=[body])
    assert (await templates.version("all", 1)).locales == (body,)


async def test_a_template_can_start_without_a_version(templates: TemplatesClient) -> None:
    made = await templates.create("later")
    assert (made.name, made.published_version, made.published) == ("later", None, None)
    assert (await templates.published("later")).value.published is None


async def test_a_key_is_taken_once(templates: TemplatesClient) -> None:
    await templates.create("welcome")
    with pytest.raises(Conflict):
        await templates.create("welcome")


async def test_versions_count_up_and_wait_to_be_published(templates: TemplatesClient) -> None:
    await templates.create("welcome", locales=[EN], publish=True)
    second = await templates.create_version("welcome", [EN, PT], note="now in Portuguese")
    assert (second.version, second.published) == (2, False)
    assert (await templates.published("welcome")).value.published_version == 1
    published = await templates.publish("welcome", 2)
    assert published.published_version == 2
    assert published.published is not None
    assert published.published.locales == (EN, PT)
    assert (await templates.published("welcome")).value.published_version == 2
    assert [version.version for version in await templates.versions("welcome")] == [2, 1]


async def test_publishing_an_older_version_rolls_back(templates: TemplatesClient) -> None:
    await templates.create("welcome", locales=[EN], publish=True)
    await templates.create_version("welcome", [EN, PT])
    await templates.publish("welcome", 2)
    rolled_back = await templates.publish("welcome", 1)
    assert rolled_back.published_version == 1
    assert (await templates.version("welcome", 2)).locales == (EN, PT)


async def test_concurrent_versions_get_numbers_of_their_own(templates: TemplatesClient) -> None:
    await templates.create("welcome")
    made = await asyncio.gather(*(templates.create_version("welcome", [EN], note=str(n)) for n in range(10)))
    assert sorted(version.version for version in made) == list(range(1, 11))


@pytest.mark.parametrize("version", [2, 2_000_000_000])
async def test_only_versions_that_exist_are_published(templates: TemplatesClient, version: int) -> None:
    await templates.create("welcome", locales=[EN])
    with pytest.raises(NotFound):
        await templates.publish("welcome", version)
    with pytest.raises(NotFound):
        await templates.version("welcome", version)


async def test_nothing_is_found_where_nothing_is(templates: TemplatesClient) -> None:
    calls = (
        templates.get("none"),
        templates.published("none"),
        templates.versions("none"),
        templates.create_version("none", [EN]),
        templates.publish("none", 1),
        templates.delete("none"),
        templates.render("none", {}),
    )
    for call in calls:
        with pytest.raises(NotFound):
            await call


async def test_a_deleted_template_is_gone_but_its_versions_can_still_be_sent(
    templates: TemplatesClient, others: TemplatesClient
) -> None:
    await templates.create("welcome", locales=[EN], publish=True)
    await templates.delete("welcome")
    for call in (others.get("welcome"), templates.published("welcome"), others.publish("welcome", 1)):
        with pytest.raises(NotFound):
            await call
    assert (await others.list()).items == []
    assert (await others.version("welcome", 1)).locales == (EN,)


async def test_a_key_that_is_used_again_never_reuses_a_version_number(templates: TemplatesClient) -> None:
    first = await templates.create("welcome", locales=[EN], publish=True)
    await templates.delete("welcome")
    again = await templates.create("welcome", default_locale="pt", locales=[PT], publish=True)
    assert (again.published_version, again.default_locale) == (2, "pt")
    assert again.id != first.id
    assert [version.version for version in await templates.versions("welcome")] == [2]
    with pytest.raises(NotFound):
        await templates.publish("welcome", 1)
    assert (await templates.version("welcome", 1)).locales == (EN,)


async def test_lists_are_pages(templates: TemplatesClient) -> None:
    for key in ("c", "a", "b"):
        await templates.create(key, locales=[EN], publish=key == "a")
    page = await templates.list(limit=2)
    assert [template.key for template in page.items] == ["a", "b"]
    assert (page.meta.total, page.meta.has_next) == (3, True)
    assert page.items[0].published is not None
    assert page.items[1].published is None


# --------------------------------------------------------------------------------------------------- what is wrong


@pytest.mark.parametrize(
    ("body", "path", "code"),
    [
        ({"locale": "en", "subject": "Hi {{ name", "text": "x"}, "locales.0.subject", "template_syntax"),
        ({"locale": "en", "subject": "x", "html": "a\n{% if x %}"}, "locales.0.html", "template_syntax"),
        ({"locale": "en", "title": "x", "data": {"k": "{% nope %}"}}, "locales.0.data.k", "template_syntax"),
        ({"locale": "en", "title": "{{ x | nofilter }}"}, "locales.0.title", "template_syntax"),
        ({"locale": "en", "title": "{% include 'x' %}"}, "locales.0.title", "template_syntax"),
        ({"locale": "en", "subject": "only a subject"}, "locales.0", "no_channel"),
        ({"locale": "pt", "title": "x"}, "locales", "default_locale_missing"),
        ({"locale": "no locale", "title": "x"}, "locales.0.locale", "value_error"),
        ({"locale": "en", "title": "nul\0"}, "locales.0.title", "value_error"),
        ({"locale": "en", "title": "x", "subtitle": "y"}, "locales.0.subtitle", "extra_forbidden"),
    ],
)
async def test_mistakes_are_told_by_field(wire: Wire, body: dict[str, Any], path: str, code: str) -> None:
    assert (await raw(wire, "POST", "/v1/templates", {"key": "welcome"}))[0] == 201
    status, answer = await raw(wire, "POST", "/v1/templates/welcome/versions", {"locales": [body]})
    assert status == 422
    assert [(".".join(field["path"]), field["code"]) for field in answer["error"]["fields"]] == [(path, code)]
    status, answer = await raw(wire, "POST", "/v1/templates", {"key": "other", "version": {"locales": [body]}})
    assert status == 422
    assert [".".join(field["path"]) for field in answer["error"]["fields"]] == [f"version.{path}"]


async def test_a_syntax_error_names_line_and_column(templates: TemplatesClient) -> None:
    body = TemplateLocale(locale="en", subject="x", text="one\ntwo {{ a b }}")
    with pytest.raises(ValidationFailed, match=r"line 2, column 10"):
        await templates.create("welcome", locales=[body])
    with pytest.raises(NotFound):
        await templates.get("welcome")


async def test_a_language_is_there_once(templates: TemplatesClient) -> None:
    twice = [EN, TemplateLocale(locale="EN", title="again")]
    with pytest.raises(ValidationFailed, match="twice"):
        await templates.create("welcome", locales=twice)


@pytest.mark.parametrize("key", ["", "Upper", "a b", "-a", "ä", "a" * 101])
async def test_a_key_has_a_shape(templates: TemplatesClient, key: str) -> None:
    with pytest.raises(ValidationFailed) as caught:
        await templates.create(key)
    assert caught.value.fields[0].path == ("key",)


async def test_nothing_cannot_be_published(templates: TemplatesClient) -> None:
    with pytest.raises(ValidationFailed) as caught:
        await templates.create("welcome", publish=True)
    assert caught.value.fields[0].path == ("publish",)


# -------------------------------------------------------------------------------------------- resolving, rendering


@pytest.mark.parametrize(
    ("locale", "chosen", "chain"),
    [
        ("pt-BR", "pt", ["pt-BR", "pt"]),
        ("PT_br", "pt", ["pt-BR", "pt"]),
        ("de-CH", "en", ["de-CH", "de", "en"]),
        (None, "en", ["en"]),
    ],
)
async def test_a_locale_falls_back(wire: Wire, locale: str | None, chosen: str, chain: list[str]) -> None:
    body = {"key": "welcome", "version": {"locales": [{"locale": "en", "title": "x"}, {"locale": "pt", "title": "y"}]}}
    await raw(wire, "POST", "/v1/templates", {**body, "publish": True})
    query = "" if locale is None else f"?locale={locale}"
    status, answer = await raw(wire, "GET", f"/v1/templates/welcome/resolve{query}")
    assert status == 200
    assert (answer["data"]["locale"], answer["data"]["locale_fallback"]) == (chosen, chain)
    assert answer["data"]["version"] == 1


async def test_nothing_published_resolves_to_nothing(wire: Wire) -> None:
    await raw(wire, "POST", "/v1/templates", {"key": "w", "version": {"locales": [{"locale": "en", "title": "x"}]}})
    assert (await raw(wire, "GET", "/v1/templates/w/resolve"))[0] == 404
    assert (await raw(wire, "GET", "/v1/templates/w/resolve?version=1"))[0] == 200


async def test_rendering_shows_what_a_recipient_gets(templates: TemplatesClient) -> None:
    await templates.create("welcome", locales=[EN, PT], publish=True)
    shown = await templates.render("welcome", {"name": "<Ann>"}, locale="en-GB", channel=Channel.EMAIL)
    assert (shown.subject, shown.html, shown.text, shown.title) == (
        "Hi <Ann>",
        "<p>Hello <b>&lt;Ann&gt;</b></p>",
        "Hello <Ann>",
        None,
    )
    assert (shown.locale, shown.locale_fallback) == ("en", ("en-GB", "en"))
    assert (await templates.render("welcome", {"name": "Ann"}, locale="pt")).title == "Oi"


async def test_rendering_tells_what_is_missing(templates: TemplatesClient) -> None:
    await templates.create("welcome", locales=[EN], publish=True)
    with pytest.raises(ValidationFailed) as caught:
        await templates.render("welcome", {})
    assert caught.value.fields[0].path == ("variables", "name")
    assert caught.value.fields[0].code == "undefined_variable"


async def test_a_draft_can_be_rendered(templates: TemplatesClient) -> None:
    await templates.create("welcome", locales=[PT], default_locale="pt")
    assert (await templates.render("welcome", {"name": "Ana"}, version=1)).text == "Olá Ana"
    with pytest.raises(NotFound):
        await templates.render("welcome", {"name": "Ana"})


# ---------------------------------------------------------------------------------------------------- the client


async def test_published_versions_are_remembered_for_good(wire: Wire, templates: TemplatesClient) -> None:
    await templates.create("welcome", locales=[EN], publish=True)
    await templates.published("welcome")
    wire.calls.clear()
    wire.away = True
    assert (await templates.version("welcome", 1)).locales == (EN,)
    assert (await templates.published("welcome")).value.published_version == 1
    assert wire.calls == []


async def test_many_who_ask_at_once_cause_one_call(wire: Wire, others: TemplatesClient) -> None:
    await others.create("welcome", locales=[EN], publish=True)
    wire.calls.clear()
    found = await asyncio.gather(*(others.published("welcome") for _ in range(50)))
    assert len({id(template) for template in found}) == 1
    assert wire.calls == [("GET", "/v1/templates/welcome")]


async def test_one_who_gives_up_does_not_spoil_it_for_the_others(others: TemplatesClient) -> None:
    await others.create("welcome", locales=[EN], publish=True)
    first = asyncio.create_task(others.published("welcome"))
    second = asyncio.create_task(others.published("welcome"))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).value.key == "welcome"


async def test_what_others_publish_is_seen_after_a_moment(templates: TemplatesClient, others: TemplatesClient) -> None:
    await templates.create("welcome", locales=[EN], publish=True)
    assert (await others.published("welcome")).value.published_version == 1
    await templates.create_version("welcome", [PT, EN])
    await templates.publish("welcome", 2)
    assert (await others.published("welcome")).value.published_version == 2


async def test_what_is_published_is_served_while_the_service_is_away(wire: Wire, others: TemplatesClient) -> None:
    await others.create("welcome", locales=[EN], publish=True)
    await others.published("welcome")
    assert not (await others.published("welcome")).stale
    wire.away = True
    found = await others.published("welcome")
    assert (found.value.published_version, found.stale) == (1, True)
    with pytest.raises(UpstreamUnavailable):
        await others.published("never-seen")


async def test_what_was_deleted_meanwhile_is_not_served_stale(
    wire: Wire, templates: TemplatesClient, others: TemplatesClient
) -> None:
    await templates.create("welcome", locales=[EN], publish=True)
    await others.published("welcome")
    await templates.delete("welcome")
    with pytest.raises(NotFound):
        await others.published("welcome")
    wire.away = True
    with pytest.raises(UpstreamUnavailable):
        await others.published("welcome")


async def test_the_service_may_want_a_token(database_url: str) -> None:
    databases = await Databases.open({"templates": database_url})
    await databases.migrate()
    wire = Wire(templates_app(TemplateRepository(databases["templates"]), service_token="secret"))
    async with wire.client() as http:
        await TemplatesClient(http, service_token="secret").create("welcome")
        with pytest.raises(UpstreamUnavailable):
            await TemplatesClient(http).get("welcome")
    assert (await raw(wire, "GET", "/health"))[0] == 200
    await databases.close()


async def test_the_document_names_every_route(wire: Wire) -> None:
    _, document = await raw(wire, "GET", "/openapi.json")
    assert {(path, method) for path, operations in document["paths"].items() for method in operations} == {
        ("/v1/templates", "get"),
        ("/v1/templates", "post"),
        ("/v1/templates/{key}", "get"),
        ("/v1/templates/{key}", "delete"),
        ("/v1/templates/{key}/versions", "get"),
        ("/v1/templates/{key}/versions", "post"),
        ("/v1/templates/{key}/versions/{version}", "get"),
        ("/v1/templates/{key}/versions/{version}/publish", "post"),
        ("/v1/templates/{key}/resolve", "get"),
        ("/v1/templates/{key}/render", "post"),
    }
