"""The tables of the Template Service."""

from typing import Any

from tortoise import fields
from tortoise.models import Model


class TemplateRow(Model):
    """A template. A deleted one keeps its row: its key goes on numbering versions where it stopped.

    So a key and a version name one text for ever, and whoever remembers it never remembers the wrong one.
    """

    key = fields.CharField(max_length=100, primary_key=True)
    id = fields.CharField(max_length=64, unique=True)
    name = fields.CharField(max_length=200)
    default_locale = fields.CharField(max_length=35)
    latest_version = fields.IntField()
    published_version = fields.IntField(null=True)
    created_at = fields.DatetimeField()
    updated_at = fields.DatetimeField()
    deleted_at = fields.DatetimeField(null=True)

    class Meta:
        table = "templates"


class VersionRow(Model):
    """A version of a template: written once. `template_id` is the template that it was written for.

    Its `id` is `key@version`. `published_at` is when it was first published.
    """

    id = fields.CharField(max_length=112, primary_key=True)
    key = fields.CharField(max_length=100)
    version = fields.IntField()
    template_id = fields.CharField(max_length=64)
    default_locale = fields.CharField(max_length=35)
    locales: fields.Field[list[dict[str, Any]]] = fields.JSONField()
    note = fields.CharField(max_length=500, null=True)
    published_at = fields.DatetimeField(null=True)
    created_at = fields.DatetimeField()

    class Meta:
        table = "template_versions"
        unique_together = (("key", "version"),)
