"""Templates and their versions."""

from tortoise import fields
from tortoise.migrations import migration
from tortoise.migrations.operations import CreateModel


class Migration(migration.Migration):
    """Templates and their versions."""

    initial = True
    operations = [
        CreateModel(
            name="TemplateRow",
            fields=[
                ("key", fields.CharField(max_length=100, primary_key=True)),
                ("id", fields.CharField(max_length=64, unique=True)),
                ("name", fields.CharField(max_length=200)),
                ("default_locale", fields.CharField(max_length=35)),
                ("latest_version", fields.IntField()),
                ("published_version", fields.IntField(null=True)),
                ("created_at", fields.DatetimeField()),
                ("updated_at", fields.DatetimeField()),
                ("deleted_at", fields.DatetimeField(null=True)),
            ],
            options={"table": "templates", "app": "templates"},
        ),
        CreateModel(
            name="VersionRow",
            fields=[
                ("id", fields.CharField(max_length=112, primary_key=True)),
                ("key", fields.CharField(max_length=100)),
                ("version", fields.IntField()),
                ("template_id", fields.CharField(max_length=64)),
                ("default_locale", fields.CharField(max_length=35)),
                ("locales", fields.JSONField()),
                ("note", fields.CharField(max_length=500, null=True)),
                ("published_at", fields.DatetimeField(null=True)),
                ("created_at", fields.DatetimeField()),
            ],
            options={"table": "template_versions", "app": "templates", "unique_together": (("key", "version"),)},
        ),
    ]
