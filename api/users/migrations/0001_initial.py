"""Users and their devices."""

from tortoise import fields
from tortoise.indexes import Index
from tortoise.migrations import migration
from tortoise.migrations.operations import CreateModel


class Migration(migration.Migration):
    """Users and their devices."""

    initial = True
    operations = [
        CreateModel(
            name="UserRow",
            fields=[
                ("id", fields.CharField(max_length=64, primary_key=True)),
                ("email", fields.CharField(max_length=254, null=True)),
                ("email_key", fields.CharField(max_length=254, null=True, unique=True)),
                ("name", fields.CharField(max_length=200, null=True)),
                ("locale", fields.CharField(max_length=35)),
                ("time_zone", fields.CharField(max_length=64)),
                ("created_at", fields.DatetimeField()),
                ("updated_at", fields.DatetimeField()),
            ],
            options={"table": "users", "app": "users"},
        ),
        CreateModel(
            name="DeviceRow",
            fields=[
                ("id", fields.CharField(max_length=64, primary_key=True)),
                ("user", fields.ForeignKeyField("users.UserRow", related_name="devices")),
                ("platform", fields.CharField(max_length=8)),
                ("token", fields.TextField()),
                ("token_hash", fields.CharField(max_length=64, unique=True)),
                ("invalid_since", fields.DatetimeField(null=True)),
                ("created_at", fields.DatetimeField()),
                ("last_seen_at", fields.DatetimeField()),
            ],
            options={"table": "devices", "app": "users", "indexes": [Index(fields=["user_id"])]},
        ),
    ]
