"""Templates: a named thing with immutable numbered versions, each in several locales; and how they become text.

A `Renderer` compiles Liquid once per text and renders it strictly: an undefined variable is an error, HTML is escaped,
and a template cannot loop or print without bound. It keeps a bounded cache, so make one and hand it around.
"""

import re
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

import msgspec

from domain.errors import TemplateError, TemplateSyntaxError
from domain.markup.environment import Budget
from domain.markup.text import CompiledText, Compiler
from domain.notification import Channel

PARTS: dict[Channel, tuple[str, ...]] = {
    Channel.EMAIL: ("subject", "html", "text"),
    Channel.PUSH: ("title", "body", "image_url", "data"),
}
"""What each channel needs of a body."""

_MAX_CACHED_CHARACTERS = 4 * 1024 * 1024
"""A syntax tree takes about 64 bytes a character, so this is some 256 MB at the very worst."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_INTRODUCERS = re.compile(r"(-[^-])+\Z")
_TAG = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*")


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """What to say, given inline instead of a template. It is Liquid too."""

    subject: str | None = None
    html: str | None = None
    text: str | None = None
    title: str | None = None
    body: str | None = None

    def channels(self) -> frozenset[Channel]:
        """The channels that it has a body for."""
        return _channels(self)


class TemplateLocale(msgspec.Struct, frozen=True, kw_only=True):
    """One language of a template version. Every part is Liquid, `image_url` and the values of `data` too."""

    locale: str
    subject: str | None = None
    html: str | None = None
    text: str | None = None
    title: str | None = None
    body: str | None = None
    image_url: str | None = None
    data: dict[str, str] | None = None

    def channels(self) -> frozenset[Channel]:
        """The channels that it has a body for: EMAIL takes a subject and html or text, PUSH takes a title."""
        return _channels(self)


Parts = TemplateLocale | Content


def _channels(parts: Parts) -> frozenset[Channel]:
    found = set()
    if parts.subject and (parts.html or parts.text):
        found.add(Channel.EMAIL)
    if parts.title:
        found.add(Channel.PUSH)
    return frozenset(found)


class TemplateVersion(msgspec.Struct, frozen=True, kw_only=True):
    """A numbered body of a template. It never changes once it was published."""

    key: str
    version: int
    default_locale: str
    published: bool
    locales: tuple[TemplateLocale, ...]
    note: str | None = None
    created_at: datetime

    @property
    def variables(self) -> tuple[str, ...]:
        """Every variable that some locale uses, as dotted paths, sorted. Reads all texts: not for a hot path."""
        compiler = Compiler()
        names = (text.used for locale in self.locales for _, text in _compiled(compiler, locale))
        return tuple(sorted(frozenset().union(*names)))

    def choose(self, locale: str | None) -> tuple[TemplateLocale, tuple[str, ...]]:
        """The body for a recipient's locale, and the tags that were tried in order: pt-BR, pt, the default.

        RFC 4647 lookup: subtags are cut from the end. The last tag tried is the one chosen. Where even the default
        locale is not there, the first body is chosen.
        """
        bodies = {canonical_locale(body.locale): body for body in self.locales}
        tried = []
        for tag in _lookup_chain(locale, self.default_locale):
            tried.append(tag)
            if tag in bodies:
                return bodies[tag], tuple(tried)
        first = self.locales[0]
        return first, (*tried, first.locale)

    def channels(self) -> frozenset[Channel]:
        """The channels that every locale has a body for."""
        return frozenset.intersection(*(locale.channels() for locale in self.locales))


class Template(msgspec.Struct, frozen=True, kw_only=True):
    """A named template. `published` is the whole published version, so that one call brings what sending needs."""

    id: str
    key: str
    name: str
    default_locale: str
    published_version: int | None = None
    published: TemplateVersion | None = None
    created_at: datetime
    updated_at: datetime


class Rendered(msgspec.Struct, frozen=True, kw_only=True):
    """What a recipient gets to see. `subject` and `title` are one line each."""

    subject: str | None = None
    html: str | None = None
    text: str | None = None
    title: str | None = None
    body: str | None = None
    image_url: str | None = None
    data: dict[str, str] | None = None


class Renderer:
    """Turns templates into text. Keeps up to `cache_size` compiled texts, the last used ones. One thread only."""

    def __init__(self, cache_size: int = 1024) -> None:
        self._cache_size = cache_size
        self._compiler = Compiler()
        self._cache: OrderedDict[tuple[str, bool], CompiledText | TemplateError] = OrderedDict()
        self._characters = 0

    def compile(self, source: str, *, html: bool = False) -> CompiledText:
        """The compiled form of one text. Raises `TemplateSyntaxError`, `TemplateLimitExceeded`."""
        found = self._cache.get((source, html))
        if found is None:
            found = self._compiler.compile(source, html=html)
            self.keep(source, found, html=html)
        else:
            self._cache.move_to_end((source, html))
        if isinstance(found, TemplateError):
            raise found.with_traceback(None)
        return found

    def knows(self, source: str, *, html: bool) -> bool:
        """Whether this text need not be compiled any more."""
        return (source, html) in self._cache

    def keep(self, source: str, compiled: CompiledText | TemplateError, *, html: bool) -> None:
        """Remember what was made of a text, perhaps in another thread; what is wrong with it, where it is wrong."""
        if (source, html) in self._cache:
            return
        self._cache[source, html] = compiled
        self._characters += len(source)
        while len(self._cache) > self._cache_size or self._characters > _MAX_CACHED_CHARACTERS:
            (old, _), _ = self._cache.popitem(last=False)
            self._characters -= len(old)

    def required(self, *bodies: Parts, channels: Iterable[Channel] = tuple(Channel)) -> frozenset[str]:
        """The variables, as dotted paths, that must be given to render these bodies on these channels.

        Raises `TemplateSyntaxError`, `TemplateLimitExceeded`.
        """
        wanted = [part for channel in channels for part in PARTS[channel]]
        names = (
            self.compile(source, html=part == "html").required
            for body in bodies
            for part, _, source in texts(body)
            if part in wanted
        )
        return frozenset().union(*names)

    def render(self, parts: Parts, variables: Mapping[str, Any], *, channel: Channel) -> Rendered:
        """Render what `channel` needs of `parts`; a text part that is missing is derived from the HTML.

        Raises `UndefinedVariable`, `TemplateSyntaxError`, `TemplateLimitExceeded`, `TemplateError`.
        """
        filling = _Filling(self, variables)
        return filling.email(parts) if channel is Channel.EMAIL else filling.push(parts)


class _Filling:
    """One rendering: all its texts are filled with the same variables and share one budget of time."""

    def __init__(self, renderer: Renderer, variables: Mapping[str, Any]) -> None:
        self._renderer, self._variables, self._budget = renderer, variables, Budget()

    def email(self, parts: Parts) -> Rendered:
        html = text = None
        if parts.html is not None:
            compiled = self._renderer.compile(parts.html, html=True)
            html = compiled.render(self._variables, self._budget)
            if parts.text is None:
                text = compiled.render_as_text(self._variables, html)
        if parts.text is not None:
            text = self._fill(parts.text)
        return Rendered(subject=self._line(parts.subject), html=html, text=text)

    def push(self, parts: Parts) -> Rendered:
        image_url = data = None
        if isinstance(parts, TemplateLocale):
            image_url = self._line(parts.image_url)
            if parts.data is not None:
                data = {name: self._fill(source) for name, source in parts.data.items()}
        body = None if parts.body is None else self._fill(parts.body)
        return Rendered(title=self._line(parts.title), body=body, image_url=image_url, data=data)

    def _fill(self, source: str) -> str:
        return self._renderer.compile(source).render(self._variables, self._budget)

    def _line(self, source: str | None) -> str | None:
        if source is None:
            return None
        text = self._fill(source)
        if text.isprintable() or not _CONTROL.search(text):
            return text
        # A line break from a variable must not start a new header.
        return " ".join(_CONTROL.sub(" ", text).split())


def missing(needed: Iterable[str], given: Mapping[str, Any]) -> tuple[str, ...]:
    """Which of the needed variables (dotted paths) were not given, sorted."""
    return tuple(sorted(name for name in needed if not _is_given(name, given)))


def problems(locale: TemplateLocale) -> list[tuple[str, TemplateError]]:
    """What is wrong with each part of a body, by the part's name; `data.<key>` for data. Empty if nothing is."""
    compiler = Compiler()
    found: list[tuple[str, TemplateError]] = []
    for part, name, source in texts(locale):
        try:
            compiler.compile(source, html=part == "html")
        except TemplateError as error:
            found.append((name, error))
    return found


def check(locale: TemplateLocale) -> None:
    """Raises `TemplateSyntaxError` (or `TemplateLimitExceeded`) for the first part that is wrong, and names it."""
    for name, error in problems(locale):
        if isinstance(error, TemplateSyntaxError):
            message = str(error).removesuffix(f" (line {error.line}, column {error.column})")
            raise TemplateSyntaxError(f"{name}: {message}", error.line, error.column) from error
        raise type(error)(f"{name}: {error}") from error


def canonical_locale(tag: str) -> str:
    """A BCP 47 tag in its usual casing: `pt-br` is `pt-BR`, `ZH-hant-tw` is `zh-Hant-TW` (RFC 5646, 2.1.1)."""
    language, *rest = tag.replace("_", "-").split("-")
    parts = [language.lower()]
    for part in rest:
        after_singleton = len(parts[-1]) == 1
        if len(part) == 2 and not after_singleton:
            parts.append(part.upper())
        elif len(part) == 4 and part.isalpha() and not after_singleton:
            parts.append(part.title())
        else:
            parts.append(part.lower())
    return "-".join(parts)


def locale_problem(tag: str) -> str | None:
    """What is wrong with a locale tag, or None. Its shape only: whether anybody speaks it is not our business."""
    if len(tag) > 35 or not _TAG.fullmatch(tag):
        return "is not a BCP 47 language tag such as 'en' or 'pt-BR'"
    return None


def _lookup_chain(locale: str | None, default: str) -> Iterator[str]:
    tag = canonical_locale(locale) if locale else ""
    seen = set()
    while tag:
        seen.add(tag)
        yield tag
        head, _, _ = tag.rpartition("-")
        # RFC 4647, 3.4: a single letter introduces what follows it and goes with it.
        tag = _INTRODUCERS.sub("", head)
    if (tag := canonical_locale(default)) not in seen:
        yield tag


def texts(parts: Parts) -> Iterator[tuple[str, str, str]]:
    """(part, name to show, source) of everything that is Liquid."""
    for part in (part for parts_of in PARTS.values() for part in parts_of):
        value = getattr(parts, part, None)
        if isinstance(value, str):
            yield part, part, value
        elif value is not None:
            yield from ((part, f"{part}.{name}", source) for name, source in value.items())


def _compiled(compiler: Compiler, parts: Parts) -> Iterator[tuple[str, CompiledText]]:
    for part, name, source in texts(parts):
        yield name, compiler.compile(source, html=part == "html")


def _is_given(name: str, given: Mapping[str, Any]) -> bool:
    value: Any = given
    for part in name.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return False
        value = value[part]
    return True
