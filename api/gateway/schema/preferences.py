"""Preferences as GraphQL shows them, and what sets them."""

from typing import Any, Self

import strawberry
from strawberry import UNSET

from api.gateway.schema.inputs import given
from domain.notification import Channel
from domain.preferences import ChannelPreference as ChannelPreferenceView
from domain.preferences import Preferences as PreferencesView
from domain.preferences import QuietHours as QuietHoursView

field = strawberry.field

_CATEGORY = "What it is about; null: everything on the channel that no other preference is about."
_FROM = 'When they begin, such as "22:00", in the user\'s time zone.'
_TO = 'When they end, such as "07:00"; on the next day where that is earlier.'


@strawberry.type(description="Whether the user wants a channel, for one category or for everything else.")
class ChannelPreference:
    """Whether the user wants a channel."""

    channel: Channel = field(description="The channel.")
    category: str | None = field(description=_CATEGORY)
    enabled: bool = field(description="Whether they want it.")

    @classmethod
    def of(cls, view: ChannelPreferenceView) -> Self:
        """From the domain."""
        return cls(channel=view.channel, category=view.category, enabled=view.enabled)


@strawberry.type(description="When the user wants to be left alone: what comes then waits, unless it is CRITICAL.")
class QuietHours:
    """When the user wants to be left alone."""

    start: str = field(name="from", description=_FROM)
    end: str = field(name="to", description=_TO)

    @classmethod
    def of(cls, view: QuietHoursView) -> Self:
        """From the domain."""
        return cls(start=view.start, end=view.end)


@strawberry.type(description="What a user chose. What they said nothing about they want.")
class Preferences:
    """What a user chose."""

    channels: list[ChannelPreference] = field(description="What they said about channels and categories.")
    quiet_hours: QuietHours | None = field(description="When they want to be left alone; null: never.")

    @classmethod
    def of(cls, view: PreferencesView) -> Self:
        """From the domain."""
        return cls(
            channels=[ChannelPreference.of(each) for each in view.channels],
            quiet_hours=None if view.quiet_hours is None else QuietHours.of(view.quiet_hours),
        )


@strawberry.input(description="Whether the user wants a channel, for one category or for everything else.")
class ChannelPreferenceInput:
    """Whether the user wants a channel."""

    channel: Channel = field(description="The channel.")
    category: str | None = field(default=UNSET, description=_CATEGORY)
    enabled: bool = field(description="Whether they want it.")

    def read(self) -> dict[str, Any]:
        """For the User Service."""
        return {"channel": self.channel, "category": given(self.category), "enabled": self.enabled}


@strawberry.input(description="When the user wants to be left alone.")
class QuietHoursInput:
    """When the user wants to be left alone."""

    start: str = field(name="from", description=_FROM)
    end: str = field(name="to", description=_TO)


@strawberry.input(description="What a user chooses: what is left out stays, null clears.")
class PreferencesInput:
    """What a user chooses."""

    channels: list[ChannelPreferenceInput] | None = field(
        default=UNSET, description="All that they say about channels and categories, instead of what they said before."
    )
    quiet_hours: QuietHoursInput | None = field(default=UNSET, description="When they want to be left alone.")

    def read(self) -> dict[str, Any]:
        """The changes, for the User Service, which knows the rules."""
        changes: dict[str, Any] = {}
        if self.channels is not UNSET:
            changes["channels"] = [each.read() for each in self.channels or ()]
        if self.quiet_hours is not UNSET:
            quiet = self.quiet_hours
            changes["quiet_hours"] = None if quiet is None else {"from": quiet.start, "to": quiet.end}
        return changes
