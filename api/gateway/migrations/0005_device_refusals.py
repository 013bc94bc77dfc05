"""Devices that a provider refused for good and that the User Service is yet to be told of."""

from tortoise import fields, migrations
from tortoise.migrations import operations as ops


class Migration(migrations.Migration):
    dependencies = [("gateway", "0004_callbacks")]

    operations = [
        ops.CreateModel(
            name="DeviceRefusal",
            fields=[
                ("device_id", fields.CharField(primary_key=True, unique=True, db_index=True, max_length=40)),
                ("refused_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
            ],
            options={"table": "device_refusals", "app": "gateway", "pk_attr": "device_id"},
            bases=["Model"],
        ),
    ]
