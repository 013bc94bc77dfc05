"""Who watches over the system for operators: a part of the composition root, beside `api.builder`."""

from collections.abc import Mapping

from api.database import Database
from api.gateway.backlog import SqlBacklog
from api.gateway.figures import Figures
from api.gateway.instances import Instances
from api.gateway.queue_watch import QueueWatch
from api.health import Check, Checkup
from api.meters import Meters
from api.pulse import Pulse
from api.system import System
from domain.notification import Channel
from domain.ports import Bell, Broker
from domain.vitals import Vitals
from workers.broker.topology import QUEUES, queue_of


def add_watch(system: System, meters: Meters, bell: Bell, broker: Broker, database: Database) -> Figures:
    """Who looks at the queues and listens to all instances, at a gateway."""
    instances = Instances(bell)
    queues = {queue.name: None for queue in QUEUES} | {queue_of(channel): channel for channel in Channel}
    watch = QueueWatch(queues, broker.depth, SqlBacklog(database), instances.recent, tell=meters.levels.saw)
    system.add("instances", start=instances.start, stop=instances.stop)
    system.add("queue watch", start=watch.start, stop=watch.stop)
    return Figures(watch, instances)


def add_pulse(
    system: System, meters: Meters, bell: Bell, checks: Mapping[str, Check], optional: tuple[str, ...], me: Vitals
) -> None:
    """Who tells of this instance, at every role; the last part to be added: it tells of one that runs."""
    meters.tell_who(me)
    pulse = Pulse(me, Checkup(checks, optional), bell, meters.registry)
    system.add("event loop meter", start=meters.loop.start, stop=meters.loop.stop)
    system.add("pulse", start=pulse.start, stop=pulse.stop)
