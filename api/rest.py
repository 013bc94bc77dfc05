"""How our services call each other: JSON with a deadline, a retry, the service token and the correlation id."""

import asyncio
from collections.abc import Mapping
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
import msgspec

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
_SAFE = frozenset({"GET", "HEAD"})
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


def segment(kind: str, value: str) -> str:
    """`value` as one segment of a path. Raises `NotFound` for what cannot be one, so it names nothing."""
    if value.strip(".") == "" or len(value) > 200 or not value.isprintable():
        raise NotFound(kind, value)
    return quote(value, safe="")


class RestClient:
    """Calls one service. `http` knows where it is (`base_url`) and may run over ASGITransport in one process.

    Every call is bound by `deadline` seconds a try. A failed call is tried once more where that is harmless: it may be
    repeated, or it cannot have arrived. Errors in the envelope come out as the domain's errors again; everything else
    (no answer, 5xx, an answer that is not ours, a token that is refused) is `UpstreamUnavailable`.
    """

    def __init__(self, http: httpx.AsyncClient, service: str, token: str | None, deadline: float = 2.0) -> None:
        self._http, self._service, self._deadline = http, service, deadline
        self._token = token
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
            raise UpstreamUnavailable(f"The {self._service} answered without data.")
        return envelope.data

    async def page(
        self, path: str, item: type[T], *, about: tuple[str, str] = ("resource", ""), **params: Any
    ) -> Page[T]:
        """One page of a list."""
        answer: Any = list[item]  # type: ignore[valid-type]
        envelope = await self._call("GET", path, answer, None, params, about, repeatable=True)
        if envelope.data is None or envelope.meta is None:
            raise UpstreamUnavailable(f"The {self._service} answered a list without its meta.")
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
        try:
            response = await self._try(method, path, json, params)
        except UpstreamUnavailable as error:
            if method not in _SAFE and not repeatable and not isinstance(error.__cause__, _NOT_SENT):
                raise
            response = await self._try(method, path, json, params)
        envelope = self._decode(response, answer)
        if response.is_success:
            return envelope
        raise self._error(response, envelope.error, about)

    async def _try(self, method: str, path: str, json: Any, params: Mapping[str, Any] | None) -> httpx.Response:
        content = None if json is None else msgspec.json.encode(json)
        given = {name: value for name, value in (params or {}).items() if value is not None}
        try:
            async with asyncio.timeout(self._deadline):
                response = await self._http.request(
                    method, path, content=content, params=given, headers=self._headers(), timeout=self._deadline
                )
        except (httpx.HTTPError, TimeoutError, OSError) as error:
            raise UpstreamUnavailable(f"The {self._service} does not answer ({type(error).__name__}).") from error
        if response.status_code >= 500:
            raise UpstreamUnavailable(f"The {self._service} answered {response.status_code}.")
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
            raise UpstreamUnavailable(f"The {self._service} answered with something else.") from error
        return envelope

    def _error(self, response: httpx.Response, problem: Problem | None, about: tuple[str, str]) -> HeliographError:
        message = problem.message if problem else f"HTTP {response.status_code}"
        if problem is not None and problem.code == ErrorCode.VALIDATION_FAILED and problem.fields:
            return ValidationFailed(problem.fields)
        if response.status_code == 404:
            return NotFound(*about)
        if response.status_code == 409:
            return Conflict(message)
        if response.status_code == 429:
            return RateLimited(message, problem.retry_after_seconds or 1 if problem else 1)
        return UpstreamUnavailable(f"The {self._service} refused the call: {message}")
