"""From the rows of the users database to what callers see: the one place that knows which column holds what."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from api.database import parse_time
from api.records import Erasure, User, UserDevice
from domain.preferences import Preferences
from domain.recipient import Device, Recipient

USER_COLUMNS = "id, email, name, locale, time_zone, preferences, created_at, updated_at"
DEVICE_COLUMNS = "id, user_id, platform, token, invalid_since, created_at, last_seen_at"
ERASURE_COLUMNS = "id, user_id, erased_at, done_at"

_NOTHING_CHOSEN = Preferences()
_preferences = msgspec.json.Decoder(Preferences)

Row = Mapping[str, Any]


def to_user(row: Row, devices: Sequence[Row]) -> User:
    """A user of `USER_COLUMNS`, with devices of `DEVICE_COLUMNS`."""
    return User(
        id=row["id"],
        email=row["email"],
        name=row["name"],
        locale=row["locale"],
        time_zone=row["time_zone"],
        devices=tuple(map(to_device, devices)),
        preferences=read_preferences(row["preferences"]),
        created_at=parse_time(row["created_at"]),
        updated_at=parse_time(row["updated_at"]),
    )


def to_device(row: Row) -> UserDevice:
    """A device of `DEVICE_COLUMNS`, without its token."""
    return UserDevice(
        id=row["id"],
        user_id=row["user_id"],
        platform=row["platform"],
        token_hint=f"…{row['token'][-4:]}",
        valid=row["invalid_since"] is None,
        invalid_since=None if row["invalid_since"] is None else parse_time(row["invalid_since"]),
        created_at=parse_time(row["created_at"]),
        last_seen_at=parse_time(row["last_seen_at"]),
    )


def to_recipient(row: Row, devices: Sequence[Row]) -> Recipient:
    """The same user as delivery sees them: only devices that are valid, with their tokens."""
    return Recipient(
        user_id=row["id"],
        name=row["name"],
        email=row["email"],
        locale=row["locale"],
        time_zone=row["time_zone"],
        preferences=read_preferences(row["preferences"]),
        devices=tuple(
            Device(id=device["id"], token=device["token"], platform=device["platform"])
            for device in devices
            if device["invalid_since"] is None
        ),
    )


def to_erasure(row: Row) -> Erasure:
    """An erasure of `ERASURE_COLUMNS`."""
    done_at = row["done_at"]
    return Erasure(
        id=row["id"],
        user_id=row["user_id"],
        erased_at=parse_time(row["erased_at"]),
        done_at=None if done_at is None else parse_time(done_at),
    )


def read_preferences(text: str | None) -> Preferences:
    """What the column says."""
    return _NOTHING_CHOSEN if text is None else _preferences.decode(text)


def write_preferences(chosen: Preferences) -> str | None:
    """What the column says when this was chosen."""
    return None if chosen == _NOTHING_CHOSEN else msgspec.json.encode(chosen).decode()
