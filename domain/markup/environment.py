"""Liquid with bounds: python-liquid, strict about names, unable to run, print or remember without end.

Templates come from people who may send, not only from those who operate. So every way to blow up has a bound: the
source (`domain.markup.scan`), block nesting, loop iterations, output, local names, the operands and the result of every
filter (`domain.markup.filters`), and time.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from time import monotonic, thread_time
from typing import Any, TextIO

from liquid import BoundTemplate, Environment, FalsyStrictUndefined
from liquid.builtin.tags.case_tag import CaseNode, CaseTag, MultiExpressionBlockNode
from liquid.builtin.tags.for_tag import ForLoop
from liquid.builtin.tags.tablerow_tag import TableRow
from liquid.context import RenderContext
from liquid.exceptions import LiquidError, LocalNamespaceLimitError, ResourceLimitError
from liquid.output import LimitedStringIO
from liquid.token import Token

from domain.markup.filters import MAX_ITERATIONS, MAX_OUTPUT, bounded_filters
from domain.markup.scan import MAX_SOURCE

__all__ = ["MAX_OUTPUT", "MAX_SOURCE", "BoundedEnvironment", "Budget", "LimitedTemplate"]

MAX_LOCALS = 200
MAX_SECONDS = 1.0

_PARTIALS = ("include", "render")
_UNDEFINED_HINT = re.compile(r"'?(.*?)'? is undefined", re.DOTALL)


class Undefined(FalsyStrictUndefined):
    """Usable in `if`, comparisons and `default`; anything else raises. `msg` is the name alone, as a dotted path."""

    def __init__(self, name: str, *, token: Token | None, obj: object = None, hint: str | None = None) -> None:
        super().__init__(name, token=token, obj=obj, hint=hint)
        found = _UNDEFINED_HINT.fullmatch(hint or "")
        self.msg = found.group(1) if found else name


class Budget:
    """The time that one rendering may take, all its texts together: `MAX_SECONDS` of this thread's own work.

    A machine that is busy with something else must not make a good template fail.
    """

    __slots__ = ("_until", "_worked_until")

    def __init__(self) -> None:
        self._until = monotonic() + MAX_SECONDS
        self._worked_until = thread_time() + MAX_SECONDS

    def spent(self) -> bool:
        """Whether it is used up."""
        # The thread's clock is slow to read, and never ahead of the other.
        return monotonic() > self._until and thread_time() > self._worked_until


class Context(RenderContext):
    """A render context that also counts names and looks at the clock."""

    __slots__ = ("_budget",)

    def __init__(self, template: BoundTemplate, variables: Mapping[str, Any], budget: Budget) -> None:
        super().__init__(template, globals=variables)
        self._budget = budget

    def get(self, path: list[object], *, token: Token | None, **kwargs: Any) -> object:
        """Resolve a path, unless time is up."""
        self.check_time(token)
        return super().get(path, token=token, **kwargs)

    def assign(self, key: str, val: Any) -> None:
        """Keep a name, unless there are too many (the cost of keeping one grows with their number).

        Nor a range that no loop could go through: looking for something in it would go through all of it.
        """
        if isinstance(val, range) and len(val) > MAX_ITERATIONS:
            raise ResourceLimitError(f"a range of more than {MAX_ITERATIONS:,} numbers", token=None)
        if len(self.locals) >= MAX_LOCALS and key not in self.locals:
            raise LocalNamespaceLimitError(f"more than {MAX_LOCALS} names", token=None)
        super().assign(key, val)

    def filter(self, name: str, token: Token | None) -> Callable[..., object]:
        """Look up a filter, unless time is up."""
        self.check_time(token)
        return super().filter(name, token)

    def cycle(self, key: object, length: int) -> int:
        """Take the next turn of a cycle. Groups are remembered by their hash: their names may be long and many."""
        return super().cycle(hash(key), length)

    def get_buffer(self, buf: TextIO | None = None) -> LimitedStringIO:
        """What a block is written to: as much as its own buffer has left."""
        used = buf.size if isinstance(buf, LimitedStringIO) else 0
        return _buffer(MAX_OUTPUT - used)

    @contextmanager
    def loop(self, namespace: Mapping[str, object], forloop: ForLoop | TableRow) -> Iterator[RenderContext]:
        """Enter a loop whose every iteration looks at the clock."""
        forloop.it = self._timed(forloop.it)
        with super().loop(namespace, forloop) as context:
            yield context

    def _timed(self, items: Iterator[Any]) -> Iterator[Any]:
        for item in items:
            self.check_time()
            yield item

    def check_time(self, token: Token | None = None) -> None:
        """Raises when rendering has taken too long."""
        if self._budget.spent():
            raise ResourceLimitError(f"rendering took longer than {MAX_SECONDS:g} s", token=token)


def _buffer(limit: int) -> LimitedStringIO:
    # Without newline="" it would turn every CR into LF.
    return LimitedStringIO(limit=limit, newline="")


class LimitedTemplate(BoundTemplate):
    """A template that renders in a `Context`."""

    def render_mapping(self, variables: Mapping[str, Any], budget: Budget) -> str:
        """Render without copying `variables`."""
        context = Context(self, variables, budget)
        buffer = _buffer(MAX_OUTPUT)
        self.render_with_context(context, buffer)
        return buffer.getvalue()


class _OnceCaseNode(CaseNode):
    """`case`, whose blocks are rendered once, however many of their values match.

    The library renders them once for each: ten nested `when 1, 1, 1, 1` are a million.
    """

    def render_to_output(self, context: RenderContext, buffer: TextIO) -> int:
        """Every `when` that matches; `else` if none did before."""
        written, matched = 0, False
        for block in self.blocks:
            if not isinstance(block, MultiExpressionBlockNode):
                written += 0 if matched else block.render(context, buffer)
            elif any(block.expression.evaluate(context)):
                matched = True
                written += block.block.render(context, buffer)
        return written


class _OnceCaseTag(CaseTag):
    node_class = _OnceCaseNode


class BoundedEnvironment(Environment):
    """The one dialect of all templates; `html` escapes what is put in."""

    loop_iteration_limit = MAX_ITERATIONS
    local_namespace_limit = MAX_OUTPUT
    output_stream_limit = MAX_OUTPUT
    template_class = LimitedTemplate

    def __init__(self, *, html: bool) -> None:
        super().__init__(undefined=Undefined, autoescape=html)
        for tag in _PARTIALS:
            del self.tags[tag]
        self.add_tag(_OnceCaseTag)
        self.filters = bounded_filters(self.filters)

    def error(self, exc: type[LiquidError] | LiquidError, msg: str | None = None, token: Token | None = None) -> None:
        """Raise it, with the place where the parser stood if it has none of its own."""
        if isinstance(exc, LiquidError) and exc.token is not None and exc.token.start_index < 0:
            exc.token = token
        super().error(exc, msg, token)
