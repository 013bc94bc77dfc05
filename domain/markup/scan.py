"""What a text may hold for Liquid's own parser to see it, decided in time linear in its length.

The parser looks for the end of each tag with expressions that backtrack: what is never closed, or holds long runs of
spaces or brackets, costs it the square of its length and more (200 kB of "{{": hours). And syntax trees are walked by
recursion. So tags must be closed, short, shallow and few before anybody parses them.
"""

import re

from domain.errors import TemplateLimitExceeded, TemplateSyntaxError

MAX_SOURCE = 256 * 1024
"""Characters in one text of a template."""
MAX_CODE = 16 * 1024
"""Characters of it that stand in tags and outputs. This much compiles in some 30 ms."""
MAX_TAG = 4_000
"""Characters in one tag or output."""
MAX_SPACES = 100
"""Spaces in a row within a tag or output."""
MAX_NESTING = 100
"""Brackets and operators in one tag, or in one line of a `liquid` tag: any of them may open a further level."""

_OPENING = re.compile(r"\{[{%]")
_VERBATIM = re.compile(r"\{%-?\s*+(raw|doc)\s*+-?%\}")
_VERBATIM_END = {name: re.compile(rf"\{{%-?\s*+end{name}\s*+-?%\}}") for name in ("raw", "doc")}
_LIQUID = re.compile(r"-?\s*+liquid\b")
_LEVEL = re.compile(r"[\[(]|[=!<>]+|\b(?:and|or|contains)\b")
_SPACES = re.compile(rf"\s{{{MAX_SPACES + 1}}}")


def scan(source: str) -> None:
    """Raises `TemplateSyntaxError` for a tag that is never closed, `TemplateLimitExceeded` for too much of anything."""
    if len(source) > MAX_SOURCE:
        raise TemplateLimitExceeded(f"The text is longer than {MAX_SOURCE:,} characters.")
    code = at = 0
    while (opening := _OPENING.search(source, at)) is not None:
        start = opening.start()
        verbatim = _VERBATIM.match(source, start)
        at = _end_of_tag(source, start) if verbatim is None else _end_of_verbatim(source, start, verbatim)
        if verbatim is None:
            _check_tag(source, start, at)
            code += at - start
        if code > MAX_CODE:
            raise TemplateLimitExceeded(f"The text has more than {MAX_CODE:,} characters of tags and outputs.")


def position(source: str, index: int) -> tuple[int, int]:
    """Line and column of an index, both from 1."""
    before = source[:index]
    return before.count("\n") + 1, index - (before.rfind("\n") + 1) + 1


def _end_of_tag(source: str, start: int) -> int:
    closing = "}}" if source[start + 1] == "{" else "%}"
    end = source.find(closing, start + 2)
    if end < 0:
        raise TemplateSyntaxError(f"expected '{closing}', found end of file", *position(source, start))
    return end + 2


def _end_of_verbatim(source: str, start: int, opened: re.Match[str]) -> int:
    end = _VERBATIM_END[opened[1]].search(source, opened.end())
    if end is None:
        raise TemplateSyntaxError(f"tag {opened[1]!r} is never closed", *position(source, start))
    return end.end()


def _check_tag(source: str, start: int, end: int) -> None:
    if end - start <= MAX_SPACES:  # too short to break any of the limits
        return
    if end - start > MAX_TAG:
        raise _too_much(source, start, f"is longer than {MAX_TAG:,} characters")
    tag = source[start + 2 : end - 2]
    if _SPACES.search(tag):
        raise _too_much(source, start, f"has more than {MAX_SPACES} spaces in a row")
    for expression in tag.splitlines() if _LIQUID.match(tag) else [tag]:
        if len(_LEVEL.findall(expression)) > MAX_NESTING:
            raise _too_much(source, start, f"has more than {MAX_NESTING} brackets and operators")


def _too_much(source: str, start: int, what: str) -> TemplateLimitExceeded:
    line, column = position(source, start)
    return TemplateLimitExceeded(f"The tag at line {line}, column {column} {what}.")
