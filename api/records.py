"""What the User and Template Services answer, and their clients return, beside the types of the domain."""

from datetime import datetime
from typing import Generic, TypeVar

import msgspec

from api.http import PageMeta
from domain.template import Rendered, TemplateLocale

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
    created_at: datetime
    last_seen_at: datetime


class User(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who can be notified."""

    id: str
    email: str | None
    name: str | None
    locale: str
    time_zone: str
    devices: tuple[UserDevice, ...]
    created_at: datetime
    updated_at: datetime


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
