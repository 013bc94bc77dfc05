"""Suppressions: our blocks on contact points."""

from tortoise import fields, migrations
from tortoise.migrations import operations as ops


class Migration(migrations.Migration):
    dependencies = [("gateway", "0001_initial")]

    operations = [
        ops.CreateModel(
            name="SuppressionRow",
            fields=[
                ("id", fields.CharField(primary_key=True, unique=True, db_index=True, max_length=40)),
                ("channel", fields.CharField(max_length=8)),
                ("contact_key", fields.CharField(unique=True, max_length=64)),
                ("contact_point", fields.TextField(unique=False)),
                ("reason", fields.CharField(max_length=200)),
                ("created_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
            ],
            options={"table": "suppressions", "app": "gateway", "pk_attr": "id"},
            bases=["Model"],
        ),
    ]
