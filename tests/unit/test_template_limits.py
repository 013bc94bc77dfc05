"""No template runs, prints or remembers without end."""

import pytest

from domain.errors import TemplateLimitExceeded
from domain.markup.environment import MAX_OUTPUT, MAX_SOURCE
from domain.notification import Channel
from domain.template import Content, Renderer


@pytest.fixture
def renderer() -> Renderer:
    return Renderer()


def render(renderer: Renderer, source: str, **variables: str) -> None:
    renderer.render(Content(subject="s", text=source), variables, channel=Channel.EMAIL)


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
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_do_not_go_off(renderer: Renderer, name: str) -> None:
    with pytest.raises(TemplateLimitExceeded):
        render(renderer, BOMBS[name], big=BIG)


def test_time_is_limited_too(renderer: Renderer, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(range(10_000))
    monkeypatch.setattr("domain.markup.environment.monotonic", lambda: next(ticks) * 0.01)
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
