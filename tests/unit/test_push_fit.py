"""What is said of a push when it is accepted: what is wrong for sure, and nothing that takes long to find out."""

from typing import Any

import pytest

from domain.outgoing import PushAction, PushOptions
from domain.push_fit import OWN_RENDERINGS, PushFit, quick
from domain.push_payload import MAX_PAYLOAD, check_payload, payload_data
from domain.template import Content, Renderer, TemplateLocale

LOOP = "{% for n in (1..500) %}0123456789{% endfor %}"


def code_of(parts: TemplateLocale | Content, options: PushOptions | None = None, **variables: Any) -> str | None:
    unfit = PushFit(Renderer(), options, variables).problem(parts, "en", None)
    return None if unfit is None else unfit.code


def test_what_is_accepted_at_the_limit_can_be_sent_and_one_byte_more_is_refused() -> None:
    options, id = PushOptions(data={"order": "17"}, click_url="https://shop.example/"), f"ntf_{'f' * 32}"
    bodies = [size for size in range(3500, 4200) if code_of(Content(title="Hi", body="b" * size), options) is None]
    longest = bodies[-1]
    assert bodies == list(range(3500, longest + 1))
    check_payload("Hi", "b" * longest, options, id)
    with pytest.raises(ValueError, match=f"{MAX_PAYLOAD + 1} bytes"):
        check_payload("Hi", "b" * (longest + 1), options, id)


def test_what_is_too_long_even_to_be_rendered_is_too_large() -> None:
    assert code_of(Content(title="Hi", body="{{ a }}" * 50), a="b" * 64_000) == "size"


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("https://cdn.example/{{ name }}.png", None),
        ("http://{{ host }}/x.png", "url"),
        ("{{ missing }}", None),
        ("https://cdn.example/" + LOOP, None),
    ],
)
def test_a_templates_image_is_looked_at_as_it_will_be(url: str, code: str | None) -> None:
    template = TemplateLocale(locale="en", title="Hi", image_url=url)
    assert code_of(template, name="ada", host="127.0.0.1") == code


def test_the_callers_image_hides_the_templates() -> None:
    template = TemplateLocale(locale="en", title="Hi", image_url="http://localhost/x.png")
    assert code_of(template) == "url"
    assert code_of(template, PushOptions(image_url="https://cdn.example/x.png")) is None


def test_a_loop_is_not_run_but_what_stands_beside_it_is_measured() -> None:
    assert code_of(TemplateLocale(locale="en", title="Hi", body=LOOP)) is None
    beside = TemplateLocale(locale="en", title="Hi", body=LOOP, data={"k": "{{ a }}", "l": LOOP})
    assert code_of(beside, a="b" * 4096) == "size"


def test_conditions_are_followed() -> None:
    template = TemplateLocale(locale="en", title="Hi", body="{% if long %}{{ a }}{% else %}short{% endif %}")
    assert code_of(template, long=False, a="b" * 4096) is None
    assert code_of(template, long=True, a="b" * 4096) == "size"


@pytest.mark.parametrize(
    "source",
    [
        LOOP,
        "{%- for a in b -%}{%- endfor -%}",
        "{% tablerow a in b %}{% endtablerow %}",
        "{% liquid for a in b %}",
        "{% assign a = a | append: a %}",
        "{% capture a %}{% endcapture %}",
        "{{ a | replace: 'a', 'aaaaaaaa' }}",
        "{{ a | split: ',' | sort }}",
        "{{ a }}" * 51,
        "x" * 8193,
    ],
)
def test_what_may_take_long_is_not_quick(source: str) -> None:
    assert not quick(source)


@pytest.mark.parametrize(
    "source",
    ["Hello", "{{ a | default: 'you' | upcase }}", "{%- if a -%}1{%- elsif b -%}2{%- endif -%}", "{{ a }}" * 50],
)
def test_what_templates_usually_say_is_quick(source: str) -> None:
    assert quick(source)


def test_recipients_with_variables_of_their_own_are_measured_up_to_a_number() -> None:
    fit, parts = PushFit(Renderer(), None, {"a": "b"}), Content(title="Hi", body="{{ a }}")
    told = [fit.problem(parts, None, {"a": "b" * 4096}) is not None for _ in range(OWN_RENDERINGS + 5)]
    assert told == [True] * OWN_RENDERINGS + [False] * 5
    assert fit.problem(parts, None, None) is None


def test_the_app_gets_the_same_data_from_every_provider() -> None:
    options = PushOptions(
        data={"click_url": "the caller's own", "notification_id": "not this one"},
        click_url="https://shop.example/",
        actions=(PushAction(id="a", title="Ä"),),
    )
    assert payload_data(options, "ntf_1") == {
        "click_url": "the caller's own",
        "actions": '[{"id": "a", "title": "Ä"}]',
        "notification_id": "ntf_1",
    }
