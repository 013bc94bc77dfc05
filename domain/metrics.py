"""What Heliograph measures: the names, labels and meanings of its metrics, as data.

Code that counts, dashboards, alerts and their tests all speak of these; docs/metrics.md shows them. Counters only
grow; a process that starts again starts at 0. Labels are few and bounded: no id and no contact point is ever one.
"""

from typing import Literal

import msgspec

_QUICK = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_PROVIDER = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0)
_LIFE = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 1800.0, 7200.0)


class Metric(msgspec.Struct, frozen=True):
    """One metric. `buckets` are the upper bounds of a histogram, in seconds."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


# ------------------------------------------------------------------------------------------------------ every role

INFO = Metric("heliograph_info", "gauge", "1; who this is.", ("role", "version", "instance"))
LOOP_LAG = Metric(
    "heliograph_event_loop_lag_seconds",
    "histogram",
    "How much later than planned the event loop gets to things, looked at twice a second.",
    buckets=_QUICK,
)
DEPENDENCY_UP = Metric("heliograph_dependency_up", "gauge", "1: it answers; 0: it does not.", ("dependency",))
DEPENDENCY_LATENCY = Metric(
    "heliograph_dependency_latency_seconds", "gauge", "How long it took to answer, the last time.", ("dependency",)
)

# ------------------------------------------------------------------------------------------------------------ HTTP

HTTP_REQUESTS = Metric(
    "heliograph_http_requests_total",
    "counter",
    "Requests that were answered; `route` is the path's pattern.",
    ("method", "route", "status"),
)
HTTP_SECONDS = Metric(
    "heliograph_http_request_seconds", "histogram", "Until the answer to a request began.", ("route",), _QUICK
)
GRAPHQL_OPERATIONS = Metric(
    "heliograph_graphql_operations_total",
    "counter",
    "Root fields of queries and mutations, by what came of them: ok, refused (an expected failure), error.",
    ("field", "outcome"),
)
GRAPHQL_SECONDS = Metric(
    "heliograph_graphql_operation_seconds", "histogram", "How long a root field took.", ("field",), _QUICK
)
SERVICE_CALLS = Metric(
    "heliograph_service_call_seconds",
    "histogram",
    "Calls of another service, by what came of them: ok, error, open (not made: its breaker is open).",
    ("service", "outcome"),
    _QUICK,
)

# --------------------------------------------------------------------------------------------------------- queues

PUBLISHED = Metric("heliograph_queue_published_total", "counter", "Messages that this role put in a queue.", ("queue",))
CONSUMED = Metric(
    "heliograph_queue_consumed_total",
    "counter",
    "Messages of a queue that this role settled: ack, requeue, reject.",
    ("queue", "settled"),
)
DEPTH = Metric("heliograph_queue_depth", "gauge", "Messages that wait. Every gateway tells it: use max.", ("queue",))
CONSUMERS = Metric(
    "heliograph_queue_consumers", "gauge", "Consumers of a queue. Every gateway tells it: use max.", ("queue",)
)
LAG = Metric(
    "heliograph_queue_lag_seconds",
    "gauge",
    "Age of the oldest that waits; of a delivery queue, what is due and not yet published waits too. Every gateway "
    "tells it: use max.",
    ("queue",),
)
WAITING = Metric(
    "heliograph_queue_waiting",
    "gauge",
    "Notifications that are due and not yet published, counted to 10,000. Every gateway tells it: use max.",
    ("queue",),
)

# ------------------------------------------------------------------------------------------------------- delivery

ATTEMPTS = Metric(
    "heliograph_attempts_total",
    "counter",
    "Delivery attempts by outcome: accepted, transient, permanent, unknown.",
    ("channel", "provider", "outcome"),
)
ATTEMPT_SECONDS = Metric(
    "heliograph_attempt_seconds", "histogram", "How long a provider took to answer.", ("channel", "provider"), _PROVIDER
)
BREAKER = Metric(
    "heliograph_breaker_state",
    "gauge",
    "0 closed, 1 half-open, 2 open; `channel` is empty where it keeps calls from another service.",
    ("breaker", "channel"),
)
IN_HAND = Metric("heliograph_in_hand", "gauge", "Deliveries that this worker has under way.", ("channel",))
STATUS_CHANGES = Metric(
    "heliograph_status_changes_total",
    "counter",
    "Entries that this role wrote to the log.",
    ("channel", "status"),
)
END_TO_END = Metric(
    "heliograph_end_to_end_seconds",
    "histogram",
    "From acceptance, or from the time that it was scheduled for, until SENT.",
    ("channel",),
    _LIFE,
)

BOUNCE_MAILS = Metric(
    "heliograph_bounce_mails_total", "counter", "Mails to return paths, by what became of them.", ("result",)
)

# ----------------------------------------------------------------------------------------------------------- feed

SUBSCRIPTIONS = Metric("heliograph_subscriptions", "gauge", "Subscriptions that are open at this gateway.")
SOCKETS = Metric("heliograph_sockets", "gauge", "Sockets and event streams that are open at this gateway.")
FOLLOWER_LAG = Metric(
    "heliograph_follower_lag_positions",
    "gauge",
    "Entries of the status log that exist and that this gateway's subscriptions were not told of yet.",
)

# ------------------------------------------------------------------------------------------------------ retention

ROWS_REMOVED = Metric("heliograph_rows_removed_total", "counter", "Rows that retention removed here.", ("table",))
HORIZON = Metric("heliograph_log_horizon_position", "gauge", "The status log is dense above this position.")

METRICS: tuple[Metric, ...] = tuple(each for each in list(vars().values()) if isinstance(each, Metric))
"""All of the above."""
