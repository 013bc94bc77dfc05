"""HTML taken apart in time linear in its length, whatever it is.

The standard library's parser takes quadratic time on what is never closed (a megabyte of "<a" is hours) and raises on
some declarations. Where HTML is broken this does what browsers do: what is never closed swallows the rest.
"""

import re
from collections.abc import Iterator
from html import unescape
from typing import NamedTuple

_RAW = frozenset({"script", "style"})
"""Elements whose content is no HTML."""
_START = re.compile(r"<(?:(?P<comment>!--)|(?P<odd>[!?]|/(?![A-Za-z]))|(?P<close>/?)(?P<name>[A-Za-z][^\s/>]*+))")
_REST = re.compile(r"(?:[^>=]++|=\s*+(?:\"[^\"]*\"|'[^']*')?+)*+>")
_ATTRIBUTE = re.compile(r"([^\s/=>]++)\s*+(?:=\s*+(?:\"([^\"]*)\"|'([^']*)'|([^\s>]*+)))?+")
_RAW_END = {name: re.compile(rf"</{name}\b[^>]*+>", re.IGNORECASE) for name in _RAW}


class Text(NamedTuple):
    """Words, with their entities read."""

    words: str


class Open(NamedTuple):
    """A start tag. `rest` are its attributes as they were written."""

    name: str
    rest: str

    @property
    def closed(self) -> bool:
        """Whether it closes itself: `<br/>`."""
        return self.rest.endswith("/")

    def attribute(self, name: str) -> str:
        """Its value; empty where there is none."""
        for found in _ATTRIBUTE.finditer(self.rest):
            if found[1].lower() == name:
                return _words(found[2] or found[3] or found[4] or "")
        return ""


class Close(NamedTuple):
    """An end tag."""

    name: str


Token = Text | Open | Close


def tokens(html: str) -> Iterator[Token]:
    """Words and tags in their order; comments, declarations and what scripts and styles hold are left out."""
    at = 0
    while (start := _START.search(html, at)) is not None:
        if start.start() > at:
            yield Text(_words(html[at : start.start()]))
        if start["name"] is None:
            at = _after(html, "-->" if start["comment"] else ">", start.end())
            continue
        rest = _REST.match(html, start.end())
        if rest is None:
            return
        at = rest.end()
        name = start["name"].lower()
        if start["close"]:
            yield Close(name)
            continue
        tag = Open(name, rest[0][:-1])
        yield tag
        if name in _RAW and not tag.closed:
            found = _RAW_END[name].search(html, at)
            at = len(html) if found is None else found.start()
    if at < len(html):
        yield Text(_words(html[at:]))


def _after(html: str, closing: str, at: int) -> int:
    found = html.find(closing, at)
    return len(html) if found < 0 else found + len(closing)


def _words(text: str) -> str:
    """The text with its entities read."""
    try:
        return unescape(text)
    except ValueError:  # the number of a character with thousands of digits
        return text
