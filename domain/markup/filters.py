"""Liquid's filters with bounds: none takes more than linear time, and none may answer with too much.

Time is looked at between filters, so a single one must not run away. Those of the library that can are replaced here
by ones that do the same.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from typing import Any

from liquid import Environment, soft_str
from liquid.builtin.filters.misc import date
from liquid.exceptions import FilterArgumentError, OutputStreamLimitError
from liquid.filter import liquid_filter, sequence_filter, string_filter, with_environment

Filter = Callable[..., Any]

MAX_OUTPUT = 1024 * 1024
"""Bytes that one text may render to, and the weight of any value on the way."""
MAX_ITERATIONS = 5_000
MAX_ITEMS = 20_000
"""Items of a list that a filter answers with."""
MAX_NUMBER_BITS = 14_000
"""Longer numbers cannot be printed; dividing them takes the square of their length."""
MAX_DATE = 100
"""Characters of a date. Longer text is none, and finding that out takes the square of its length."""

_TAG = re.compile(r"<[^<>]*>")
_MISSING = object()


def bounded_filters(filters: Mapping[str, Filter]) -> dict[str, Filter]:
    """The library's filters under the same names, each within its bounds."""
    return {name: _bounded(name, function) for name, function in {**filters, **_OWN}.items()}


def _bounded(name: str, function: Filter) -> Filter:
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
        return value.bit_length() // 3 if value.bit_length() <= MAX_NUMBER_BITS else MAX_OUTPUT + 1
    if isinstance(value, Mapping):
        return sum(map(_weight, value.values())) + len(value)
    if isinstance(value, list | tuple):
        return sum(map(_weight, value)) + len(value) if len(value) <= MAX_ITEMS else MAX_OUTPUT + 1
    return 0


def _replaced(value: object, old: object = "", new: object = "") -> int:
    text, old, new = str(value), str(old), str(new)
    return len(text) + text.count(old) * len(new)


def _joined(value: object, separator: object = " ") -> int:
    items = len(value) if isinstance(value, list | tuple | range) else 1
    return _weight(value) + items * len(str(separator))


def _dated(value: object, pattern: object = "") -> int:
    # The C library is offered this much room before it is believed that the pattern prints nothing.
    return 256 * len(str(pattern))


_ESTIMATES: dict[str, Callable[..., int]] = {"replace": _replaced, "join": _joined, "date": _dated}
"""Filters whose result can be the product of their operands: measured before they run."""


@string_filter
def _strip_html(text: str) -> str:
    """The library takes quadratic time on a run of "<"."""
    return _TAG.sub("", str(text))


@sequence_filter
def _uniq(items: Iterable[Any], key: object = None) -> list[object]:
    """The library compares each item with each."""
    found: dict[object, object] = {}
    for item in items:
        found.setdefault(_frozen(item if key is None else _property(item, key)), item)
    return list(found.values())


def _property(item: Any, key: object) -> object:
    try:
        return item[key]
    except KeyError:
        return _MISSING
    except TypeError as error:
        raise FilterArgumentError(f"can't read property '{key}'", token=None) from error


def _frozen(value: object) -> object:
    """A key that is equal for equal values."""
    if isinstance(value, Mapping):
        return "mapping", frozenset((name, _frozen(item)) for name, item in value.items())
    if isinstance(value, list | tuple):
        return "list", tuple(map(_frozen, value))
    try:
        hash(value)
    except TypeError:  # the library's own nulls
        return None
    return value


@string_filter
def _remove_last(text: str, word: object) -> str:
    """The library looks for the last occurrence in quadratic time."""
    return _replace_last_of(text, soft_str(word), "")


@string_filter
def _replace_last(text: str, word: object, new: object) -> str:
    """As `_remove_last`."""
    return _replace_last_of(text, soft_str(word), soft_str(new))


def _replace_last_of(text: str, word: str, new: str) -> str:
    # str.find is linear where str.rfind is not.
    found = str(text)[::-1].find(str(word)[::-1])
    if found < 0:
        return text
    end = len(text) - found
    return text[: end - len(word)] + new + text[end:]


@with_environment
@liquid_filter
def _date(value: Any, pattern: Any, *, environment: Environment) -> object:
    if isinstance(value, str) and len(value) > MAX_DATE:
        return value
    return date(value, pattern, environment=environment)


_OWN: dict[str, Filter] = {
    "strip_html": _strip_html,
    "uniq": _uniq,
    "remove_last": _remove_last,
    "replace_last": _replace_last,
    "date": _date,
}
