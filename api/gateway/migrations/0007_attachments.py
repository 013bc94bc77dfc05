"""What goes with the mails of a request: files by reference."""

from tortoise import fields, migrations
from tortoise.migrations import operations as ops


class Migration(migrations.Migration):
    dependencies = [("gateway", "0006_test_keys")]

    operations = [ops.AddField("Request", "attachments", fields.TextField(null=True, unique=False))]
