"""Unsubscribing: what becomes of somebody's wish to get no more mail of one kind."""

from typing import Protocol

import msgspec

from api.gateway.suppressions import SqlSuppressions
from domain.errors import NotFound, ValidationFailed
from domain.notification import Channel
from domain.preferences import ChannelPreference, Preferences
from domain.recipient import Recipient


class Choosing(Protocol):
    """What is asked of the User Service."""

    async def choose(self, user_id: str, choice: ChannelPreference) -> Preferences:
        """Choose for one channel and category. May be called twice. Raises `NotFound`, `UpstreamUnavailable`, and
        `ValidationFailed` when they have chosen too much already."""


class Wish(msgspec.Struct, frozen=True):
    """No more of this category on this channel."""

    recipient: Recipient
    channel: Channel
    category: str


class OptOuts:
    """A user's wish is a preference of theirs, which they can change again. Where the caller gave a contact point, or
    the user has no room for one more preference, it is a suppression of that contact point for that category."""

    def __init__(self, users: Choosing, suppressions: SqlSuppressions) -> None:
        self._users, self._suppressions = users, suppressions

    async def opt_out(self, wish: Wish) -> None:
        """Done once this returns. May be called twice. Raises `DatabaseUnavailable` and `UpstreamUnavailable`."""
        user_id = wish.recipient.user_id
        if user_id is None:
            await self._block(wish)
            return
        choice = ChannelPreference(channel=wish.channel, category=wish.category, enabled=False)
        try:
            await self._users.choose(user_id, choice)
        except NotFound:  # erased: nobody is left to write to
            return
        except ValidationFailed:
            await self._block(wish)

    async def _block(self, wish: Wish) -> None:
        for point in wish.recipient.contact_points(wish.channel):
            reason = f"unsubscribed from {wish.category!r}"
            await self._suppressions.add(wish.channel, point, reason, wish.category)
