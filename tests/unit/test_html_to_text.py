"""Plain text out of HTML reads well."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.markup.html import html_to_text


@pytest.mark.parametrize(
    ("html", "plain"),
    [
        ("<p>One</p><p>Two</p>", "One\n\nTwo"),
        ("<h1>Title</h1>  <p>a\n   b</p>", "Title\n\na b"),
        ("a<br>b<br/><br/>c", "a\nb\n\nc"),
        ("<a href='https://x.test'>Go</a> now", "Go (https://x.test) now"),
        ("<a href='https://x.test'>https://x.test</a>", "https://x.test"),
        ("<a href='mailto:a@x.test'>a@x.test</a>", "a@x.test"),
        ("<a href='https://x.test'><img src='b.png' alt='Buy'></a>", "Buy (https://x.test)"),
        ("<a href='#top'>Top</a>", "Top"),
        ("<ul><li>a</li><li>b<ul><li>c</li></ul></li></ul><p>d</p>", "- a\n- b\n  - c\n\nd"),
        ("<ol><li>a<li>b</ol>", "1. a\n2. b"),
        ("<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>", "a b\nc"),
        ("<style>p{}</style><script>x()</script><title>t</title>Hi", "Hi"),
        ("x<hr>y", "x\n\n---\n\ny"),
        ("<pre>a\n  b</pre>", "a\n  b"),
        ("a &amp; b &lt;c&gt; &eacute;", "a & b <c> é"),
        ("<div>a<div>b</div></div>", "a\nb"),
        ("<a href=x>one <a href=y>two</a>", "one (x)two (y)"),
        ("<A HREF = 'x' title=\"a>b\">Go</A>", "Go (x)"),
        ("<p don't=1>a</p>b", "a\n\nb"),
        ("1 < 2 <3 </ 4> a<b", "1 < 2 <3 a"),
        ("a<!-- <p> -->b<!DOCTYPE x>c<?php x?>d", "abcd"),
        ("<script>if (a<b) '</p>'</SCRIPT >x", "x"),
        ("<script/>x", "x"),
        ("a<br title='never closed", "a"),
        ("a<!-- never closed", "a"),
        ("<img alt='A &amp; B' src=x>", "A & B"),
        ("", ""),
        ("no html", "no html"),
    ],
)
def test_html_reads_well_as_text(html: str, plain: str) -> None:
    assert html_to_text(html) == plain


@given(st.text(alphabet="<>/abliuprehf='\" !-&;\n", max_size=60))
def test_no_html_is_too_broken(html: str) -> None:
    assert "\r" not in html_to_text(html)


HUGE = 250_000
BROKEN = {
    "angles": "<" * HUGE,
    "comments": "<!--" * (HUGE // 4),
    "declarations": "<![" * (HUGE // 3),
    "instructions": "<?" * (HUGE // 2),
    "ends": "</" * (HUGE // 2),
    "starts": "<a " * (HUGE // 3),
    "quotes": "<a x='" * (HUGE // 6),
    "both quotes": "<a x=\"'" * (HUGE // 7),
    "equal signs": "<a" + " = " * (HUGE // 3) + ">",
    "attributes": "<a" + " b=c" * (HUGE // 4) + " href=x>y</a>",
    "scripts": "<script>" * (HUGE // 8),
    "ends of a script": "<script>" + "</scrip" * (HUGE // 7),
    "entities": "&" + "a" * 40 + "&#" + "1" * HUGE,
    "links": "<a href=x>y" * (HUGE // 11),
    "links that all end": "<a href=x>y" * (HUGE // 22) + "</a>" * (HUGE // 22),
    "pieces": "<b>a" * (HUGE // 4),
    "spaces": "<p" + " " * HUGE,
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_html_takes_no_longer_than_other_html(name: str) -> None:
    """What is not linear takes minutes or hours here, and fails by never ending."""
    assert len(html_to_text(BROKEN[name])) <= 2 * HUGE


def test_lists_within_lists_are_not_indented_without_end() -> None:
    nested = html_to_text("<ul><li>a" * 20_000)
    assert nested.endswith("\n" + "  " * 10 + "- a")
    assert len(nested) < 600_000
