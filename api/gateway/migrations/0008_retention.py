"""What retention knows: the log's horizon, whose turn it is, and the requests whose notifications are being removed."""

from tortoise import fields, migrations
from tortoise.migrations import operations as ops


class Migration(migrations.Migration):
    dependencies = [("gateway", "0007_attachments")]

    operations = [
        ops.CreateModel(
            name="RetentionRow",
            fields=[
                ("id", fields.SmallIntField(primary_key=True, unique=True, db_index=True)),
                ("horizon", fields.BigIntField()),
                ("token", fields.CharField(null=True, max_length=40)),
                ("due_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
            ],
            options={"table": "retention", "app": "gateway", "pk_attr": "id"},
            bases=["Model"],
        ),
        ops.CreateModel(
            name="Removal",
            fields=[("request", fields.CharField(primary_key=True, unique=True, db_index=True, max_length=40))],
            options={"table": "removals", "app": "gateway", "pk_attr": "request"},
            bases=["Model"],
        ),
        ops.RunSQL(
            [
                "INSERT INTO retention (id, horizon, due_at) VALUES (1, 0, '2000-01-01 00:00:00.000000+00:00')",
                # The other tables need none: ids begin with the time, so that the oldest rows stand first.
                "CREATE INDEX soft_bounces_last ON soft_bounces (last_at)",
            ]
        ),
    ]
