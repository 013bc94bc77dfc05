"""What the User and Template Services answer, and their clients return, beside the types of the domain."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from typing import Generic, Self, TypeVar

import msgspec

from api.http import PageMeta
from domain.errors import ValidationFailed
from domain.notification import Channel
from domain.preferences import Preferences
from domain.recipient import Why
from domain.template import Rendered, TemplateLocale
from domain.text import storable

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

T = TypeVar("T")


class Page(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """One page of a list."""

    items: list[T]
    meta: PageMeta


class UserDevice(msgspec.Struct, frozen=True, kw_only=True):
    """A device as callers see it: the end of its token is enough to recognise it. `platform` is WEB, IOS or ANDROID."""

    id: str
    user_id: str
    platform: str
    token_hint: str
    valid: bool
    invalid_since: datetime | None = None
    created_at: datetime
    last_seen_at: datetime


class UserCursor(msgspec.Struct, frozen=True):
    """A place in the list of all users: right after the one with this age and id, whether or not they still exist."""

    created_at: datetime
    id: str

    def encode(self) -> str:
        """As text that callers hand back without looking inside."""
        text = f"u1:{(self.created_at - _EPOCH) // _MICROSECOND}:{self.id}"
        return urlsafe_b64encode(text.encode()).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str) -> Self:
        """Raises `ValidationFailed` for `after` when it is no text that `encode` makes."""
        try:
            _, microseconds, id_ = urlsafe_b64decode(text.encode("ascii") + b"==").decode("ascii").split(":", 2)
            cursor = cls(_EPOCH + int(microseconds) * _MICROSECOND, id_)
        except (ValueError, OverflowError) as error:  # no base64, no ASCII, too few parts, no number, no time
            raise _no_cursor() from error
        if not storable(id_) or cursor.encode() != text:
            raise _no_cursor()
        return cursor


class User(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who can be notified."""

    id: str
    email: str | None
    name: str | None
    locale: str
    time_zone: str
    devices: tuple[UserDevice, ...]
    preferences: Preferences = Preferences()
    created_at: datetime
    updated_at: datetime

    @property
    def cursor(self) -> str:
        """Hand it back as `after` to go on from here."""
        return UserCursor(self.created_at, self.id).encode()


class Permission(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a user may be contacted on this channel for this category now; if not, why.

    `code` is for programs, `reason` is one sentence; `held_until` is when it may be used if it is only for a while.
    """

    channel: Channel
    category: str
    allowed: bool
    code: Why | None
    reason: str | None
    held_until: datetime | None


class Retired(msgspec.Struct, frozen=True, kw_only=True):
    """How many devices push used until now and does not use any more."""

    count: int


class Erasure(msgspec.Struct, frozen=True, kw_only=True):
    """A user who was deleted, and when all other services had forgotten them too; null until then."""

    id: str
    user_id: str
    erased_at: datetime
    done_at: datetime | None


class Deleted(msgspec.Struct, frozen=True, kw_only=True):
    """What is gone now. `user_id` is whose device it was."""

    id: str
    user_id: str | None = None


class ResolvedTemplate(msgspec.Struct, frozen=True, kw_only=True):
    """The body that a recipient's locale leads to. `locale_fallback` are the tags tried, in order."""

    key: str
    version: int
    locale: str
    locale_fallback: tuple[str, ...]
    body: TemplateLocale


class RenderedTemplate(Rendered, frozen=True, kw_only=True):
    """A rendered template, and what it was rendered from."""

    key: str
    version: int
    locale: str
    locale_fallback: tuple[str, ...]


def _no_cursor() -> ValidationFailed:
    return ValidationFailed.of("after", "invalid_cursor", "It is no cursor; hand back one that you were given.")
