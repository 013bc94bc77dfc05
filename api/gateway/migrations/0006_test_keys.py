"""Which keys are for tests, and which notifications they sent: those go to the sandbox and nowhere else."""

from tortoise import fields, migrations
from tortoise.migrations import operations as ops


class Migration(migrations.Migration):
    dependencies = [("gateway", "0005_device_refusals")]

    operations = [
        ops.AddField("ApiKeyRow", "test", fields.BooleanField(db_default=False)),
        ops.AddField("Notification", "test", fields.BooleanField(db_default=False)),
    ]
