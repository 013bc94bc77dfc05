"""The topology on paper."""

import pytest

from domain.notification import Channel
from workers.broker import topology
from workers.broker.topology import EXCHANGE_NOTIFICATIONS, EXCHANGE_STATUS, FAILED_QUEUE, STATUS_QUEUE


@pytest.mark.parametrize("channel", Channel)
def test_every_channel_has_a_queue_of_its_own(channel: Channel) -> None:
    assert topology.route(EXCHANGE_NOTIFICATIONS, channel.routing_key) == [topology.queue_of(channel)]


def test_only_the_failed_queue_keeps_its_dead() -> None:
    assert [queue.name for queue in topology.QUEUES if not queue.dead_letters] == [FAILED_QUEUE]
    assert [queue.name for queue in topology.QUEUES if queue.single_active_consumer] == [STATUS_QUEUE]


@pytest.mark.parametrize(
    ("pattern", "key", "admitted"),
    [
        ("#", "", True),
        ("#", "a.b.c", True),
        ("a.*", "a.b", True),
        ("a.*", "a", False),
        ("a.*", "a.b.c", False),
        ("a.#", "a", True),
        ("a.#.c", "a.b.b.c", True),
        ("a.#.c", "a.b", False),
        ("*.b", "a.b", True),
        ("a", "b", False),
    ],
)
def test_topics_match_as_in_amqp(pattern: str, key: str, admitted: bool) -> None:
    assert topology.Exchange(EXCHANGE_STATUS, "topic").admits(pattern, key) is admitted


def test_direct_exchanges_compare() -> None:
    direct = topology.Exchange(EXCHANGE_NOTIFICATIONS, "direct")
    assert direct.admits("email", "email")
    assert not direct.admits("#", "email")
