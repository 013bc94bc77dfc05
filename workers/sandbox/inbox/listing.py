"""Which part of what is kept a page shows: what a search finds, one page of it, the newest first."""

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar
from urllib.parse import urlencode

import msgspec

PAGE_SIZE = 25
MAX_QUERY = 200
MAX_PAGE = 1_000_000

T = TypeVar("T")


class Wanted(msgspec.Struct, frozen=True):
    """What a reader asks for: `q` is looked for whatever its case; empty finds all. Pages count from 1.

    `alone`: without the page around it, for the script that keeps the page fresh.
    """

    q: str = ""
    page: int = 1
    alone: bool = False

    @classmethod
    def of(cls, q: str, page: str, *, alone: bool = False) -> "Wanted":
        """From a query string; what is no page is the first one."""
        number = int(page) if page.isdecimal() and page.isascii() and len(page) < 8 else 1
        return cls(q.strip()[:MAX_QUERY], min(max(number, 1), MAX_PAGE), alone)


class Listed(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """One page of what was found, `total` of all pages together."""

    items: list[T]
    total: int
    page: int
    pages: int
    q: str
    alone: bool

    def link(self, path: str, by: int) -> str | None:
        """Where the page `by` pages on is; None where there is none."""
        number = self.page + by
        if not 1 <= number <= self.pages:
            return None
        given = {"q": self.q} if self.q else {}
        return f"{path}?{urlencode({**given, 'page': number})}"


def listed(kept: Sequence[T], wanted: Wanted, texts: Callable[[T], str]) -> Listed[T]:
    """What is wanted of `kept`; `texts` says what of an item is searched. A page past the end is the last one."""
    sought = wanted.q.casefold()
    found = [item for item in kept if sought in texts(item).casefold()] if sought else list(kept)
    pages = max(1, -(-len(found) // PAGE_SIZE))
    page = min(wanted.page, pages)
    shown = found[(page - 1) * PAGE_SIZE : page * PAGE_SIZE]
    return Listed(items=shown, total=len(found), page=page, pages=pages, q=wanted.q, alone=wanted.alone)
