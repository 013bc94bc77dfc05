"""What a recipient chose: which channels they want for what, and when they want to be left alone.

Everything here is pure. A preference is about a whole channel (`category` null) or about one category on it; the more
specific one decides, and what nothing was said about is wanted. Quiet hours are wall-clock times in the user's own
time zone.
"""

import re
from datetime import UTC, datetime, time, timedelta, tzinfo
from enum import StrEnum
from zoneinfo import ZoneInfo

import msgspec

from domain.notification import Channel

MAX_PREFERENCES = 200
_CLOCK = re.compile(r"([01]\d|2[0-3]):[0-5]\d", re.ASCII)
_MINUTE = timedelta(minutes=1)


class ChannelPreference(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the recipient wants this channel: for one category, or, with `category` null, for everything else."""

    channel: Channel
    category: str | None = None
    enabled: bool


class QuietHours(msgspec.Struct, frozen=True, kw_only=True, rename={"start": "from", "end": "to"}):
    """Wall-clock times such as "22:00": from `start` to just before `end`, across midnight where `end` is earlier."""

    start: str
    end: str


class Rule(StrEnum):
    """Which preference decided: the category's own, the whole channel's, or none (what nothing was said about)."""

    CATEGORY = "category"
    CHANNEL = "channel"
    DEFAULT = "default"


class Preferences(msgspec.Struct, frozen=True, kw_only=True):
    """All that a recipient chose. At most one preference for each channel and category."""

    channels: tuple[ChannelPreference, ...] = ()
    quiet_hours: QuietHours | None = None

    def decide(self, channel: Channel, category: str) -> tuple[bool, Rule]:
        """Whether this channel is wanted for this category, and which preference says so."""
        chosen = {each.category: each.enabled for each in self.channels if each.channel is channel}
        if category in chosen:
            return chosen[category], Rule.CATEGORY
        if None in chosen:
            return chosen[None], Rule.CHANNEL
        return True, Rule.DEFAULT

    def refusal(self, channel: Channel, category: str) -> str | None:
        """What the recipient opted out of, as the end of a sentence, or None."""
        wanted, rule = self.decide(channel, category)
        if wanted:
            return None
        return f"{channel.routing_key} for {category!r}" if rule is Rule.CATEGORY else channel.routing_key


def clock_problem(text: str) -> str | None:
    """What is wrong with a wall-clock time, or None."""
    return None if _CLOCK.fullmatch(text) else "is not a time of day such as '22:00'"


def zone_of(name: str) -> tzinfo:
    """The time zone of that IANA name; UTC where this machine does not know it."""
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, LookupError):
        return UTC


def quiet_until(quiet: QuietHours, zone: tzinfo, now: datetime) -> datetime | None:
    """When the quiet hours end that `now` lies in: the first moment on which the wall clock is out of them.

    None while nothing is quiet. A clock that is set forward past the end ends them at once; one that is set back into
    them begins them again, and one that is set back to before their beginning does not end them.
    """
    start, end = time.fromisoformat(quiet.start), time.fromisoformat(quiet.end)
    moment = now
    for _ in range(3):  # again where a clock that was set forward landed in the next quiet hours
        if not _is_quiet(start, end, moment.astimezone(zone).time()):
            return None if moment is now else moment
        moment = _next(end, zone, moment)
    return moment


def _is_quiet(start: time, end: time, wall: time) -> bool:
    return start <= wall < end if start < end else wall >= start or wall < end


def _next(wall: time, zone: tzinfo, now: datetime) -> datetime:
    """The first moment after `now` at which the clock on the wall says `wall`, or has been set past it."""
    today = now.astimezone(zone).date()
    candidates = (
        _moment(datetime.combine(today + timedelta(days=ahead), wall, zone).replace(fold=fold))
        for ahead in (0, 1)
        for fold in (0, 1)
    )
    return min(candidate for candidate in candidates if candidate > now)


def _moment(local: datetime) -> datetime:
    """The moment of a wall-clock time; one that the clock leaps over is the moment of the leap."""
    moment = local.astimezone(UTC)
    if moment.astimezone(local.tzinfo).replace(tzinfo=None, fold=0) == local.replace(tzinfo=None, fold=0):
        return moment
    before, after = sorted(local.replace(fold=fold).astimezone(UTC) for fold in (0, 1))
    offset = before.astimezone(local.tzinfo).utcoffset()
    while after - before > _MINUTE:
        middle = before + (after - before) // _MINUTE // 2 * _MINUTE
        before, after = (middle, after) if middle.astimezone(local.tzinfo).utcoffset() == offset else (before, middle)
    return after
