"""Plain text out of HTML, for the text part of a mail that has only HTML.

Keeps what a reader needs: paragraphs, headings, lists, the addresses of links, the descriptions of images.
"""

import re

from domain.markup.tokens import Close, Open, Text, tokens

_INVISIBLE = frozenset({"head", "style", "script", "title", "template", "noscript", "svg"})
_PARAGRAPHS = frozenset({"p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "blockquote", "pre", "table", "dl"})
_LINES = frozenset(
    {"div", "tr", "li", "br", "section", "article", "header", "footer", "main", "nav", "address", "dt", "dd", "center"}
)
_SPACE = re.compile(r"[ \t\r\n\f]+")
_PADDING = re.compile(r"[\u200b-\u200f\u034f\u00ad\ufeff]+")
_SCHEMES = ("mailto:", "tel:")
_DEEPEST = 10
"""Lists within lists are indented no further: the indentation of each line would grow with their number."""


def html_to_text(html: str) -> str:
    """Readable plain text, without a trailing newline. Never raises, whatever the HTML, and takes linear time."""
    reader = _Reader()
    for token in tokens(html):
        match token:
            case Text():
                reader.read(token.words)
            case Open():
                reader.open(token)
            case Close():
                reader.close(token.name)
    return reader.text()


class _Line:
    """The line being written: its pieces, so that adding one does not copy the others."""

    def __init__(self, start: str = "") -> None:
        self.pieces = [start] if start else []
        self.empty = not start.strip()

    def add(self, words: str) -> None:
        if words:
            self.pieces.append(words)
            self.empty = self.empty and not words.strip()

    def ends_with_space(self) -> bool:
        return not self.pieces or self.pieces[-1].endswith(" ")


class _Reader:
    def __init__(self) -> None:
        self._lines: list[str] = []
        self._line = _Line()
        self._hidden = 0
        self._verbatim = 0
        self._lists: list[int | None] = []
        self._link: tuple[str, int] | None = None

    def text(self) -> str:
        self._break()
        return "\n".join(self._lines).strip("\n")

    def open(self, tag: Open) -> None:
        name = tag.name
        if name in _INVISIBLE:
            self._hidden += not tag.closed
        elif name == "img":
            self._say(tag.attribute("alt"))
        elif name == "hr":
            self._paragraph()
            self._say("---")
            self._paragraph()
        elif name in {"td", "th"}:
            self._space()
        elif name == "a":
            self._end_link()  # one link cannot stand in another
            self._link = tag.attribute("href").strip(), len(self._line.pieces)
        else:
            self._open_block(name)

    def close(self, name: str) -> None:
        if name in _INVISIBLE:
            self._hidden = max(0, self._hidden - 1)
        elif name == "a":
            self._end_link()
        else:
            self._close_block(name)

    def read(self, words: str) -> None:
        if self._hidden:
            return
        if not self._verbatim:
            self._say(words)
            return
        first, *rest = words.split("\n")
        self._line.add(first)
        for line in rest:
            self._break(keep_empty=True)
            self._line.add(line)

    def _open_block(self, name: str) -> None:
        if name in _PARAGRAPHS and not self._lists:
            self._paragraph()
        elif name in _PARAGRAPHS or name in _LINES:
            self._break(keep_empty=name == "br")
        if name in {"ul", "ol"}:
            self._lists.append(1 if name == "ol" else None)
        elif name == "li":
            self._line = _Line(self._bullet())
        elif name == "pre":
            self._verbatim += 1

    def _close_block(self, name: str) -> None:
        if name in {"ul", "ol"} and self._lists:
            self._lists.pop()
        elif name == "pre":
            self._verbatim = max(0, self._verbatim - 1)
        if name in _PARAGRAPHS and not self._lists:
            self._paragraph()
        elif (name in _PARAGRAPHS or name in _LINES) and name != "br":
            self._break()

    def _bullet(self) -> str:
        indent = "  " * min(len(self._lists) - 1, _DEEPEST)
        number = self._lists[-1] if self._lists else None
        if number is None:
            return f"{indent}- "
        self._lists[-1] = number + 1
        return f"{indent}{number}. "

    def _end_link(self) -> None:
        if self._link is None:
            return
        address, started = self._link
        self._link = None
        shown = "".join(self._line.pieces[started:]).strip()
        bare = address
        for scheme in _SCHEMES:
            bare = bare.removeprefix(scheme)
        if address and not address.startswith("#") and shown not in {address, bare}:
            self._say(bare if self._line.empty else f" ({bare})")

    def _say(self, words: str) -> None:
        if self._hidden:
            return
        words = _SPACE.sub(" ", _PADDING.sub("", words))
        if self._line.ends_with_space():
            words = words.removeprefix(" ")
        self._line.add(words)

    def _space(self) -> None:
        if not self._line.ends_with_space():
            self._line.add(" ")

    def _break(self, keep_empty: bool = False) -> None:
        line = "".join(self._line.pieces).rstrip()
        if line or keep_empty:
            self._lines.append(line)
        self._line = _Line()

    def _paragraph(self) -> None:
        self._break()
        if self._lines and self._lines[-1]:
            self._lines.append("")
