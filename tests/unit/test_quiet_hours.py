"""Quiet hours: when they hold and when they end, on ordinary nights and on those on which clocks are set."""

from datetime import UTC, datetime, time, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from domain.preferences import QuietHours, clock_problem, quiet_until, zone_of

BERLIN, NEW_YORK, LORD_HOWE = "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"
ZONES = (
    BERLIN,
    NEW_YORK,
    LORD_HOWE,  # sets its clocks by half an hour
    "Asia/Kathmandu",  # a quarter of an hour off, and never sets them
    "UTC",
    "Africa/Casablanca",  # sets them around Ramadan, backwards first
    "America/Sao_Paulo",
    "America/Havana",  # sets them at midnight
    "Antarctica/Troll",  # sets them by two hours
    "Pacific/Chatham",
)
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)


def until(quiet: str, zone: str, now: str) -> str | None:
    """When `from-to` ends for somebody there; times are on their own clock."""
    start, end = quiet.split("-")
    there = ZoneInfo(zone)
    moment = datetime.fromisoformat(now)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=there)
    found = quiet_until(QuietHours(start=start, end=end), there, moment.astimezone(UTC))
    return None if found is None else found.astimezone(there).isoformat(timespec="minutes")


ORDINARY = {
    "late in the evening": ("22:00-07:00", "2025-01-10T23:15", "2025-01-11T07:00+01:00"),
    "early in the morning": ("22:00-07:00", "2025-01-11T06:59:59", "2025-01-11T07:00+01:00"),
    "at their very beginning": ("22:00-07:00", "2025-01-10T22:00", "2025-01-11T07:00+01:00"),
    "at their very end": ("22:00-07:00", "2025-01-11T07:00", None),
    "just before them": ("22:00-07:00", "2025-01-10T21:59:59", None),
    "at noon": ("22:00-07:00", "2025-01-10T12:00", None),
    "a siesta": ("13:00-15:00", "2025-01-10T14:30", "2025-01-10T15:00+01:00"),
    "after a siesta": ("13:00-15:00", "2025-01-10T15:30", None),
    "until midnight": ("20:00-00:00", "2025-01-10T21:00", "2025-01-11T00:00+01:00"),
    "from midnight": ("00:00-06:00", "2025-01-10T00:00", "2025-01-10T06:00+01:00"),
    "a moment in another time zone": ("22:00-07:00", "2025-01-10T21:30+00:00", "2025-01-11T07:00+01:00"),
}


@pytest.mark.parametrize("case", ORDINARY)
def test_ordinary_nights_in_berlin(case: str) -> None:
    quiet, now, expected = ORDINARY[case]
    assert until(quiet, BERLIN, now) == expected


SPRING = {
    "the night is an hour shorter": ("22:00-07:00", "2025-03-29T23:00", "2025-03-30T07:00+02:00"),
    "the end is leapt over: they end with the leap": ("22:00-02:30", "2025-03-29T23:00", "2025-03-30T03:00+02:00"),
    "the end is the leap": ("22:00-02:00", "2025-03-29T23:00", "2025-03-30T03:00+02:00"),
    "the end comes right after the leap": ("22:00-03:00", "2025-03-29T23:00", "2025-03-30T03:00+02:00"),
    "all of them is leapt over": ("02:10-02:50", "2025-03-30T01:59", None),
    "the beginning is leapt over": ("02:30-04:00", "2025-03-30T03:00+02:00", "2025-03-30T04:00+02:00"),
    "the time to be awake is leapt over": ("02:45-02:15", "2025-03-29T23:00", "2025-03-31T02:15+02:00"),
}
AUTUMN = {
    "the night is an hour longer": ("22:00-07:00", "2025-10-25T23:00", "2025-10-26T07:00+01:00"),
    "the end comes twice: the first time counts": ("22:00-02:30", "2025-10-25T23:00", "2025-10-26T02:30+02:00"),
    "the clock is set back into them: they begin again": (
        "22:00-02:30",
        "2025-10-26T02:15+01:00",
        "2025-10-26T02:30+01:00",
    ),
    "the clock is set back to before them: they go on": (
        "02:30-04:00",
        "2025-10-26T02:45+02:00",
        "2025-10-26T04:00+01:00",
    ),
    "between their end and the clock being set": ("22:00-02:30", "2025-10-26T02:45+02:00", None),
}


@pytest.mark.parametrize("case", SPRING)
def test_the_night_on_which_the_clocks_go_forward_in_berlin(case: str) -> None:
    quiet, now, expected = SPRING[case]
    assert until(quiet, BERLIN, now) == expected


@pytest.mark.parametrize("case", AUTUMN)
def test_the_night_on_which_the_clocks_go_back_in_berlin(case: str) -> None:
    quiet, now, expected = AUTUMN[case]
    assert until(quiet, BERLIN, now) == expected


def test_everybody_has_their_own_clock() -> None:
    now = "2025-06-10T04:00+00:00"
    assert until("22:00-07:00", NEW_YORK, now) == "2025-06-10T07:00-04:00"
    assert until("22:00-07:00", "Asia/Kathmandu", now) is None
    assert until("22:00-07:00", BERLIN, now) == "2025-06-10T07:00+02:00"


def test_where_clocks_are_set_by_half_an_hour() -> None:
    assert until("22:00-02:15", LORD_HOWE, "2025-10-04T23:00") == "2025-10-05T02:30+11:00"


def test_a_time_zone_that_nobody_knows_is_utc() -> None:
    for name in ("Mars/Olympus_Mons", "", "Europe", "../etc/passwd", "nul\0", "\ud800", "x" * 5_000):
        assert zone_of(name) is UTC
    assert zone_of(BERLIN) == ZoneInfo(BERLIN)


@pytest.mark.parametrize("text", ["22:00", "00:00", "23:59"])
def test_a_time_of_day(text: str) -> None:
    assert clock_problem(text) is None


@pytest.mark.parametrize("text", ["", "24:00", "7:00", "07:60", "22:00:00", "22.00", "22:00\n", "1\u0662:00"])
def test_no_time_of_day(text: str) -> None:
    assert clock_problem(text) is not None


# -------------------------------------------------------------------------------------------------------- properties


@cache
def settings_of_clocks(name: str) -> tuple[datetime, ...]:
    """The moments from 2024 to 2027 at which clocks are set there, to the minute."""
    zone, found = ZoneInfo(name), []
    now = datetime(2024, 1, 1, tzinfo=UTC)
    while now.year < 2028:
        later = now + DAY
        if offset(zone, now) != offset(zone, later):
            before, after = now, later
            while after - before > MINUTE:
                middle = before + (after - before) // 2 // MINUTE * MINUTE
                before, after = (middle, after) if offset(zone, middle) == offset(zone, now) else (before, middle)
            found.append(after)
        now = later
    return tuple(found)


def offset(zone: ZoneInfo, moment: datetime) -> timedelta:
    """How far the clock is ahead of UTC then."""
    there = moment.astimezone(zone).utcoffset()
    assert there is not None
    return there


def set_by(zone: ZoneInfo, moment: datetime) -> timedelta:
    """How far clocks are set at this very moment; negative for backwards."""
    return offset(zone, moment) - offset(zone, moment - timedelta(microseconds=1))


def length(start: time, end: time) -> timedelta:
    """From one time of day to the next time that it is the other."""
    minutes = (end.hour - start.hour) * 60 + end.minute - start.minute
    return timedelta(minutes=minutes % 1440)


def is_quiet(start: time, end: time, zone: ZoneInfo, moment: datetime) -> bool:
    """By distance on the dial, not by comparison."""
    wall = moment.astimezone(zone).time()
    return length(start, wall) < length(start, end)


TIMES = st.times().map(lambda moment: moment.replace(second=0, microsecond=0))
AROUND = st.timedeltas(-timedelta(hours=26), timedelta(hours=3))


@st.composite
def nights(draw: st.DrawFn) -> tuple[time, time, ZoneInfo, datetime, tuple[datetime, ...]]:
    """Two times, a place, a moment (mostly around a setting of the clocks), and all settings there."""
    name = draw(st.sampled_from(ZONES))
    settings = settings_of_clocks(name)
    anywhere = st.datetimes(datetime(2024, 2, 1), datetime(2027, 11, 1), timezones=st.just(UTC))  # noqa: DTZ001
    near = st.builds(lambda at, by: at + by, st.sampled_from(settings), AROUND) if settings else anywhere
    start, end = draw(TIMES), draw(TIMES)
    assume(start != end)
    return start, end, ZoneInfo(name), draw(near | anywhere), settings


@given(nights())
def test_quiet_hours_end_when_the_clock_is_first_out_of_them(
    night: tuple[time, time, ZoneInfo, datetime, tuple[datetime, ...]],
) -> None:
    start, end, zone, now, settings = night
    found = quiet_until(QuietHours(start=f"{start:%H:%M}", end=f"{end:%H:%M}"), zone, now)
    if not is_quiet(start, end, zone, now):
        assert found is None
        return
    assert found is not None
    assert found > now
    assert not is_quiet(start, end, zone, found)
    assert found.astimezone(zone).time() == end or set_by(zone, found) > timedelta(0)
    passed = [moment for moment in settings if now < moment <= found]
    if all(set_by(zone, moment) > timedelta(0) for moment in passed):
        minutes = int((found - now - timedelta(microseconds=1)) / MINUTE) + 1
        assert all(is_quiet(start, end, zone, now + step * MINUTE) for step in range(minutes))
    leapt = max((set_by(zone, moment) for moment in passed), default=timedelta(0))
    assert found - now <= timedelta(hours=26) or length(end, start) <= leapt
