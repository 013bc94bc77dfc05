"""Which devices refused a notification for good, so that a retry leaves them out; dead letters by notification."""

from tortoise import fields, migrations
from tortoise.migrations import operations as ops


class Migration(migrations.Migration):
    dependencies = [("gateway", "0002_suppressions")]

    operations = [
        ops.AddField("Notification", "refused_devices", fields.TextField(null=True)),
        ops.RunSQL("CREATE INDEX dead_letters_notification ON dead_letters (notification_id)"),
    ]
