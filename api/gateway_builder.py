"""What the API Gateway is put together from: a part of the composition root, beside `api.builder`."""

from collections.abc import Mapping

from fastapi import FastAPI
from starlette.types import ASGIApp

from api.after_sending import links_of, webhooks_of
from api.builder import Builder, started
from api.database import Databases
from api.gateway.acknowledging import Acknowledgements
from api.gateway.actions import Actions, Replays
from api.gateway.aftermath import Aftermath
from api.gateway.app import GatewayServices, gateway_app
from api.gateway.dead_letters import SqlDeadLetters
from api.gateway.erasure import Eraser
from api.gateway.feed import Follower
from api.gateway.logreader import SqlStatusLog
from api.gateway.previews import Previews
from api.gateway.queries import Queries
from api.gateway.removal_round import Kept
from api.gateway.repository import SqlRequests
from api.gateway.retention import Retention
from api.gateway.retirement import Retirer, SqlRefusals
from api.gateway.statuslog import SqlStatusStore
from api.gateway.subscribers import Subscribers
from api.identity import Identity
from api.policy import policy_of, shows_playground
from api.templates.client import TemplatesClient
from api.users.client import UsersClient
from api.watching import add_watch
from domain.ahead import Ahead
from domain.channels import NUDGE_CHANNEL
from domain.ports import LogRow
from domain.send import SendPorts
from domain.template import Renderer


class GatewayBuilder:
    """Adds the parts of the API Gateway to a builder's system, with a dispatcher in its loop that acts right after each
    commit."""

    def __init__(
        self, builder: Builder, databases: Databases, identity: Identity, users: UsersClient, templates: TemplatesClient
    ) -> None:
        self._builder, self._databases, self._identity = builder, databases, identity
        self._users, self._templates = users, templates
        self._database = databases["gateway"]
        self._queries, self._store = Queries(self._database), SqlStatusStore(self._database)
        self._bell, self._dispatcher = builder.open_bell(), builder.add_dispatcher(databases)

    def app(self, beside: Mapping[str, FastAPI] | None = None) -> ASGIApp:
        """The application, and everything behind it; once. `beside` are the REST services behind the same port."""
        builder, identity, settings = self._builder, self._identity, self._builder.settings
        callbacks = builder.callbacks(self._databases, self._users)
        send_ports, eraser, feed = self._send_ports(), self._eraser(), self._feed()
        subscribers = Subscribers(settings.subscriptions_per_key, settings.subscriptions_per_user)
        builder.meters.feed.watch(subscribers.__len__, identity.sockets.__len__, lambda: feed.lag)
        dead_letters = SqlDeadLetters(self._database)
        return gateway_app(
            GatewayServices(
                send_ports=send_ports,
                queries=self._queries,
                cancel=Actions(self._store, self._queries, builder.announce).cancel,
                acknowledge=Acknowledgements(callbacks, self._queries).acknowledge,
                aftermath=Aftermath(callbacks, callbacks, links_of(settings), webhooks_of(settings)),
                users=self._users,
                templates=self._templates,
                previews=self._previews(),
                suppressions=builder.suppressions(self._databases),
                dead_letters=dead_letters,
                replays=Replays(dead_letters, self._store, self._to_send, rate=settings.replay_rate),
                hasten_erasure=eraser.hasten,
                sandbox=bool(settings.sandbox_smtp_url and settings.sandbox_fcm_url),
                keys=identity.keys,
                limiter=identity.limiter,
                sockets=identity.sockets,
                subscribers=subscribers,
                allowed_origins=settings.allowed_origins,
                feed=feed,
                figures=add_watch(builder.system, builder.meters, self._bell, builder.open_broker(), self._database),
                resolved=builder.meters.graphql.resolved,
                api_keys=identity.credentials,
                checks=builder.checks,
                metrics=builder.metrics,
                beside=beside or {},
                playground=shows_playground(settings),
                policy=policy_of(settings),
            )
        )

    def _to_send(self, rows: list[LogRow]) -> None:
        """Committed, and due: the dispatcher here need not wait to be told by the bell."""
        self._dispatcher.nudge()
        self._bell.ring(NUDGE_CHANNEL)
        self._builder.announce(rows)

    def _send_ports(self) -> SendPorts:
        requests, renderer = SqlRequests(self._database, self._queries, self._to_send), Renderer()
        ahead = Ahead(renderer)
        self._builder.system.add("requests", stop=requests.drain)
        self._builder.system.add("compiler", stop=started(ahead.close))
        return SendPorts(
            requests,
            self._users,
            self._templates,
            self._builder.suppressions(self._databases),
            renderer,
            ahead,
            tracer=self._builder.tracer,
            attachment_hosts=frozenset(self._builder.settings.attachment_hosts),
        )

    def _previews(self) -> Previews:
        previews = Previews(self._templates)
        self._builder.system.add("previews", stop=started(previews.close))
        return previews

    def _eraser(self) -> Eraser:
        """Who erases, and who tells the User Service which devices are gone."""
        suppressions = self._builder.suppressions(self._databases)
        eraser = Eraser(self._database, self._store, suppressions, self._users, self._builder.announce)
        retirer = Retirer(SqlRefusals(self._database), self._users)
        self._builder.open_changes().heed(eraser.heed)
        self._builder.system.add("eraser", start=eraser.start, stop=eraser.stop)
        self._builder.system.add("retirer", start=retirer.start, stop=retirer.stop)
        return eraser

    def _feed(self) -> Follower:
        """Who follows the log, and who removes the part of it that has had its time."""
        feed, settings = Follower(SqlStatusLog(self._database), self._bell), self._builder.settings
        kept = Kept.of_days(settings.retention_days, settings.dead_letter_retention_days)
        retention = Retention(self._database, kept, feed, metrics=self._builder.metrics)
        self._builder.system.add("feed follower", start=feed.start, stop=feed.stop)
        self._builder.system.add("retention", start=retention.start, stop=retention.stop)
        return feed
