"""How our services call each other: JSON with a deadline, the service token and the correlation id; another instance
is tried when one fails, and a service that is away is left alone for a while."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from time import monotonic
from typing import Any, Protocol, TypeVar
from urllib.parse import quote

import httpx
import msgspec

from api.discovery import Directory, StaticDirectory
from api.http import CORRELATION_HEADER, Envelope, Problem
from api.records import Page
from domain.errors import (
    Conflict,
    ErrorCode,
    HeliographError,
    NotFound,
    RateLimited,
    UpstreamUnavailable,
    ValidationFailed,
)
from domain.telemetry import correlation_id, traceparent

T = TypeVar("T")
Called = Callable[[str, str, float], None]
MAX_TRIES = 3
AVOIDED = 5.0
"""Seconds for which an instance that failed is called only when there is no other."""
_SAFE = frozenset({"GET", "HEAD"})
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


def segment(kind: str, value: str) -> str:
    """`value` as one segment of a path. Raises `NotFound` for what cannot be one, so it names nothing."""
    if value.strip(".") == "" or len(value) > 200 or not value.isprintable():
        raise NotFound(kind, value)
    return quote(value, safe="")


def unheard(service: str, outcome: str, seconds: float) -> None:
    """Where nobody counts calls."""


class Breaker(Protocol):
    """Keeps calls away from a service that does not answer; `workers.resilience.Breaker` is one."""

    def allows(self) -> bool:
        """Whether a call would go through now."""

    async def call(self, fn: Callable[[], Awaitable[T]]) -> T:
        """Make a call that is allowed, and pass on what comes of it. Whatever it raises is an outage."""


class RestClient:
    """Calls one service: `service` is its name in the directory, `title` its name for people.

    A call takes `deadline` seconds at most. When an instance fails (no connection, no answer in time, 5xx), it is
    avoided for a moment, and the call goes to another one where that is harmless: it may be repeated, or it cannot have
    arrived; a single instance is tried twice. Calls that fail altogether are the breaker's outages, and what it does
    not allow fails at once. Errors in the envelope come out as the domain's errors again; everything else (no answer,
    5xx, an answer that is not ours, a token that is refused) is `UpstreamUnavailable`.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        service: str,
        title: str,
        *,
        directory: Directory | None = None,
        breaker: Breaker | None = None,
        token: str | None = None,
        deadline: float = 2.0,
        called: Called = unheard,
    ) -> None:
        """`http` says how it is reached, the directory where; without one, `http` points there (`base_url`). `called`
        is told of each call: the service, `ok`, `error` or `open` (not made), and its seconds."""
        self._http, self._title, self._token, self._deadline = http, title, token, deadline
        self._service, self._called = service, called
        self._rotation = _Rotation(directory or StaticDirectory(str(http.base_url)), service)
        self._breaker = breaker
        self._decoders: dict[Any, msgspec.json.Decoder[Any]] = {}

    async def call(
        self,
        method: str,
        path: str,
        answer: type[T],
        *,
        json: Any = None,
        params: Mapping[str, Any] | None = None,
        about: tuple[str, str] = ("resource", ""),
        repeatable: bool = False,
    ) -> T:
        """The data of one call. `about` is the kind and id that a 404 speaks of. A GET is always `repeatable`."""
        envelope = await self._call(method, path, answer, json, params, about, repeatable)
        if envelope.data is None:
            raise UpstreamUnavailable(f"The {self._title} answered without data.")
        return envelope.data

    async def page(
        self, path: str, item: type[T], *, about: tuple[str, str] = ("resource", ""), **params: Any
    ) -> Page[T]:
        """One page of a list."""
        answer: Any = list[item]  # type: ignore[valid-type]
        envelope = await self._call("GET", path, answer, None, params, about, repeatable=True)
        if envelope.data is None or envelope.meta is None:
            raise UpstreamUnavailable(f"The {self._title} answered a list without its meta.")
        return Page(items=envelope.data, meta=envelope.meta)

    async def _call(
        self,
        method: str,
        path: str,
        answer: type[T],
        json: Any,
        params: Mapping[str, Any] | None,
        about: tuple[str, str],
        repeatable: bool,
    ) -> Envelope[T]:
        content = None if json is None else msgspec.json.encode(json)
        given = {name: value for name, value in (params or {}).items() if value is not None}
        request = _Request(method, path, content, given, repeatable or method in _SAFE)
        response = await self._timed(request)
        envelope = self._decode(response, answer)
        if response.is_success:
            return envelope
        raise self._error(response, envelope.error, about)

    async def _timed(self, request: "_Request") -> httpx.Response:
        started, outcome = monotonic(), "error"
        if self._breaker is not None and not self._breaker.allows():
            outcome = "open"
        try:
            response = await self._guarded(request)
            outcome = "ok"
            return response
        finally:
            self._called(self._service, outcome, monotonic() - started)

    async def _guarded(self, request: "_Request") -> httpx.Response:
        ends_at = monotonic() + self._deadline
        urls = await self._rotation.next()
        if not urls:
            raise UpstreamUnavailable(f"No instance of the {self._title} is known.")
        if self._breaker is None:
            return await self._fail_over(request, urls, ends_at)
        if not self._breaker.allows():
            raise UpstreamUnavailable(f"The {self._title} did not answer several times and is left alone for now.")
        return await self._breaker.call(lambda: self._fail_over(request, urls, ends_at))

    async def _fail_over(self, request: "_Request", urls: Sequence[str], ends_at: float) -> httpx.Response:
        """Try these in turn. Each try but the last has half of the time that is left, so that one that hangs does not
        take it all."""
        *others, last = urls
        for url in others:
            left = ends_at - monotonic()
            try:
                return await self._try(url, request, left / 2 if request.repeatable else left, left / 2)
            except UpstreamUnavailable as error:
                if not request.repeatable and not isinstance(error.__cause__, _NOT_SENT):
                    raise
        left = max(0.0, ends_at - monotonic())
        return await self._try(last, request, left, left)

    async def _try(self, url: str, request: "_Request", seconds: float, connect: float) -> httpx.Response:
        try:
            async with asyncio.timeout(seconds):
                response = await self._http.request(
                    request.method,
                    url.rstrip("/") + request.path,
                    content=request.content,
                    params=request.params,
                    headers=self._headers(),
                    timeout=httpx.Timeout(seconds, connect=connect, pool=connect),
                )
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, OSError) as error:
            self._rotation.avoid(url)
            raise UpstreamUnavailable(f"The {self._title} does not answer ({type(error).__name__}).") from error
        if response.status_code >= 500:
            self._rotation.avoid(url)
            raise UpstreamUnavailable(f"The {self._title} answered {response.status_code}.")
        return response

    def _headers(self) -> dict[str, str]:
        found = {
            "Content-Type": "application/json",
            "Authorization": f"Bearer {self._token}" if self._token else None,
            CORRELATION_HEADER: correlation_id.get(),
            "traceparent": traceparent.get(),
        }
        return {name: value for name, value in found.items() if value is not None}

    def _decode(self, response: httpx.Response, answer: type[T]) -> Envelope[T]:
        decoder = self._decoders.get(answer)
        if decoder is None:
            decoder = self._decoders[answer] = msgspec.json.Decoder(Envelope[answer])  # type: ignore[valid-type]
        try:
            envelope: Envelope[T] = decoder.decode(response.content)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise UpstreamUnavailable(f"The {self._title} answered with something else.") from error
        return envelope

    def _error(self, response: httpx.Response, problem: Problem | None, about: tuple[str, str]) -> HeliographError:
        message = problem.message if problem else f"HTTP {response.status_code}"
        if problem is not None and problem.code == ErrorCode.VALIDATION_FAILED and problem.fields:
            return ValidationFailed(problem.fields)
        if response.status_code == 404:
            return NotFound(*about)
        if response.status_code == 409:
            return Conflict(message, fields=problem.fields or () if problem else ())
        if response.status_code == 429:
            return RateLimited(message, problem.retry_after_seconds or 1 if problem else 1)
        return UpstreamUnavailable(f"The {self._title} refused the call: {message}")


class _Request(msgspec.Struct, frozen=True):
    method: str
    path: str
    content: bytes | None
    params: Mapping[str, Any]
    repeatable: bool


class _Rotation:
    """Takes turns among the instances of a service; those that failed a moment ago come last."""

    def __init__(self, directory: Directory, service: str) -> None:
        self._directory, self._service = directory, service
        self._turn = 0
        self._avoided: dict[str, float] = {}

    async def next(self) -> Sequence[str]:
        """The base URLs to try, in this order; a single one twice. None if nobody is there."""
        urls = list(await self._directory.locate(self._service))
        if not urls:
            return ()
        self._turn = (self._turn + 1) % len(urls)
        turned = urls[self._turn :] + urls[: self._turn]
        now = monotonic()
        turned.sort(key=lambda url: self._avoided.get(url, now) > now)
        return (turned * 2)[: min(max(len(turned), 2), MAX_TRIES)]

    def avoid(self, url: str) -> None:
        """This one has just failed."""
        now = monotonic()
        self._avoided = {other: until for other, until in self._avoided.items() if until > now}
        self._avoided[url] = now + AVOIDED
