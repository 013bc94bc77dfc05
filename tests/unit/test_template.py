"""Templates: which body, which variables, and what comes out."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from liquid import escape

from domain.errors import TemplateError, TemplateLimitExceeded, TemplateSyntaxError, UndefinedVariable
from domain.markup.html import html_to_text
from domain.markup.text import Compiler
from domain.notification import Channel
from domain.template import (
    Content,
    Renderer,
    TemplateLocale,
    TemplateVersion,
    canonical_locale,
    check,
    locale_problem,
    missing,
    problems,
)

MOMENT = datetime(2026, 1, 2, tzinfo=UTC)
EMAIL, PUSH = Channel.EMAIL, Channel.PUSH


@pytest.fixture
def renderer() -> Renderer:
    return Renderer()


def version(*locales: TemplateLocale, default: str = "en") -> TemplateVersion:
    return TemplateVersion(
        key="k", version=1, default_locale=default, published=True, locales=locales, created_at=MOMENT
    )


def body(locale: str = "en", **parts: Any) -> TemplateLocale:
    return TemplateLocale(locale=locale, **parts)


def text(renderer: Renderer, source: str, **variables: Any) -> str:
    rendered = renderer.render(Content(subject="s", text=source), variables, channel=EMAIL).text
    assert rendered is not None
    return rendered


# --------------------------------------------------------------------------------------------------------- locales


@pytest.mark.parametrize(
    ("asked", "chosen", "chain"),
    [
        ("pt-BR", "pt-BR", ("pt-BR",)),
        ("pt-br", "pt-BR", ("pt-BR",)),
        ("PT_PT", "pt", ("pt-PT", "pt")),
        ("zh-Hant-TW", "zh-Hant", ("zh-Hant-TW", "zh-Hant")),
        ("de-CH-x-formal", "en", ("de-CH-x-formal", "de-CH", "de", "en")),
        ("en", "en", ("en",)),
        ("EN-gb", "en", ("en-GB", "en")),
        (None, "en", ("en",)),
        ("", "en", ("en",)),
    ],
)
def test_a_locale_falls_back_to_its_language_and_then_to_the_default(
    asked: str | None, chosen: str, chain: tuple[str, ...]
) -> None:
    bodies = version(body("en"), body("pt"), body("pt-BR"), body("zh-Hant"))
    found, tried = bodies.choose(asked)
    assert (found.locale, tried) == (chosen, chain)


def test_without_even_the_default_there_is_still_a_body() -> None:
    assert version(body("fr"), default="en").choose("de") == (body("fr"), ("de", "en", "fr"))


@given(st.from_regex(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{1,8}){0,3}", fullmatch=True))
def test_the_last_tag_tried_is_the_one_chosen(tag: str) -> None:
    found, tried = version(body("en"), body("pt-BR")).choose(tag)
    assert found.locale == tried[-1]
    assert tried[0] == canonical_locale(tag)
    assert len(set(tried)) == len(tried)


@pytest.mark.parametrize(
    ("tag", "canonical"),
    [
        ("pt-br", "pt-BR"),
        ("ZH-HANT-tw", "zh-Hant-TW"),
        ("en_us", "en-US"),
        ("EN-X-US", "en-x-us"),
        ("es-419", "es-419"),
    ],
)
def test_tags_have_one_spelling(tag: str, canonical: str) -> None:
    assert canonical_locale(tag) == canonical
    assert canonical_locale(canonical) == canonical
    assert locale_problem(canonical) is None


@pytest.mark.parametrize("tag", ["", "e", "klingonisch", "en-", "en--US", "en US", "pt-BR\n", "ü", "x" * 40])
def test_what_is_no_tag(tag: str) -> None:
    assert locale_problem(tag) is not None


# -------------------------------------------------------------------------------------------------------- channels


@pytest.mark.parametrize(
    ("parts", "channels"),
    [
        ({"subject": "s", "html": "h"}, {EMAIL}),
        ({"subject": "s", "text": "t"}, {EMAIL}),
        ({"subject": "s"}, set()),
        ({"html": "h"}, set()),
        ({"title": "t"}, {PUSH}),
        ({"body": "b"}, set()),
        ({"title": "t", "body": "b", "subject": "s", "text": "t"}, {EMAIL, PUSH}),
    ],
)
def test_what_a_body_can_be_sent_by(parts: dict[str, str], channels: set[Channel]) -> None:
    assert body(**parts).channels() == channels
    assert Content(**parts).channels() == channels


def test_a_version_offers_the_channels_that_all_its_languages_have() -> None:
    both, push = body("en", title="t", subject="s", text="t"), body("pt", title="t")
    assert version(both).channels() == {EMAIL, PUSH}
    assert version(both, push).channels() == {PUSH}


# ------------------------------------------------------------------------------------------------------- variables


@pytest.mark.parametrize(
    ("source", "required", "used"),
    [
        ("Hello", set(), set()),
        ("{{ name }}", {"name"}, {"name"}),
        ("{{ user.first_name }}", {"user.first_name"}, {"user.first_name"}),
        ("{{ items[0].name }} {{ items.size }}", {"items"}, {"items"}),
        ("{{ name | default: 'you' }}", set(), {"name"}),
        ("{{ name | default: other }}", {"other"}, {"name", "other"}),
        ("{{ name | upcase | default: 'you' }}", {"name"}, {"name"}),
        ("{{ name | append: suffix }}", {"name", "suffix"}, {"name", "suffix"}),
        ("{% if vip %}x{% endif %}", set(), {"vip"}),
        ("{% if name %}{{ name }}{% endif %}", set(), {"name"}),
        ("{% if user.name %}{{ user.name }}{% endif %}", set(), {"user.name"}),
        ("{% if user and name %}{{ user }}{{ name }}{% endif %}", set(), {"user", "name"}),
        ("{% if user or name %}{{ name }}{% endif %}", {"name"}, {"user", "name"}),
        ("{% if vip %}{% else %}{{ vip }}{% endif %}", {"vip"}, {"vip"}),
        ("{% if a %}{% elsif b %}{{ b }}{{ a }}{% endif %}", {"a"}, {"a", "b"}),
        ("{% if name %}{{ name }}{% endif %}{{ name }}", {"name"}, {"name"}),
        ("{% unless vip %}{{ price }}{% endunless %}", {"price"}, {"vip", "price"}),
        ("{% case kind %}{% when special %}{{ x }}{% endcase %}", {"x"}, {"kind", "special", "x"}),
        (
            "{% for item in order.lines %}{{ item.name }}{{ forloop.index }}{% endfor %}",
            {"order.lines"},
            {"order.lines"},
        ),
        ("{% assign x = y %}{{ x }}", {"y"}, {"y"}),
        ("{% capture x %}{{ y }}{% endcapture %}{{ x }}", {"y"}, {"y"}),
        ("{{ now | date: '%Y' }}", set(), set()),
    ],
)
def test_variables_are_found_without_rendering(
    renderer: Renderer, source: str, required: set[str], used: set[str]
) -> None:
    compiled = renderer.compile(source)
    assert (set(compiled.required), set(compiled.used)) == (required, used)


def test_what_is_required_depends_on_the_channel(renderer: Renderer) -> None:
    parts = body(subject="{{ a }}", html="{{ b }}", title="{{ c }}", image_url="{{ d }}", data={"x": "{{ e }}"})
    assert renderer.required(parts, channels=[EMAIL]) == {"a", "b"}
    assert renderer.required(parts, channels=[PUSH]) == {"c", "d", "e"}
    assert renderer.required(parts, Content(text="{{ f }}")) == {"a", "b", "c", "d", "e", "f"}


def test_a_version_knows_the_variables_of_all_its_languages() -> None:
    assert version(body("en", title="{{ b }}"), body("pt", title="{{ a | default: '' }}")).variables == ("a", "b")


def test_missing_follows_paths() -> None:
    given_ = {"name": None, "user": {"email": "x"}, "text": "x"}
    needed = {"name", "user.email", "user.name", "text.length", "other"}
    assert missing(needed, given_) == ("other", "text.length", "user.name")


SMALL = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)
VARIABLES = st.dictionaries(st.sampled_from("abc"), SMALL, max_size=3)
OUTPUTS = st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map(lambda path: f"{{{{ {'.'.join(path)} }}}}")
WORDS = st.text(alphabet="xyz <>&'\"\n é", max_size=6)
PLAIN = st.lists(OUTPUTS | WORDS, max_size=6).map("".join)
TESTS = st.builds("{{% if {0} %}}{1}{{% endif %}}".format, st.sampled_from("abc"), PLAIN)
SOURCES = st.lists(PLAIN | TESTS | st.just("{{ a | default: b }}"), max_size=4).map("".join)


@given(SOURCES, VARIABLES)
def test_whoever_gives_what_is_required_sees_no_undefined_variable(source: str, variables: dict[str, Any]) -> None:
    compiled = Compiler().compile(source, html=False)
    if missing(compiled.required, variables):
        return
    compiled.render(variables)


# ------------------------------------------------------------------------------------------------------- rendering


@given(PLAIN, VARIABLES, st.booleans())
def test_the_short_cut_equals_the_library(source: str, variables: dict[str, Any], html: bool) -> None:
    compiled = Compiler().compile(source, html=html)
    assert _outcome(compiled.render, variables) == _outcome(compiled.render_by_library, variables)


def _outcome(render: Any, variables: dict[str, Any]) -> str:
    try:
        return str(render(variables))
    except TemplateError as error:
        return repr(error)


@given(st.dictionaries(st.sampled_from("abc"), st.text(alphabet="xyz<>&'\"é;", min_size=1, max_size=8), min_size=3))
def test_text_is_derived_from_the_template_as_from_the_mail(variables: dict[str, str]) -> None:
    source = "<h1>{{ a }}</h1><p>x {{ b }}, <a href='http://x.test/{{ c }}'>{{ a }} y</a></p><ul><li>{{ c }}</ul>"
    compiled = Compiler().compile(source, html=True)
    rendered = compiled.render(variables)
    assert compiled.render_as_text(variables, rendered) == html_to_text(rendered)


def test_html_is_escaped_and_nothing_else_is(renderer: Renderer) -> None:
    parts = body(subject="{{ x }}", html="<b>{{ x }}</b>", text="{{ x }}")
    rendered = renderer.render(parts, {"x": "<i>'&\""}, channel=EMAIL)
    assert rendered.html == f"<b>{escape('<i>' + chr(39) + '&' + chr(34))}</b>"
    assert (rendered.subject, rendered.text) == ("<i>'&\"", "<i>'&\"")


def test_escaping_holds_for_what_is_not_plain_too(renderer: Renderer) -> None:
    parts = body(subject="s", html="{% for x in xs %}{{ x | upcase }}{% endfor %}")
    assert renderer.render(parts, {"xs": ["<i>"]}, channel=EMAIL).html == "&lt;I&gt;"


def test_a_channel_gets_its_parts_and_no_others(renderer: Renderer) -> None:
    parts = body(subject="s", text="t", title="T", body="B", image_url="u/{{ n }}", data={"k": "v{{ n }}"})
    mail, push = (renderer.render(parts, {"n": 1}, channel=channel) for channel in (EMAIL, PUSH))
    assert msgspec.to_builtins(mail) == {
        "subject": "s", "html": None, "text": "t", "title": None, "body": None, "image_url": None, "data": None
    }  # fmt: skip
    assert msgspec.to_builtins(push) == {
        "subject": None, "html": None, "text": None, "title": "T", "body": "B", "image_url": "u/1", "data": {"k": "v1"}
    }  # fmt: skip


def test_a_missing_text_is_derived_and_a_given_one_is_not(renderer: Renderer) -> None:
    derived = renderer.render(Content(subject="s", html="<p>Hi {{ n }}</p>"), {"n": "a&b"}, channel=EMAIL)
    given_ = renderer.render(Content(subject="s", html="<p>Hi</p>", text="Hello"), {}, channel=EMAIL)
    looped = renderer.render(
        Content(subject="s", html="{% for x in xs %}<p>{{ x }}</p>{% endfor %}"), {"xs": ["a&b", "c"]}, channel=EMAIL
    )
    assert (derived.text, given_.text, looped.text) == ("Hi a&b", "Hello", "a&b\n\nc")


@pytest.mark.parametrize(
    "evil", ["a\r\nBcc: x@y.test", "a\nBcc: x@y.test", "a\u2028Bcc: x@y.test", "a\0Bcc: x@y.test\r"]
)
def test_a_subject_and_a_title_are_one_line(renderer: Renderer, evil: str) -> None:
    mail = renderer.render(Content(subject="{{ x }}", text="t"), {"x": evil}, channel=EMAIL)
    push = renderer.render(Content(title="{{ x }}"), {"x": evil}, channel=PUSH)
    assert mail.subject == push.title == "a Bcc: x@y.test"


def test_a_subject_is_otherwise_left_alone(renderer: Renderer) -> None:
    odd = "  \u00a0👩\u200d🚀  déjà  vu "
    assert renderer.render(Content(subject=odd, text="t"), {}, channel=EMAIL).subject == odd


@pytest.mark.parametrize(
    ("source", "variables", "name"),
    [
        ("{{ a }}", {}, "a"),
        ("{{ a.b }}", {"a": {}}, "a.b"),
        ("{{ a.b.c }}", {"a": {"b": "text"}}, "a.b.c"),
        ("{{ a | upcase }}", {}, "a"),
        ("{% for x in xs %}{% endfor %}", {}, "xs"),
    ],
)
def test_an_undefined_variable_is_named(renderer: Renderer, source: str, variables: dict[str, Any], name: str) -> None:
    with pytest.raises(UndefinedVariable) as caught:
        text(renderer, source, **variables)
    assert caught.value.name == name


def test_values_print_as_liquid_prints_them(renderer: Renderer) -> None:
    source = "{{ t }} {{ n }} {{ i }} {{ f }} {{ l }}"
    assert text(renderer, source, t=True, n=None, i=5, f=1.5, l=["a", "b"]) == "true  5 1.5 ab"


# ------------------------------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("source", "line", "column"),
    [
        ("{{ a", 1, 1),
        ("hello\n  {% foo %}", 2, 6),
        ("x\n{{ a | }}", 2, 4),
        ("a\n\n{{ a b }}", 3, 6),
        ("{% if a %}x", 1, 12),
        ("z {{ a | nofilter }}", 1, 10),
        ("{% include 'x' %}", 1, 4),
        ("{% render 'x' %}", 1, 4),
    ],
)
def test_a_mistake_is_found_without_rendering(renderer: Renderer, source: str, line: int, column: int) -> None:
    with pytest.raises(TemplateSyntaxError) as caught:
        renderer.compile(source)
    assert (caught.value.line, caught.value.column) == (line, column)
    with pytest.raises(TemplateSyntaxError, match=rf"^html: .*\(line {line}, column {column}\)$"):
        check(body(subject="fine", html=source))


def test_every_part_is_checked() -> None:
    wrong = "{{"
    parts = body(subject=wrong, html=wrong, text=wrong, title=wrong, body=wrong, image_url=wrong, data={"k": wrong})
    names = ["subject", "html", "text", "title", "body", "image_url", "data.k"]
    assert [name for name, _ in problems(parts)] == names
    check(body(subject="{{ fine }}"))


@given(st.text(alphabet="{}%|ab .'\"[]()-if\n", max_size=40))
def test_any_text_compiles_or_is_refused_properly(source: str) -> None:
    try:
        compiled = Compiler().compile(source, html=True)
    except TemplateSyntaxError as error:
        place = (error.line, error.column)
    except TemplateLimitExceeded:
        return
    else:
        _outcome(compiled.render, {"a": "x", "b": [1]})
        return
    assert 1 <= place[0] <= source.count("\n") + 1
    assert place[1] >= 1


# ----------------------------------------------------------------------------------------------------------- cache


def test_a_text_is_compiled_once() -> None:
    renderer = Renderer(cache_size=2)
    first = renderer.compile("{{ a }}")
    assert renderer.compile("{{ a }}") is first
    assert renderer.compile("{{ a }}", html=True) is not first
    renderer.compile("{{ a }}")
    renderer.compile("{{ b }}")
    assert renderer.compile("{{ a }}") is first  # the one not used for longest went
    renderer.compile("{{ c }}")
    renderer.compile("{{ d }}")
    assert renderer.compile("{{ a }}") is not first
