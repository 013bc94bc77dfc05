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
        ("", ""),
        ("no html", "no html"),
    ],
)
def test_html_reads_well_as_text(html: str, plain: str) -> None:
    assert html_to_text(html) == plain


@given(st.text(alphabet="<>/abliuprehf='\" !-&;\n", max_size=60))
def test_no_html_is_too_broken(html: str) -> None:
    assert "\r" not in html_to_text(html)
