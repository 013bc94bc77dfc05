"""One compiled text: Liquid source made ready to be rendered many times.

Most texts are words with plain `{{ a.b }}` outputs. Those are joined directly, five to ten times as fast as the
library; anything unusual (a value that is missing, a long result) goes through the library after all, so that there
is one behaviour.
"""

import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

from liquid import BoundTemplate, escape
from liquid.ast import Node
from liquid.builtin.content import ContentNode
from liquid.builtin.expressions import FilteredExpression, Path
from liquid.builtin.expressions.logical import ContainsExpression
from liquid.builtin.expressions.primitive import RangeLiteral
from liquid.builtin.output import OutputNode
from liquid.context import RenderContext
from liquid.exceptions import BlockNestingError, LiquidError, ResourceLimitError, UndefinedError
from liquid.expression import Expression
from liquid.stringify import to_liquid_string

from domain.errors import TemplateError, TemplateLimitExceeded, TemplateSyntaxError, UndefinedVariable
from domain.markup.environment import MAX_OUTPUT, BoundedEnvironment, Budget, LimitedTemplate
from domain.markup.html import html_to_text
from domain.markup.names import BUILTIN, Names
from domain.markup.scan import position, scan

Pieces = tuple[str | tuple[str, ...], ...]
"""Words, and between them paths of variables."""

_MARK_OPEN, _MARK_CLOSE = "\ue000", "\ue001"
_MARKS = re.compile(f"{_MARK_OPEN}(\\d+){_MARK_CLOSE}")
_MISSING = object()
_SURPRISES = (ArithmeticError, LookupError, TypeError, ValueError, AttributeError, RecursionError, OSError)
"""What filters raise for operands that they did not expect; OSError is a date that no calendar has."""


class Compiler:
    """Compiles texts. Making one costs a fraction of a millisecond: keep it."""

    def __init__(self) -> None:
        self._plain = BoundedEnvironment(html=False)
        self._html = BoundedEnvironment(html=True)

    def compile(self, source: str, *, html: bool) -> "CompiledText":
        """Raises `TemplateSyntaxError` or `TemplateLimitExceeded`."""
        scan(source)
        environment = self._html if html else self._plain
        try:
            template = environment.from_string(source)
        except BlockNestingError as error:
            raise TemplateLimitExceeded(f"{error.message}.") from error
        except LiquidError as error:
            raise _syntax_error(error, source) from error
        assert isinstance(template, LimitedTemplate)
        if "|" in source or "contains" in source:
            _check_expressions(template, source)
        return CompiledText(source, template, html)


class CompiledText:
    """Immutable. `html` says whether values are escaped."""

    def __init__(self, source: str, template: LimitedTemplate, html: bool) -> None:
        self.source, self.html = source, html
        self._template = template
        self._pieces = _pieces(template)

    def render(self, variables: Mapping[str, Any], budget: Budget | None = None) -> str:
        """Raises `UndefinedVariable`, `TemplateLimitExceeded` or, for a filter's misuse, `TemplateError`.

        Texts that are rendered together share a `budget`.
        """
        if self._pieces is not None:
            text = join(self._pieces, variables, self.html)
            if text is not None:
                return text
        return self.render_by_library(variables, budget)

    def render_by_library(self, variables: Mapping[str, Any], budget: Budget | None = None) -> str:
        """The same without the short cut."""
        try:
            return self._template.render_mapping(variables, budget or Budget())
        except UndefinedError as error:
            raise UndefinedVariable(str(error.message)) from error
        except ResourceLimitError as error:
            raise TemplateLimitExceeded(f"{str(error.message).capitalize()}.") from error
        except LiquidError as error:
            raise TemplateError(f"The template cannot be rendered: {error.message}.") from error
        except _SURPRISES as error:
            raise TemplateError(f"The template cannot be rendered: {error}.") from error

    def render_as_text(self, variables: Mapping[str, Any], rendered: str) -> str:
        """The plain text of this HTML. `rendered` is what `render` answered for the same variables."""
        if self._text_pieces is not None:
            text = join(self._text_pieces, variables, html=False)
            if text is not None:
                return text
        return html_to_text(rendered)

    @property
    def required(self) -> frozenset[str]:
        """Variables that must be given, as dotted paths."""
        return self._names[0]

    @property
    def used(self) -> frozenset[str]:
        """All variables, as dotted paths."""
        return self._names[1]

    @cached_property
    def _names(self) -> tuple[frozenset[str], frozenset[str]]:
        names = Names(self._template)
        return frozenset(names.required), frozenset(names.used)

    @cached_property
    def _text_pieces(self) -> Pieces | None:
        """The pieces of the plain text: HTML is taken apart once, not once for each recipient."""
        if self._pieces is None or _MARK_OPEN in self.source:
            return None
        paths = sorted({piece for piece in self._pieces if isinstance(piece, tuple)})
        marks = {path: f"{_MARK_OPEN}{index}{_MARK_CLOSE}" for index, path in enumerate(paths)}
        skeleton = "".join(piece if isinstance(piece, str) else marks[piece] for piece in self._pieces)
        parts = _MARKS.split(html_to_text(skeleton))
        return tuple(paths[int(part)] if index % 2 else part for index, part in enumerate(parts))


def join(pieces: Pieces, variables: Mapping[str, Any], html: bool) -> str | None:
    """Put values between words; None where only the library knows what is right."""
    parts: list[str] = []
    for piece in pieces:
        if isinstance(piece, str):
            parts.append(piece)
            continue
        value = _resolve(piece, variables)
        if value is _MISSING:
            return None
        if type(value) is str:
            parts.append(str(escape(value)) if html else value)
        else:
            parts.append(str(to_liquid_string(value, html)))
    text = "".join(parts)
    return text if len(text) * 4 <= MAX_OUTPUT else None


def _resolve(path: tuple[str, ...], variables: Mapping[str, Any]) -> Any:
    value: Any = variables
    for name in path:
        if not isinstance(value, Mapping):
            return _MISSING
        value = value.get(name, _MISSING)
    return value


def _pieces(template: BoundTemplate) -> Pieces | None:
    pieces: list[str | tuple[str, ...]] = []
    for node in template.nodes:
        if isinstance(node, ContentNode):
            pieces.append(node.text)
        elif isinstance(node, OutputNode) and (path := _plain_path(node)):
            pieces.append(path)
        else:
            return None
    return tuple(pieces)


def _plain_path(node: OutputNode) -> tuple[str, ...] | None:
    expression = node.expression
    if not isinstance(expression, FilteredExpression) or expression.filters or not isinstance(expression.left, Path):
        return None
    path = expression.left.path
    names = tuple(name for name in path if isinstance(name, str))
    return names if len(names) == len(path) and names[0] not in BUILTIN else None


def _check_expressions(template: BoundTemplate, source: str) -> None:
    """Raises for the first mistake that the library would only find when rendering, too late to tell the author."""
    mistakes = list(_mistakes(template))
    if mistakes:
        index, message = min(mistakes)
        raise TemplateSyntaxError(message, *position(source, index))


def _mistakes(template: BoundTemplate) -> Iterator[tuple[int, str]]:
    for expression in _expressions(template):
        if isinstance(expression, FilteredExpression):
            for used in expression.filters or ():
                if used.name not in template.env.filters:
                    yield used.token.start_index, f"there is no filter {used.name!r}"
        elif isinstance(expression, ContainsExpression) and isinstance(expression.left, RangeLiteral):
            # The library would go through the whole range, however long.
            yield expression.token.start_index, "'contains' takes no range"


def _expressions(template: BoundTemplate) -> Iterator[Expression]:
    context = RenderContext(template)
    nodes: list[Node] = list(template.nodes)
    while nodes:
        node = nodes.pop()
        nodes.extend(node.children(context))
        expressions = list(node.expressions())
        while expressions:
            expression = expressions.pop()
            yield expression
            expressions.extend(expression.children())


def _syntax_error(error: LiquidError, source: str) -> TemplateSyntaxError:
    at = error.token.start_index if error.token is not None else -1
    return TemplateSyntaxError(str(error.message), *position(source, at if at >= 0 else len(source)))
