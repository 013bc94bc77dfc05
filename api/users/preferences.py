"""What callers may say about preferences, and what follows from them for each channel and category."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Annotated, Any

import msgspec
from pydantic import AfterValidator, Field, StrictBool

from api.inputs import Input
from api.records import Permission
from api.users.inputs import Category
from domain.errors import FieldProblem, ValidationFailed
from domain.notification import Channel, Priority
from domain.preferences import MAX_PREFERENCES, ChannelPreference, Preferences, QuietHours, clock_problem
from domain.recipient import Purpose, Recipient, may_contact
from domain.submission import DEFAULT_CATEGORY


def _clock(text: str) -> str:
    if (problem := clock_problem(text)) is not None:
        raise ValueError(problem)
    return text


Clock = Annotated[str, AfterValidator(_clock), Field(description="A time on the user's own wall.", examples=["22:00"])]


class ChannelChoice(Input):
    """Whether the user wants this channel: for one category, or, without one, for everything else."""

    channel: Channel
    category: Category | None = None
    enabled: StrictBool

    def chosen(self) -> ChannelPreference:
        """It, as the domain has it."""
        return ChannelPreference(channel=self.channel, category=self.category, enabled=self.enabled)

    def applied_to(self, old: Preferences) -> Preferences:
        """`old` with this instead of what was chosen for the same channel and category. Raises `ValidationFailed`."""
        others = tuple(one for one in old.channels if (one.channel, one.category) != (self.channel, self.category))
        if len(others) >= MAX_PREFERENCES:
            raise ValidationFailed.of("channels", "too_many", f"takes at most {MAX_PREFERENCES} preferences")
        return msgspec.structs.replace(old, channels=(*others, self.chosen()))


class QuietHoursChoice(Input):
    """When the user wants to be left alone; across midnight where `to` is earlier. Only CRITICAL comes through."""

    start: Annotated[Clock, Field(alias="from")]
    end: Annotated[Clock, Field(alias="to", examples=["07:00"])]

    def chosen(self) -> QuietHours:
        """Them, as the domain has them."""
        return QuietHours(start=self.start, end=self.end)


class SetPreferences(Input):
    """All that a user chooses. What is left out is not chosen: every channel is wanted, at all hours."""

    channels: Annotated[list[ChannelChoice], Field(default_factory=list, max_length=MAX_PREFERENCES)]
    quiet_hours: QuietHoursChoice | None = None

    def applied_to(self, old: Preferences) -> Preferences:
        """`old` with what is given in place of what was there. Raises `ValidationFailed`."""
        given: dict[str, Any] = {}
        if "channels" in self.model_fields_set:
            given["channels"] = tuple(choice.chosen() for choice in self.channels)
        if "quiet_hours" in self.model_fields_set:
            given["quiet_hours"] = None if self.quiet_hours is None else self.quiet_hours.chosen()
        new = msgspec.structs.replace(old, **given)
        if found := list(_problems(new)):
            raise ValidationFailed(found)
        return new


class ChangePreferences(SetPreferences):
    """What to choose anew. What is left out stays; a list replaces the whole list, null clears the quiet hours."""


def permissions(recipient: Recipient, asked: Iterable[str], priority: Priority, at: datetime) -> list[Permission]:
    """For each channel and category that matters, whether they may be contacted then. Suppressions are not ours."""
    named = (choice.category for choice in recipient.preferences.channels if choice.category is not None)
    categories = dict.fromkeys((DEFAULT_CATEGORY, *named, *asked))
    return [
        _permission(recipient, channel, Purpose(category=category, priority=priority), at)
        for channel in Channel
        for category in categories
    ]


def _permission(recipient: Recipient, channel: Channel, purpose: Purpose, at: datetime) -> Permission:
    decision = may_contact(recipient, channel, purpose, at, suppressed={})
    return Permission(
        channel=channel,
        category=purpose.category,
        allowed=decision.allowed,
        code=decision.code,
        reason=decision.reason,
        held_until=decision.until,
    )


def _problems(preferences: Preferences) -> Iterator[FieldProblem]:
    seen = set()
    for index, choice in enumerate(preferences.channels):
        key = (choice.channel, choice.category)
        if key in seen:
            about = "as a whole" if choice.category is None else f"for {choice.category!r}"
            yield FieldProblem(("channels", str(index)), "duplicate", f"{choice.channel} {about} is there twice")
        seen.add(key)
    quiet = preferences.quiet_hours
    if quiet is not None and quiet.start == quiet.end:
        yield FieldProblem(("quiet_hours", "to"), "equal", "must differ from the beginning")
