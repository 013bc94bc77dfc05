"""Whether what a submission would push can be pushed, told to the caller who can still change it.

It is rendered for that, but only where that is sure to be quick: without loops and captures, with filters that do not
multiply, and for the first recipients of a batch. What is passed over here is looked at when it is delivered, where it
is PERMANENT.
"""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from domain.errors import TemplateError, TemplateLimitExceeded
from domain.notification import Channel
from domain.outgoing import PushOptions
from domain.push_payload import MAX_PAYLOAD, merge, payload_size
from domain.template import Parts, Rendered, Renderer, TemplateLocale
from domain.urls import image_problem

OWN_RENDERINGS = 20
"""Of one submission; each takes about 0.1 ms. What all recipients share is rendered once a locale."""
MAX_QUICK_CHARACTERS = 8 * 1024
MAX_QUICK_OUTPUTS = 50
ANY_ID = f"ntf_{'0' * 32}"
"""As long as every id; the real one is not known yet."""

_TAG = re.compile(r"\{%-?\s*(\w*)")
_FILTER = re.compile(r"\|\s*(\w+)")
_QUICK_TAGS = frozenset({"if", "elsif", "else", "endif", "unless", "endunless", "case", "when", "endcase"})
_QUICK_FILTERS = frozenset(
    {"append", "capitalize", "date", "default", "downcase", "plus", "minus", "round", "size", "strip", "truncate"}
    | {"escape", "first", "last", "prepend", "upcase"}
)


class Unfit(msgspec.Struct, frozen=True):
    """Why it cannot be pushed: `code` is `size` or `url`."""

    code: str
    message: str


class PushFit:
    """Measures the pushes of one submission."""

    def __init__(self, renderer: Renderer, options: PushOptions | None, shared: Mapping[str, Any]) -> None:
        self._renderer, self._options, self._shared = renderer, options or PushOptions(), shared
        self._known: dict[str | None, Unfit | None] = {}
        self._left = OWN_RENDERINGS

    def problem(self, parts: Parts, locale: str | None, own: Mapping[str, Any] | None) -> Unfit | None:
        """What is wrong with `parts`, which is one for each `locale`, for a recipient with these variables; or None.

        None also where nobody can tell yet.
        """
        if own:
            if self._left == 0:
                return None
            self._left -= 1
            return self._measure(parts, {**self._shared, **own})
        if locale not in self._known:
            self._known[locale] = self._measure(parts, self._shared)
        return self._known[locale]

    def _measure(self, parts: Parts, variables: Mapping[str, Any]) -> Unfit | None:
        try:
            rendered = _rendered(self._renderer, parts, variables)
        except TemplateLimitExceeded:  # without loops it is only length that can exceed one
            return Unfit("size", "becomes far larger than a push can be")
        except TemplateError:
            return None  # named elsewhere: what is missing, and where the syntax is wrong
        options = merge(rendered, self._options)
        url = options.image_url
        if url and url is not self._options.image_url and (problem := image_problem(url)):
            return Unfit("url", f"its image_url {problem}")
        size = payload_size(rendered.title or "", rendered.body or "", options, ANY_ID)
        if size > MAX_PAYLOAD:
            return Unfit("size", f"makes a push of {size} bytes, data included; a push holds {MAX_PAYLOAD}")
        return None


def quick(source: str | None) -> bool:
    """Whether rendering this is sure to take less than a millisecond or so."""
    return source is None or (
        len(source) <= MAX_QUICK_CHARACTERS
        and source.count("{{") <= MAX_QUICK_OUTPUTS
        and _QUICK_TAGS.issuperset(_TAG.findall(source))
        and _QUICK_FILTERS.issuperset(_FILTER.findall(source))
    )


def _rendered(renderer: Renderer, parts: Parts, variables: Mapping[str, Any]) -> Rendered:
    """The push, without what is not quick: a lower bound of its size. What is not Liquid stays, however long it is."""
    kept = {name: getattr(parts, name, None) for name in ("title", "body", "image_url")}
    plain = {name: text for name, text in kept.items() if text is not None and not _is_liquid(text)}
    liquid = {name: text for name, text in kept.items() if name not in plain and quick(text)}
    given = parts.data if isinstance(parts, TemplateLocale) else None
    data = {name: text for name, text in (given or {}).items() if quick(text)}
    body = TemplateLocale(locale="", data=data or None, **liquid)
    return msgspec.structs.replace(renderer.render(body, variables, channel=Channel.PUSH), **plain)


def _is_liquid(text: str) -> bool:
    return "{{" in text or "{%" in text
