"""The broker's topology: exchanges, queues and bindings, as data that both adapters obey.

A message that nobody can settle is never lost: after `DELIVERY_LIMIT` returns it moves to `failed.queue`, and the
notification's row drives the delivery again in any case. RabbitMQ keeps a queue's arguments for its whole life, so a
change here needs a queue of another name (or a policy).
"""

from typing import Any, Literal

import msgspec

from domain.notification import Channel
from domain.ports import Message, Publication

EXCHANGE_NOTIFICATIONS = "notifications.direct"
EXCHANGE_STATUS = "notifications.status"

EMAIL_QUEUE = "email.queue"
PUSH_QUEUE = "push.queue"
FAILED_QUEUE = "failed.queue"
STATUS_QUEUE = "status.queue"

FAILED_KEY = "failed"
"""Routes to `failed.queue` through `notifications.direct`."""

HEADER_REASON = "x-reason"
HEADER_ORIGINAL_QUEUE = "x-original-queue"
"""What each message in `failed.queue` carries, whoever put it there."""

DELIVERY_LIMIT = 20
"""How often a message may return to its queue: more often than a rolling restart of a fleet hands it from worker to
worker, seldom enough that a message that kills its consumer is soon set aside. RabbitMQ 4 defaults to the same."""

MAX_LENGTH = 100_000
"""Messages that wait in a queue; beyond it publishing fails, and the database keeps the rest."""

OVER_DELIVERED = f"It was handed back more than {DELIVERY_LIMIT} times."

_NEVER = 1_000_000_000
_LONGEST_REASON = 1_000


class Exchange(msgspec.Struct, frozen=True):
    """Where messages are published. `direct` compares the routing key, `topic` matches a pattern."""

    name: str
    kind: Literal["direct", "topic"]

    def admits(self, pattern: str, routing_key: str) -> bool:
        """Whether a binding with `pattern` lets a message with this routing key through."""
        if self.kind == "direct":
            return pattern == routing_key
        return _matches(pattern.split("."), routing_key.split("."))


class Queue(msgspec.Struct, frozen=True, kw_only=True):
    """Where messages wait. With `single_active_consumer` one consumer gets all of them and the others stand by."""

    name: str
    delivery_limit: int = DELIVERY_LIMIT
    dead_letters: bool = True
    single_active_consumer: bool = False

    @property
    def arguments(self) -> dict[str, Any]:
        """How RabbitMQ is told (3.10 and later)."""
        arguments: dict[str, Any] = {
            "x-queue-type": "quorum",
            # Always given: 3.10 has no limit of its own, and 4.x drops a message that passes its own limit.
            "x-delivery-limit": self.delivery_limit,
            "x-max-length": MAX_LENGTH,
            "x-overflow": "reject-publish",
        }
        if self.dead_letters:
            arguments |= {
                "x-dead-letter-exchange": EXCHANGE_NOTIFICATIONS,
                "x-dead-letter-routing-key": FAILED_KEY,
                # The message leaves this queue only when `failed.queue` has it. Needs `reject-publish`.
                "x-dead-letter-strategy": "at-least-once",
            }
        if self.single_active_consumer:
            arguments["x-single-active-consumer"] = True
        return arguments


class Binding(msgspec.Struct, frozen=True):
    """What is published to `exchange` with a routing key that `key` admits goes to `queue`."""

    exchange: str
    key: str
    queue: str


EXCHANGES = (Exchange(EXCHANGE_NOTIFICATIONS, "direct"), Exchange(EXCHANGE_STATUS, "topic"))

# `failed.queue` first: a dead letter needs its target. It is the last stop, so nothing may die there.
QUEUES = (
    Queue(name=FAILED_QUEUE, delivery_limit=_NEVER, dead_letters=False),
    Queue(name=EMAIL_QUEUE),
    Queue(name=PUSH_QUEUE),
    Queue(name=STATUS_QUEUE, single_active_consumer=True),
)

BINDINGS = (
    Binding(EXCHANGE_NOTIFICATIONS, FAILED_KEY, FAILED_QUEUE),
    Binding(EXCHANGE_NOTIFICATIONS, Channel.EMAIL.routing_key, EMAIL_QUEUE),
    Binding(EXCHANGE_NOTIFICATIONS, Channel.PUSH.routing_key, PUSH_QUEUE),
    Binding(EXCHANGE_STATUS, "#", STATUS_QUEUE),
)

_BY_NAME = {exchange.name: exchange for exchange in EXCHANGES}


def queue_of(channel: Channel) -> str:
    """The queue that holds the delivery messages of a channel."""
    return f"{channel.routing_key}.queue"


def route(exchange: str, routing_key: str) -> list[str]:
    """The queues that a publication reaches; none when it is unroutable."""
    return [
        binding.queue
        for binding in BINDINGS
        if binding.exchange == exchange and _BY_NAME[exchange].admits(binding.key, routing_key)
    ]


def rejected(message: Message, queue: str, reason: str) -> Publication:
    """What goes to `failed.queue` in place of a message that a consumer of `queue` rejected.

    It keeps its `message_id`, so that the same message rejected twice (after a crash) is one dead letter.
    """
    headers = message.headers | {HEADER_REASON: reason[:_LONGEST_REASON], HEADER_ORIGINAL_QUEUE: queue}
    return Publication(EXCHANGE_NOTIFICATIONS, FAILED_KEY, msgspec.structs.replace(message, headers=headers))


def _matches(pattern: list[str], words: list[str]) -> bool:
    """AMQP's topic rule: `*` stands for one word, `#` for any number of them."""
    if not pattern:
        return not words
    if pattern[0] == "#":
        return any(_matches(pattern[1:], words[skip:]) for skip in range(len(words) + 1))
    return bool(words) and pattern[0] in {"*", words[0]} and _matches(pattern[1:], words[1:])
