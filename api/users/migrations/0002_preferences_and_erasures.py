"""What users chose, who is being erased, and users in the order in which lists show them."""

from tortoise import fields
from tortoise.indexes import Index
from tortoise.migrations import migration
from tortoise.migrations.operations import AddField, AddIndex, CreateModel, RunSQL


class Migration(migration.Migration):
    """What users chose, who is being erased, and users in the order in which lists show them."""

    dependencies = [("users", "0001_initial")]
    operations = [
        AddField("UserRow", "preferences", fields.TextField(null=True)),
        AddIndex("UserRow", Index(fields=["created_at", "id"])),
        CreateModel(
            name="ErasureRow",
            fields=[
                ("id", fields.CharField(max_length=64, primary_key=True)),
                ("user_id", fields.CharField(max_length=64)),
                ("erased_at", fields.DatetimeField()),
                ("done_at", fields.DatetimeField(null=True)),
            ],
            options={"table": "erasures", "app": "users"},
        ),
        # Those that are done stay as evidence; what is asked all the time is who is not done.
        RunSQL("CREATE UNIQUE INDEX erasures_pending ON erasures (user_id) WHERE done_at IS NULL"),
    ]
