"""What the gateway's GraphQL is open to, by the settings."""

from api import demo
from api.cli import dead_letters, explain, keys, send, tail, top, watching
from api.gateway.guard import Limits
from api.gateway.manifest import read_manifest
from api.gateway.validation import Policy
from api.settings import Settings

OWN = (
    *(keys.CREATE, keys.LIST, keys.REVOKE),
    *(dead_letters.LIST, dead_letters.REPLAY, dead_letters.REPLAY_WHERE),
    *(send.SEND, send.SEND_BATCH, watching.GET_NOTIFICATION, watching.GET_REQUEST),
    *(watching.WATCH_NOTIFICATION, watching.WATCH_REQUEST, watching.WATCH_PROGRESS, tail.FEED, tail.NEWEST),
    *(explain.ONE, explain.MANY, explain.LETTER, top.SYSTEM, top.SYSTEM_STATUS),
    *(demo.CREATE_USER, demo.REGISTER_DEVICE, demo.CREATE_TEMPLATE, demo.SEND, demo.WATCH),
)
"""What our own command line and demonstration send; operators need them in strict mode too."""


def policy_of(settings: Settings) -> Policy:
    """What documents may do. Raises `ConfigurationError` for a manifest that cannot be read."""
    path = settings.trusted_documents
    return Policy(
        introspection=settings.introspection,
        suggestions=settings.field_suggestions,
        limits=Limits(tokens=settings.graphql_tokens, depth=settings.graphql_depth, cost=settings.graphql_cost),
        manifest=None if path is None else read_manifest(path),
        trusted_only=settings.trusted_documents_only,
        own=OWN if settings.trusted_documents_only else (),
    )


def shows_playground(settings: Settings) -> bool:
    """Whether browsers get GraphiQL. Not in strict mode: nothing that is typed there would run."""
    return settings.playground and not settings.trusted_documents_only
