"""Liquid with bounds: python-liquid, strict about names, unable to run, print or remember without end.

Templates come from people who may send, not only from those who operate. So every way to blow up has a bound: the
source, block nesting, loop iterations, output, local names, the result of every filter, and time.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from time import monotonic
from typing import Any

from liquid import BoundTemplate, Environment, FalsyStrictUndefined
from liquid.builtin.tags.for_tag import ForLoop
from liquid.builtin.tags.tablerow_tag import TableRow
from liquid.context import RenderContext
from liquid.exceptions import LiquidError, LocalNamespaceLimitError, OutputStreamLimitError, ResourceLimitError
from liquid.output import LimitedStringIO
from liquid.token import Token

MAX_SOURCE = 256 * 1024
"""Characters in one text of a template."""
MAX_OUTPUT = 1024 * 1024
"""Bytes that one text may render to, and the weight of any value on the way."""
MAX_ITERATIONS = 5_000
MAX_LOCALS = 200
MAX_SECONDS = 1.0

_PARTIALS = ("include", "render")
_TAG = re.compile(r"<[^<>]*>")
_UNDEFINED_HINT = re.compile(r"'?(.*?)'? is undefined", re.DOTALL)


class Undefined(FalsyStrictUndefined):
    """Usable in `if`, comparisons and `default`; anything else raises. `msg` is the name alone, as a dotted path."""

    def __init__(self, name: str, *, token: Token | None, obj: object = None, hint: str | None = None) -> None:
        super().__init__(name, token=token, obj=obj, hint=hint)
        found = _UNDEFINED_HINT.fullmatch(hint or "")
        self.msg = found.group(1) if found else name


class Context(RenderContext):
    """A render context that also counts names and looks at the clock."""

    __slots__ = ("_stop_at",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._stop_at = monotonic() + MAX_SECONDS

    def get(self, path: list[object], *, token: Token | None, **kwargs: Any) -> object:
        """Resolve a path, unless time is up."""
        self.check_time(token)
        return super().get(path, token=token, **kwargs)

    def assign(self, key: str, val: Any) -> None:
        """Keep a name, unless there are too many (the cost of keeping one grows with their number)."""
        if len(self.locals) >= MAX_LOCALS and key not in self.locals:
            raise LocalNamespaceLimitError(f"more than {MAX_LOCALS} names", token=None)
        super().assign(key, val)

    def filter(self, name: str, token: Token | None) -> Callable[..., object]:
        """Look up a filter, unless time is up."""
        self.check_time(token)
        return super().filter(name, token)

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
        if monotonic() > self._stop_at:
            raise ResourceLimitError(f"rendering took longer than {MAX_SECONDS:g} s", token=token)


class LimitedTemplate(BoundTemplate):
    """A template that renders in a `Context`."""

    context_class = Context

    def render_mapping(self, variables: Mapping[str, Any]) -> str:
        """Render without copying `variables`."""
        context = self.context_class(self, globals=variables)
        buffer = LimitedStringIO(limit=MAX_OUTPUT)
        self.render_with_context(context, buffer)
        return buffer.getvalue()


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
        self.add_filter("strip_html", _strip_html)
        for name, function in self.filters.items():
            self.filters[name] = _bounded(name, function)

    def error(self, exc: type[LiquidError] | LiquidError, msg: str | None = None, token: Token | None = None) -> None:
        """Raise it, with the place where the parser stood if it has none of its own."""
        if isinstance(exc, LiquidError) and exc.token is not None and exc.token.start_index < 0:
            exc.token = token
        super().error(exc, msg, token)


def _strip_html(value: object) -> str:
    # The library's own takes quadratic time on a run of "<".
    return _TAG.sub("", str(value))


def _bounded(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The same filter, refusing operands and results that are too heavy."""
    estimate = _ESTIMATES.get(name)

    @wraps(function)
    def bounded(value: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(value, range):
            _refuse_above(len(value), MAX_ITERATIONS)
        if estimate is not None:
            _refuse_above(estimate(value, *args), MAX_OUTPUT)
        result = function(value, *args, **kwargs)
        _refuse_above(_weight(result), MAX_OUTPUT)
        return result

    return bounded


def _refuse_above(weight: int, limit: int) -> None:
    if weight > limit:
        raise OutputStreamLimitError("a filter's result is too large", token=None)


def _weight(value: object) -> int:
    """About how many characters `value` prints as."""
    if isinstance(value, str | range):
        return len(value)
    if isinstance(value, int):
        return value.bit_length() // 3
    if isinstance(value, Mapping):
        return sum(map(_weight, value.values())) + len(value)
    if isinstance(value, list | tuple):
        return sum(map(_weight, value)) + len(value)
    return 0


def _replaced(value: object, old: object = "", new: object = "") -> int:
    text, old, new = str(value), str(old), str(new)
    return len(text) + text.count(old) * len(new)


def _joined(value: object, separator: object = " ") -> int:
    items = len(value) if isinstance(value, list | tuple | range) else 1
    return _weight(value) + items * len(str(separator))


_ESTIMATES: dict[str, Callable[..., int]] = {"replace": _replaced, "join": _joined}
"""Filters whose result can be the product of their operands: measured before they run."""
