"""The tables of the gateway database.

The hot paths (accept, take, claim, settle, record) use SQL of their own on these tables, a set at a time; see
`outbox.py`, `claims.py` and `statuslog.py`. Everything else goes through these models. Indexes that only concern
unfinished rows are partial, so a table of a million finished notifications costs the dispatcher nothing; they are
created by the migration.
"""

from tortoise import fields
from tortoise.models import Model


class Request(Model):
    """What one caller submitted; shared by all its notifications and never changed."""

    id = fields.CharField(max_length=40, primary_key=True)
    client = fields.CharField(max_length=40)
    request_id = fields.CharField(max_length=200)
    fingerprint = fields.CharField(max_length=64)
    correlation_id = fields.CharField(max_length=128)
    traceparent = fields.CharField(max_length=64, null=True)
    category = fields.CharField(max_length=200)
    priority = fields.SmallIntField()
    total = fields.IntField()
    content = fields.TextField(null=True)
    variables = fields.TextField(null=True)
    push = fields.TextField(null=True)
    attachments = fields.TextField(null=True)
    metadata = fields.TextField(null=True)
    send_at = fields.DatetimeField(null=True)
    deliver_by = fields.DatetimeField(null=True)
    created_at = fields.DatetimeField()

    class Meta:
        app = "gateway"
        table = "requests"
        unique_together = (("client", "request_id"),)


class Notification(Model):
    """One notification: its status, its claim and its clock. `domain.notification.Progress` explains the columns.

    `drives` counts how often it was published since it was last claimed; 0 means that no message speaks of it.
    JSON is kept as text: it is written and read whole, by code that knows its type.
    """

    id = fields.CharField(max_length=40, primary_key=True)
    request = fields.CharField(max_length=40)
    request_id = fields.CharField(max_length=200)
    client = fields.CharField(max_length=40)
    user_id = fields.CharField(max_length=200, null=True)
    correlation_id = fields.CharField(max_length=128)
    traceparent = fields.CharField(max_length=64, null=True)
    channel = fields.CharField(max_length=8)
    category = fields.CharField(max_length=200)
    priority = fields.SmallIntField()
    status = fields.CharField(max_length=12)
    reason = fields.TextField(null=True)
    sequence = fields.IntField()
    attempt = fields.IntField(db_default=0)
    attempts_used = fields.IntField(db_default=0)
    drives = fields.IntField(db_default=0)
    next_at = fields.DatetimeField(null=True)
    token = fields.CharField(max_length=40, null=True)
    settled = fields.TextField(null=True)
    uncertain = fields.BooleanField(db_default=False)
    possible_duplicate = fields.BooleanField(db_default=False)
    refused_devices = fields.TextField(null=True)
    provider = fields.CharField(max_length=40, null=True)
    provider_message_id = fields.TextField(null=True)
    recipient = fields.TextField()
    template = fields.TextField(null=True)
    variables = fields.TextField(null=True)
    test = fields.BooleanField(db_default=False)
    send_at = fields.DatetimeField(null=True)
    deliver_by = fields.DatetimeField(null=True)
    created_at = fields.DatetimeField()
    updated_at = fields.DatetimeField()

    class Meta:
        app = "gateway"
        table = "notifications"


class LogEntry(Model):
    """One applied status change. `position` is dense over the whole log."""

    position = fields.BigIntField(primary_key=True, generated=False)
    notification_id = fields.CharField(max_length=40)
    sequence = fields.IntField()
    request = fields.CharField(max_length=40)
    request_id = fields.CharField(max_length=200)
    client = fields.CharField(max_length=40)
    user_id = fields.CharField(max_length=200, null=True)
    channel = fields.CharField(max_length=8)
    category = fields.CharField(max_length=200)
    status = fields.CharField(max_length=12)
    previous_status = fields.CharField(max_length=12, null=True)
    reason = fields.TextField(null=True)
    attempt = fields.IntField(null=True)
    provider = fields.CharField(max_length=40, null=True)
    detail = fields.TextField(null=True)
    correlation_id = fields.CharField(max_length=128)
    occurred_at = fields.DatetimeField()
    recorded_at = fields.DatetimeField()

    class Meta:
        app = "gateway"
        table = "status_log"
        unique_together = (("notification_id", "sequence"),)


class LogHead(Model):
    """The one counter row: the last position. Locked last by every writer and held to its commit."""

    id = fields.SmallIntField(primary_key=True, generated=False)
    position = fields.BigIntField()

    class Meta:
        app = "gateway"
        table = "status_log_head"


class RetentionRow(Model):
    """One row: the log's horizon, and the clock of the next round of retention. `token`: who is at it until `due_at`.

    Not a column of `LogHead`: whoever writes the log holds that row, and nobody should wait there for a removal.
    """

    id = fields.SmallIntField(primary_key=True, generated=False)
    horizon = fields.BigIntField()
    token = fields.CharField(max_length=40, null=True)
    due_at = fields.DatetimeField()

    class Meta:
        app = "gateway"
        table = "retention"


class Removal(Model):
    """A request that is gone and whose notifications are being removed."""

    request = fields.CharField(max_length=40, primary_key=True)

    class Meta:
        app = "gateway"
        table = "removals"


class AttemptRow(Model):
    """One call to one provider for one contact point."""

    id = fields.BigIntField(primary_key=True, generated=True)
    notification_id = fields.CharField(max_length=40)
    number = fields.IntField()
    device_id = fields.CharField(max_length=40, db_default="")
    provider = fields.CharField(max_length=40)
    outcome = fields.CharField(max_length=12)
    code = fields.TextField(null=True)
    detail = fields.TextField(null=True)
    started_at = fields.DatetimeField()
    duration_ms = fields.IntField()
    retry_at = fields.DatetimeField(null=True)

    class Meta:
        app = "gateway"
        table = "attempts"
        unique_together = (("notification_id", "number", "device_id", "provider"),)


class DeadLetterRow(Model):
    """A delivery that was given up on, or a message that nobody could read. `source` makes it unique."""

    id = fields.CharField(max_length=40, primary_key=True)
    source = fields.CharField(max_length=200, unique=True)
    notification_id = fields.CharField(max_length=40, null=True)
    channel = fields.CharField(max_length=8, null=True)
    queue = fields.CharField(max_length=80)
    reason = fields.TextField()
    attempts = fields.IntField()
    payload = fields.TextField(null=True)
    first_failed_at = fields.DatetimeField()
    dead_lettered_at = fields.DatetimeField()
    replayed_at = fields.DatetimeField(null=True)

    class Meta:
        app = "gateway"
        table = "dead_letters"


class SuppressionRow(Model):
    """A block on a contact point, found by `contact_key`, a keyed hash. Erasing a user empties `contact_point`."""

    id = fields.CharField(max_length=40, primary_key=True)
    channel = fields.CharField(max_length=8)
    contact_key = fields.CharField(max_length=64, unique=True)
    contact_point = fields.TextField()
    category = fields.CharField(max_length=200, null=True)
    reason = fields.CharField(max_length=200)
    created_at = fields.DatetimeField()

    class Meta:
        app = "gateway"
        table = "suppressions"


class CallbackRow(Model):
    """What was said of a notification after it was sent: each thing once, the first time. No contact point in it."""

    id = fields.BigIntField(primary_key=True, generated=True)
    notification_id = fields.CharField(max_length=40)
    kind = fields.CharField(max_length=12)
    permanent = fields.BooleanField()
    occurred_at = fields.DatetimeField()
    provider = fields.CharField(max_length=40)
    code = fields.TextField(null=True)
    reason = fields.TextField(null=True)

    class Meta:
        app = "gateway"
        table = "callbacks"
        unique_together = (("notification_id", "kind", "permanent"),)


class SoftBounceRow(Model):
    """How many mails to one contact point came back in a row, the last one at `last_at`."""

    contact_key = fields.CharField(max_length=64, primary_key=True)
    count = fields.IntField()
    last_at = fields.DatetimeField()

    class Meta:
        app = "gateway"
        table = "soft_bounces"


class DeviceRefusal(Model):
    """A device that a push provider refused for good, until the User Service was told of it."""

    device_id = fields.CharField(max_length=40, primary_key=True)
    refused_at = fields.DatetimeField()

    class Meta:
        app = "gateway"
        table = "device_refusals"


class ApiKeyRow(Model):
    """An API key: only its hash is kept. `client` is who request_ids are unique for; it survives rotation."""

    id = fields.CharField(max_length=40, primary_key=True)
    name = fields.CharField(max_length=200)
    client = fields.CharField(max_length=40)
    key_hash = fields.CharField(max_length=64, unique=True)
    scopes = fields.TextField()
    test = fields.BooleanField(db_default=False)
    created_at = fields.DatetimeField()
    last_used_at = fields.DatetimeField(null=True)
    revoked_at = fields.DatetimeField(null=True)

    class Meta:
        app = "gateway"
        table = "api_keys"
