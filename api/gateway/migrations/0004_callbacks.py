"""What is said after sending: each thing once a notification; bounces in a row; suppressions for one category."""

from tortoise import fields, migrations
from tortoise.migrations import operations as ops


class Migration(migrations.Migration):
    dependencies = [("gateway", "0003_refused_devices")]

    operations = [
        ops.CreateModel(
            name="CallbackRow",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("notification_id", fields.CharField(max_length=40)),
                ("kind", fields.CharField(max_length=12)),
                ("permanent", fields.BooleanField()),
                ("occurred_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
                ("provider", fields.CharField(max_length=40)),
                ("code", fields.TextField(null=True, unique=False)),
                ("reason", fields.TextField(null=True, unique=False)),
            ],
            options={
                "table": "callbacks",
                "app": "gateway",
                "unique_together": (("notification_id", "kind", "permanent"),),
                "pk_attr": "id",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="SoftBounceRow",
            fields=[
                ("contact_key", fields.CharField(primary_key=True, unique=True, db_index=True, max_length=64)),
                ("count", fields.IntField()),
                ("last_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
            ],
            options={"table": "soft_bounces", "app": "gateway", "pk_attr": "contact_key"},
            bases=["Model"],
        ),
        ops.AddField("SuppressionRow", "category", fields.CharField(max_length=200, null=True)),
    ]
