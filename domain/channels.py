"""The names of the pub/sub channels between processes.

A channel only ever says "look": what is rung on it may be lost, doubled or late, and nobody depends on it.
"""

STATUS_CHANNEL = "heliograph.status"
"""The status log grew. Rung by every writer of the log after its commit; see `domain.doorbell` for what it carries."""

NUDGE_CHANNEL = "heliograph.nudge"
"""There may be due rows. Rung for the dispatchers."""

CHANGES_CHANNEL = "heliograph.changes"
"""Something that others remember has changed: a user, a template, an API key. See `domain.changes`."""

VITALS_CHANNEL = "heliograph.vitals"
"""An instance lives. Rung by every instance every few seconds; see `domain.vitals` for what it carries."""
