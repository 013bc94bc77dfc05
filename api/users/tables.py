"""The tables of the User Service."""

from typing import ClassVar

from tortoise import fields
from tortoise.models import Model


class UserRow(Model):
    """A user. `email_key` is the address in lower case: two users never share a mailbox.

    `preferences` is the JSON of `domain.preferences.Preferences`; null while nothing was chosen.
    """

    id = fields.CharField(max_length=64, primary_key=True)
    email = fields.CharField(max_length=254, null=True)
    email_key = fields.CharField(max_length=254, null=True, unique=True)
    name = fields.CharField(max_length=200, null=True)
    locale = fields.CharField(max_length=35)
    time_zone = fields.CharField(max_length=64)
    preferences = fields.TextField(null=True)
    created_at = fields.DatetimeField()
    updated_at = fields.DatetimeField()

    class Meta:
        table = "users"
        indexes: ClassVar = [("created_at", "id")]


class DeviceRow(Model):
    """A device of a user. A token is at most one user's; `token_hash` finds it (tokens are too long for an index)."""

    id = fields.CharField(max_length=64, primary_key=True)
    user: fields.ForeignKeyRelation[UserRow] = fields.ForeignKeyField("users.UserRow", related_name="devices")
    platform = fields.CharField(max_length=8)
    token = fields.TextField()
    token_hash = fields.CharField(max_length=64, unique=True)
    invalid_since = fields.DatetimeField(null=True)
    created_at = fields.DatetimeField()
    last_seen_at = fields.DatetimeField()

    class Meta:
        table = "devices"
        indexes: ClassVar = [("user_id",)]


class ErasureRow(Model):
    """A user who was deleted, and when all other services had forgotten them too; at most one of a user is not done."""

    id = fields.CharField(max_length=64, primary_key=True)
    user_id = fields.CharField(max_length=64)
    erased_at = fields.DatetimeField()
    done_at = fields.DatetimeField(null=True)

    class Meta:
        table = "erasures"
