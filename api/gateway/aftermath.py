"""The HTTP of the time after sending: what providers say, and what recipients ask for."""

from collections.abc import Mapping

import msgspec
from starlette.routing import Route

from api.gateway.unsubscribe import Notifications, Unsubscribing, unsubscribe_routes
from api.gateway.webhooks import Webhook, webhook_route
from domain.callbacks import Callbacks
from domain.unsubscribing import UnsubscribeLinks


class Aftermath(msgspec.Struct, frozen=True):
    """What it needs: `webhooks` are those of the providers that may call, `unsubscribing` does what `links` ask for."""

    callbacks: Callbacks
    unsubscribing: Unsubscribing
    links: UnsubscribeLinks
    webhooks: Mapping[str, Webhook] = {}

    def routes(self, notifications: Notifications) -> list[Route]:
        """Its routes."""
        return [
            webhook_route(self.webhooks, self.callbacks),
            *unsubscribe_routes(self.links, notifications, self.unsubscribing),
        ]
