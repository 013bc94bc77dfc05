"""Rendering: what holds whatever the variables are. They come from callers who pass on what strangers wrote."""

from copy import deepcopy
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import TemplateError, UndefinedVariable
from domain.markup.text import Compiler
from domain.notification import Channel
from domain.template import Content, Renderer, TemplateLocale, missing

NAMES = ("a", "b", "c")
HOSTILE = st.sampled_from(
    [
        "<script>alert(1)</script>",
        "\"><img src=x onerror='x'>",
        "' onclick='x",
        "</p></title></style>",
        "<!--",
        "]]>",
        "&lt;b&gt;&amp;lt;",
        "{{ secret }}",
        "{% for i in (1..9) %}{{ i }}{% endfor %}",
        "{% raw %}",
        "%}{{",
        "{{ b | safe }}",
        "\r\nBcc: eve@example.com",
        "\u2028\u2029\x85\x00",
        "${x}",
        "javascript:x",
        "\ue0000\ue001",
    ]
)
TEXTS = HOSTILE | st.text(max_size=12) | st.lists(HOSTILE | st.text(max_size=4), max_size=3).map("".join)
VALUES = st.recursive(
    TEXTS | st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS | st.sampled_from(NAMES), inner, max_size=3),
    max_leaves=8,
)
VARIABLES = st.fixed_dictionaries(dict.fromkeys(NAMES, VALUES))
STRINGS = st.fixed_dictionaries(dict.fromkeys(NAMES, TEXTS))


class Outline(HTMLParser):
    """The tags of a document with their attributes' names, and what attributes and text say."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, tuple[str, ...]]] = []
        self.values: list[str] = []
        self.comments: list[str] = []
        self.words = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(name for name, _ in attrs)))
        self.values += [value or "" for _, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        self.tags.append((f"/{tag}", ()))

    def handle_data(self, data: str) -> None:
        self.words += data

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)


def render_html(source: str, variables: dict[str, Any]) -> str:
    html = Renderer().render(Content(subject="s", html=source), variables, channel=Channel.EMAIL).html
    assert html is not None
    return html


# ---------------------------------------------------------------------------------------------------------- escaping


@given(STRINGS)
def test_a_string_is_read_in_html_as_it_was_given_and_is_nothing_else(variables: dict[str, str]) -> None:
    outline = Outline(render_html("<p title=\"{{ a }}\" lang='{{ b }}'>{{ c }}</p>", variables))
    assert outline.tags == [("p", ("title", "lang")), ("/p", ())]
    assert (outline.values, outline.words) == ([variables["a"], variables["b"]], variables["c"])
    assert not outline.comments


IN_HTML = [
    "{{ a }}",
    "{{ a.b }}{{ a['<i>'] }}",
    "{{ a | upcase }}{{ b | downcase }}{{ c | capitalize }}",
    "{{ a | append: b }}{{ a | prepend: '<i>' | size }}",
    "{{ a | escape }}{{ a | escape_once }}{{ a | url_encode }}{{ a | escapejs }}",
    "{{ a | url_decode }}",
    "{{ a | base64_encode | base64_decode }}",
    "{{ a | strip_html }}{{ a | strip_newlines }}{{ a | strip }}{{ a | squish }}",
    "{{ a | truncate: 5, b }}{{ a | truncatewords: 1, b }}{{ a | slice: 0, 3 }}",
    "{{ a | replace: 'x', b }}{{ a | replace_first: '', b }}{{ a | replace_last: '>', b }}{{ a | remove_last: '<' }}",
    "{{ a | split: ' ' | join: b }}{{ a | split: '' | reverse | join: '' }}{{ a | split: '' | uniq | sort | join }}",
    "{{ a | default: b }}{{ a | first }}{{ a | last }}{{ a | date: b }}{{ a | sum }}",
    "{% assign x = a %}{{ x }}{% capture y %}{{ a }}{% endcapture %}{{ y }}",
    "{% for x in a %}{{ x }}{{ forloop.index }}{% endfor %}",
    "{% if a == b %}{{ a }}{% elsif a contains 'x' %}{{ b }}{% else %}{{ c }}{% endif %}",
    "{% case a %}{% when b %}{{ b }}{% else %}{{ a }}{% endcase %}",
    "{% cycle a, b %}{% cycle a: b, c %}{% echo a %}",
    "{% liquid\necho a\nassign z = b | append: c\necho z %}",
]


@pytest.mark.parametrize("source", IN_HTML)
@given(variables=VARIABLES)
def test_no_value_adds_markup_whatever_is_done_with_it(source: str, variables: dict[str, Any]) -> None:
    try:
        html = render_html(f'<p title="{source}">{source}</p>', variables)
    except TemplateError:  # a filter that does not take this value
        return
    outline = Outline(html)
    assert outline.tags == [("p", ("title",)), ("/p", ())]
    assert not outline.comments
    assert "<" not in html[1:-4].partition(">")[2]


# ------------------------------------------------------------------------------------------------------- never Liquid


@given(STRINGS)
def test_liquid_in_a_variable_is_only_text(variables: dict[str, str]) -> None:
    given_ = {**variables, "secret": "S3CRET"}
    parts = TemplateLocale(
        locale="en", text="{{ a }}|{{ b | append: c }}", subject="s", title="t", body="{{ a }}", data={"k": "{{ b }}"}
    )
    mail, push = (Renderer().render(parts, given_, channel=channel) for channel in (Channel.EMAIL, Channel.PUSH))
    assert mail.text == f"{variables['a']}|{variables['b']}{variables['c']}"
    assert (push.body, push.data) == (variables["a"], {"k": variables["b"]})


@given(VARIABLES)
def test_a_subject_a_title_and_an_address_are_one_line(variables: dict[str, Any]) -> None:
    source = "{{ a }} {{ b }}{% for x in c %}{{ x }}{% endfor %}"
    parts = TemplateLocale(locale="en", subject=source, text="t", title=source, image_url=source)
    mail, push = (Renderer().render(parts, variables, channel=channel) for channel in (Channel.EMAIL, Channel.PUSH))
    for line in (mail.subject, push.title, push.image_url):
        assert line is not None
        assert len(line.splitlines()) <= 1
        assert not any(ord(letter) < 32 or 127 <= ord(letter) < 160 for letter in line)


# --------------------------------------------------------------------------------------------------------- variables

PATHS = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map(".".join)
WORDS = st.text(alphabet="xy <>&\n", max_size=5)
OUTPUTS = PATHS.map("{{{{ {} }}}}".format)
FILTERED = st.builds("{{{{ {} | append: {} }}}}".format, PATHS, PATHS)
DEFAULTS = st.builds("{{{{ {} | default: {} }}}}".format, PATHS, PATHS)
BLOCKS = st.builds("{{% {0} {1} %}}{2}{{% end{0} %}}".format, st.sampled_from(["if", "unless"]), PATHS, OUTPUTS | WORDS)
LOOPS = st.builds("{{% for x in {0} %}}{1}{{% endfor %}}".format, PATHS, OUTPUTS | WORDS)
CASES = st.builds("{{% case {0} %}}{{% when {1} %}}{2}{{% endcase %}}".format, PATHS, PATHS, OUTPUTS)
ASSIGNED = st.builds("{{% assign x = {0} %}}{1}{{{{ x }}}}".format, PATHS, OUTPUTS)
SOURCES = st.lists(WORDS | OUTPUTS | FILTERED | DEFAULTS | BLOCKS | LOOPS | CASES | ASSIGNED, max_size=5).map("".join)
NESTED = st.recursive(
    st.text(max_size=3) | st.integers(-9, 9),
    lambda inner: st.dictionaries(st.sampled_from(NAMES), inner, max_size=3) | st.lists(inner, max_size=2),
    max_leaves=9,
)
SOME_VARIABLES = st.dictionaries(st.sampled_from(NAMES), NESTED, max_size=3)


@given(SOURCES, SOME_VARIABLES, st.booleans())
def test_whoever_gives_what_is_required_is_told_of_no_undefined_variable(
    source: str, variables: dict[str, Any], html: bool
) -> None:
    compiled = Compiler().compile(source, html=html)
    if missing(compiled.required, variables):
        return
    try:
        compiled.render(variables)
    except UndefinedVariable as error:
        raise AssertionError(error.name) from error
    except TemplateError:  # a loop over what is no list, say
        return


@given(st.lists(PATHS, min_size=1, max_size=4, unique=True), st.data())
def test_the_one_variable_that_is_missing_is_the_one_that_is_named(paths: list[str], data: st.DataObject) -> None:
    source = " ".join(f"{{{{ {path} }}}}" for path in paths)
    absent = data.draw(st.sampled_from(paths))
    variables: dict[str, Any] = {}
    for path in paths:
        if path != absent and not path.startswith(f"{absent}."):
            put(variables, path)
    if missing([absent], variables) == ():  # it leads to another one, which is there
        return
    with pytest.raises(UndefinedVariable) as caught:
        Compiler().compile(source, html=False).render(variables)
    assert f"{absent}.".startswith(f"{caught.value.name}.")  # it, or what it would be in


def put(variables: dict[str, Any], path: str) -> None:
    """Give it a value, and all that it is in too."""
    *rooms, name = path.split(".")
    for room in rooms:
        variables = variables.setdefault(room, {})
        if not isinstance(variables, dict):
            return
    variables.setdefault(name, {})


@given(SOURCES, SOME_VARIABLES, st.booleans())
def test_an_undefined_variable_is_one_that_was_used_and_not_given(
    source: str, variables: dict[str, Any], html: bool
) -> None:
    compiled = Compiler().compile(source, html=html)
    try:
        compiled.render(variables)
    except UndefinedVariable as caught:
        error = caught
    except TemplateError:
        return
    else:
        return
    assert error.name.partition(".")[0].partition("[")[0] in NAMES
    assert missing(compiled.required, variables)


# --------------------------------------------------------------------------------------------------------- no memory


@given(SOURCES, SOME_VARIABLES)
def test_rendering_twice_is_the_same_and_changes_no_variable(source: str, variables: dict[str, Any]) -> None:
    renderer, before = Renderer(), deepcopy(variables)
    parts = Content(subject=source, html=source, title=source, body=source)
    for channel in Channel:
        first = outcome(renderer, parts, variables, channel)
        assert outcome(renderer, parts, variables, channel) == first
        assert outcome(Renderer(), parts, variables, channel) == first
    assert variables == before


def outcome(renderer: Renderer, parts: Content, variables: dict[str, Any], channel: Channel) -> str:
    """What comes out, or why not."""
    try:
        return repr(renderer.render(parts, variables, channel=channel))
    except TemplateError as error:
        return repr(error)
