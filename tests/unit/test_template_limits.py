"""No template runs, prints or remembers without end, and none takes long to be refused.

Nothing here measures time. What is not bounded takes minutes or years: such a test fails by never ending.
"""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import TemplateError, TemplateLimitExceeded, TemplateSyntaxError
from domain.markup.environment import MAX_OUTPUT, MAX_SOURCE
from domain.markup.scan import MAX_CODE, MAX_NESTING, MAX_SPACES, MAX_TAG
from domain.markup.text import Compiler
from domain.notification import Channel
from domain.template import Content, Renderer, TemplateLocale, problems


@pytest.fixture
def renderer() -> Renderer:
    return Renderer()


def render(renderer: Renderer, source: str, **variables: Any) -> str:
    text = renderer.render(Content(subject="s", text=source), variables, channel=Channel.EMAIL).text
    assert text is not None
    return text


def doubled(name: str, start: str, times: int) -> str:
    """Liquid that makes a long text out of a short one."""
    return f"{{% assign {name} = '{start}' %}}" + f"{{% assign {name} = {name} | append: {name} %}}" * times


BIG = "x" * 200_000
BOMBS = {
    "nested loops": "{% for i in (1..100000) %}{% for j in (1..100000) %}x{% endfor %}{% endfor %}",
    "doubling": "{% assign a = 'xxxxxxxxxx' %}" + "{% assign a = a | append: a %}" * 40,
    "replacing": "{% assign a = 'xxxxxxxxxxxxxxxxxxxx' %}{{ a" + " | replace: '', a" * 30 + " }}",
    "encoding": "{{ 'xxxxx'" + " | base64_encode" * 300 + " }}",
    "a huge range": "{{ (1..10000000000) | reverse | size }}",
    "joining": "{% assign l = 'xxxxxxxxxxxx' | split: '' %}{{ l" + " | join: 'xxxxxxxxxxx' | split: ''" * 30 + " }}",
    "doubling a list": "{% assign l = 'a,b' | split: ',' %}" + "{% assign l = l | concat: l %}" * 40,
    "too many names": "".join(f"{{% assign a{number} = 1 %}}" for number in range(300)),
    "too much output": "{% for i in (1..5000) %}{{ big }}{% endfor %}",
    "huge numbers": "{% assign n = 9999999999 %}{% for i in (1..99) %}{% assign n = n | times: n %}{% endfor %}",
    "dividing huge numbers": "{% assign n = 9999999999 %}"
    + "{% assign n = n | times: n %}" * 17
    + "{{ n | modulo: n }}",
    "a range to look through": "{% assign r = (1..10000000000) %}{% if r contains 'x' %}{% endif %}",
    "a range from a filter": "{% assign r = nothing | default: (1..900000) %}{% if r contains 'x' %}{% endif %}",
    "too many items": doubled("a", "xxxxxxxx", 12) + "{{ a | split: '' | size }}",
    "a long pattern of a date": doubled("a", "%c%c%c%c", 12) + "{{ 'now' | date: a }}",
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_do_not_go_off(renderer: Renderer, name: str) -> None:
    with pytest.raises(TemplateLimitExceeded):
        render(renderer, BOMBS[name], big=BIG)


def test_time_is_limited_too(renderer: Renderer, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(range(10_000))
    for clock in ("monotonic", "thread_time"):
        monkeypatch.setattr(f"domain.markup.environment.{clock}", lambda: next(ticks) * 0.01)
    with pytest.raises(TemplateLimitExceeded, match="longer"):
        render(renderer, "{% for i in (1..500) %}{% if false %}{% endif %}{% endfor %}")


def test_a_source_has_a_length_and_a_depth(renderer: Renderer) -> None:
    with pytest.raises(TemplateLimitExceeded):
        renderer.compile("x" * (MAX_SOURCE + 1))
    with pytest.raises(TemplateLimitExceeded):
        renderer.compile("{% if a %}" * 40 + "{% endif %}" * 40)


def test_plain_output_is_limited_too(renderer: Renderer) -> None:
    with pytest.raises(TemplateLimitExceeded):
        render(renderer, "{{ big }}" * (MAX_OUTPUT // len(BIG) + 1), big=BIG)


def test_all_texts_of_a_body_share_the_time(renderer: Renderer, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(range(100_000))
    for clock in ("monotonic", "thread_time"):
        monkeypatch.setattr(f"domain.markup.environment.{clock}", lambda: next(ticks) * 0.001)
    source = "{% for i in (1..100) %}{% if false %}{% endif %}{% endfor %}"
    renderer.render(TemplateLocale(locale="en", title="t", data={"k": source}), {}, channel=Channel.PUSH)
    many = TemplateLocale(locale="en", title="t", data={f"k{number}": source for number in range(50)})
    with pytest.raises(TemplateLimitExceeded, match="longer"):
        renderer.render(many, {}, channel=Channel.PUSH)


def test_a_machine_that_is_busy_with_something_else_fails_no_template(
    renderer: Renderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    hours = iter(range(10_000))
    monkeypatch.setattr("domain.markup.environment.monotonic", lambda: next(hours) * 3_600.0)
    assert render(renderer, "{% for i in (1..9) %}{{ i }}{% endfor %}") == "123456789"


# ----------------------------------------------------------------------------------------------------------- sources

HUGE = MAX_SOURCE // 2
REFUSED = {
    "never closed": "{{ " * (HUGE // 3),
    "never closed, with spaces": "{{" + " " * HUGE,
    "never closed in a comment": "{% comment %}" + "{{ " * (HUGE // 3),
    "verbatim that never ends": "{% raw %}" * (HUGE // 9),
    "verbatim that never ends in a comment": "{% comment %}" + "{% raw %}" * (HUGE // 9),
    "braces": "{" * HUGE,
    "spaces in an output": ("{{" + " " * (MAX_SPACES + 1) + "}}") * 100,
    "spaces in a tag": ("{% if" + " " * (MAX_SPACES + 1) + "%}") * 100,
    "spaces in lines": "{% liquid\n" + "echo a" + " " * (MAX_TAG - 100) + "b %}",
    "outputs": "{{a}}" * (MAX_CODE // 5 + 1),
    "outputs and a mistake at the end": "{{a}}" * (HUGE // 5) + "{{",
    "filters": "{{ a" + "|upcase" * (HUGE // 7) + "}}",
    "segments": "{{ a" + ".b" * (HUGE // 2) + "}}",
    "values": "{% case a %}{% when 1" + ",1" * (HUGE // 2) + "%}{% endcase %}",
    "lines": "{% liquid\n" + "echo a\n" * (HUGE // 7) + "%}",
    "indexes within indexes": "{{ " + "a[" * (MAX_NESTING + 1) + "a" + "]" * (MAX_NESTING + 1) + " }}",
    "conditions within conditions": "{% if a" + " or a" * (MAX_NESTING + 1) + " %}{% endif %}",
    "ranges within ranges": "{{ " + "(1.." * (MAX_NESTING + 1) + "1" + ")" * (MAX_NESTING + 1) + " }}",
    "parentheses": "{{ " + "(" * 3_000 + " }}",
    "brackets and quotes": "{{ " + "['" * 1_500 + " }}",
    "digits": "{{ " + "9" * 3_990 + " | plus: " + "9" * 4_500 + " }}",
    "blocks": "{% if a %}" * 31 + "{% endif %}" * 31,
    "a range to look through": "{% if (1..10000000000) contains 'x' %}{% endif %}",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_asks_too_much_of_the_parser_is_refused(name: str) -> None:
    with pytest.raises((TemplateLimitExceeded, TemplateSyntaxError)):
        Compiler().compile(REFUSED[name], html=True)
    ((part, error),) = problems(TemplateLocale(locale="en", subject="s", html=REFUSED[name]))
    assert part == "html"
    assert len(error.message) < 200


def test_a_limit_names_the_place() -> None:
    with pytest.raises(TemplateLimitExceeded, match="line 2, column 3"):
        Compiler().compile("a\n  {{ b" + " " * 200 + "}}", html=False)


TAKEN = {
    "many outputs": "{{ a }}" * 500,
    "a long text": "x" * (MAX_SOURCE - 100) + "{{ a }}",
    "a long list of values": "{% case a %}{% when " + ", ".join(f"'{n}'" for n in range(400)) + " %}x{% endcase %}",
    "many lines": "{% liquid\n" + "  if a == 'x' or b contains 'y'\n    echo a\n  endif\n" * 60 + "%}",
    "braces in verbatim": "{% raw %}" + "{{ " * 10_000 + "{% endraw %}{{ a }}",
    "verbatim, cut close": "{%- raw -%} {{ {%- endraw -%}",
    "a comment": "{% comment %} {{ a }} {% if %} {% endcomment %}",
    "documentation": "{% doc %} {{ {% enddoc %}",
    "indented conditions": "{% if a" + ("\n" + " " * 40 + "or b") * 20 + " %}x{% endif %}",
}


@pytest.mark.parametrize("name", TAKEN)
def test_what_is_only_large_is_taken(name: str) -> None:
    compiled = Compiler().compile(TAKEN[name], html=True)
    compiled.render({"a": "x", "b": "y"})
    assert compiled.used <= {"a", "b"}


@given(st.lists(st.sampled_from(["{{", "}}", "{%", "%}", "raw", "endraw", "comment", "doc", " ", "-", "a", "\n", "|"])))
def test_any_jumble_of_markup_is_taken_or_refused_properly(pieces: list[str]) -> None:
    source = "".join(pieces)
    try:
        Compiler().compile(source, html=False).render({"a": "x"})
    except TemplateSyntaxError as error:
        place = (error.line, error.column)
    except TemplateError:
        return
    else:
        return
    assert 1 <= place[0] <= source.count("\n") + 1
    assert place[1] >= 1


# ------------------------------------------------------------------------------------------- filters, tags, line ends

DISTINCT = "".join(map(chr, range(0x4E00, 0x4E00 + 20_000)))


def test_finding_what_is_there_twice_is_quick(renderer: Renderer) -> None:
    assert render(renderer, "{{ big | split: '' | uniq | size }}", big=DISTINCT) == "20000"


def test_uniq_keeps_the_first_of_what_is_equal(renderer: Renderer) -> None:
    items = [1, "1", 1.0, {"k": [1]}, {"k": [1]}, None, None, {"k": [2]}]
    rendered = render(renderer, "{% assign l = items | uniq %}{{ l | size }}{{ l | join: ',' }}", items=items)
    assert rendered == "5" + "1,1,{'k': [1]},None,{'k': [2]}"
    people = [{"name": "Ada", "n": 1}, {"name": "Bob", "n": 2}, {"name": "Ada", "n": 3}, {"n": 4}]
    assert render(renderer, "{{ people | uniq: 'name' | map: 'n' | join }}", people=people) == "1 2 4"
    assert render(renderer, "{{ people | map: 'name' | uniq | size }}", people=people) == "3"


def test_finding_the_last_of_something_is_quick(renderer: Renderer) -> None:
    words = doubled("a", "aaaaaaaaaaaaaaaa", 14) + "{% assign n = 'ab' | append: a %}{% assign a = a | append: a %}"
    assert render(renderer, words + "{{ a | remove_last: n | size }}") == str(16 * 2**15)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{{ 'a-b-c' | remove_last: '-' }}", "a-bc"),
        ("{{ 'a-b-c' | replace_last: '-', '+' }}", "a-b+c"),
        ("{{ 'abc' | replace_last: 'x', '+' }}", "abc"),
        ("{{ '-a' | remove_last: '-' }}", "a"),
        ("{{ 'a' | remove_last: '' }}{{ 'a' | replace_last: '', '+' }}", "aa+"),
        ("{{ nil | strip_html }}{{ '<b>a</b' | strip_html }}", "a</b"),
        ("{{ 'aba' | replace_last: 'a', '<i>' }}", "ab<i>"),
    ],
)
def test_filters_of_our_own_do_what_they_say(renderer: Renderer, source: str, expected: str) -> None:
    assert render(renderer, source) == expected


def test_filters_of_our_own_escape_what_they_put_in() -> None:
    compiled = Compiler().compile("{{ '<b>a' | replace_last: 'a', x }}{{ x | remove_last: 'i' }}", html=True)
    assert compiled.render({"x": "<i>"}) == "<b>&lt;i&gt;&lt;&gt;"


def test_a_block_is_rendered_once_however_many_of_its_values_match(renderer: Renderer) -> None:
    nested = "{% case 1 %}{% when 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 %}" * 15 + "x" + "{% endcase %}" * 15
    assert render(renderer, nested) == "x"
    several = "{% case a %}{% when 1 %}one{% when 1, 2 %}two{% else %}other{% endcase %}"
    assert [render(renderer, several, a=value) for value in (1, 2, 3)] == ["onetwo", "two", "other"]


@pytest.mark.parametrize("letters", ["1.", "a1", "1 ", "1", "Z"])
def test_what_is_too_long_for_a_date_is_none(renderer: Renderer, letters: str) -> None:
    assert render(renderer, "{{ d | date: '%Y' }}", d=letters * 100_000) == letters * 100_000


@pytest.mark.parametrize(
    "date", ["100000000000000000", "99999999999999999999", "1e5", "2025-02-30", "9" * 90, -(10**17)]
)
def test_a_date_that_no_calendar_has_is_a_mistake_or_left_alone(renderer: Renderer, date: Any) -> None:
    try:
        assert render(renderer, "{{ d | date: '%Y' }}", d=date)
    except TemplateError:
        return


def test_groups_of_a_cycle_are_not_remembered_by_their_names(renderer: Renderer) -> None:
    group = "{% capture g %}{{ i | modulo: 2 }}{{ big }}{% endcapture %}"
    source = "{% for i in (1..5) %}" + group + "{% cycle g: 'a', 'b' %}{% endfor %}"
    assert render(renderer, source, big=BIG) == "aabba"


def test_line_ends_stay_what_they_were(renderer: Renderer) -> None:
    source = "{% if true %}{{ a }}\r\n{% endif %}{% capture c %}{{ a }}{% endcapture %}{{ c }}"
    assert render(renderer, source, a="x\ry\r\n") == "x\ry\r\n\r\nx\ry\r\n"
