"""Plain text out of HTML, for the text part of a mail that has only HTML.

Keeps what a reader needs: paragraphs, headings, lists, the addresses of links, the descriptions of images.
"""

import re
from html.parser import HTMLParser

_INVISIBLE = frozenset({"head", "style", "script", "title", "template", "noscript", "svg"})
_PARAGRAPHS = frozenset({"p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "blockquote", "pre", "table", "dl"})
_LINES = frozenset(
    {"div", "tr", "li", "br", "section", "article", "header", "footer", "main", "nav", "address", "dt", "dd", "center"}
)
_SPACE = re.compile(r"[ \t\r\n\f]+")
_PADDING = re.compile(r"[\u200b-\u200f\u034f\u00ad\ufeff]+")
_SCHEMES = ("mailto:", "tel:")


def html_to_text(html: str) -> str:
    """Readable plain text, without a trailing newline. Never raises, whatever the HTML."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    return reader.text()


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._lines: list[str] = []
        self._line = ""
        self._hidden = 0
        self._verbatim = 0
        self._lists: list[int | None] = []
        self._links: list[tuple[str, int]] = []

    def text(self) -> str:
        self._break()
        return "\n".join(self._lines).strip("\n")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        if tag in _INVISIBLE:
            self._hidden += 1
        elif tag == "img":
            self._say(attributes.get("alt", ""))
        elif tag == "hr":
            self._paragraph()
            self._say("---")
            self._paragraph()
        elif tag in {"td", "th"}:
            self._space()
        elif tag == "a":
            self._links.append((attributes.get("href", "").strip(), len(self._line)))
        else:
            self._open_block(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        # "<script/>" does not hide the rest of the page.
        if tag not in _INVISIBLE:
            self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if tag in _INVISIBLE:
            self._hidden = max(0, self._hidden - 1)
        elif tag == "a" and self._links:
            self._end_link(*self._links.pop())
        else:
            self._close_block(tag)

    def handle_data(self, data: str) -> None:
        if self._hidden:
            return
        if not self._verbatim:
            self._say(data)
            return
        first, *rest = data.split("\n")
        self._line += first
        for line in rest:
            self._break(keep_empty=True)
            self._line = line

    def _open_block(self, tag: str) -> None:
        if tag in _PARAGRAPHS and not self._lists:
            self._paragraph()
        elif tag in _PARAGRAPHS or tag in _LINES:
            self._break(keep_empty=tag == "br")
        if tag in {"ul", "ol"}:
            self._lists.append(1 if tag == "ol" else None)
        elif tag == "li":
            self._line = self._bullet()
        elif tag == "pre":
            self._verbatim += 1

    def _close_block(self, tag: str) -> None:
        if tag in {"ul", "ol"} and self._lists:
            self._lists.pop()
        elif tag == "pre":
            self._verbatim = max(0, self._verbatim - 1)
        if tag in _PARAGRAPHS and not self._lists:
            self._paragraph()
        elif (tag in _PARAGRAPHS or tag in _LINES) and tag != "br":
            self._break()

    def _bullet(self) -> str:
        indent = "  " * (len(self._lists) - 1)
        number = self._lists[-1] if self._lists else None
        if number is None:
            return f"{indent}- "
        self._lists[-1] = number + 1
        return f"{indent}{number}. "

    def _end_link(self, address: str, started: int) -> None:
        shown = self._line[started:].strip()
        bare = address
        for scheme in _SCHEMES:
            bare = bare.removeprefix(scheme)
        if address and not address.startswith("#") and shown not in {address, bare}:
            self._say(f" ({bare})" if self._line.strip() else bare)

    def _say(self, words: str) -> None:
        words = _SPACE.sub(" ", _PADDING.sub("", words))
        if not self._line or self._line.endswith(" "):
            words = words.removeprefix(" ")
        if not self._hidden:
            self._line += words

    def _space(self) -> None:
        if self._line and not self._line.endswith(" "):
            self._line += " "

    def _break(self, keep_empty: bool = False) -> None:
        line = self._line.rstrip()
        if line or keep_empty:
            self._lines.append(line)
        self._line = ""

    def _paragraph(self) -> None:
        self._break()
        if self._lines and self._lines[-1]:
            self._lines.append("")
