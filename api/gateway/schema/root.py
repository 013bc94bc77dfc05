"""The three root types, put together from the parts."""

from collections.abc import Awaitable, Callable
from typing import Annotated

import strawberry

from api.access import owner_of
from api.gateway.schema.acknowledging import AcknowledgementMutations
from api.gateway.schema.authoring import TemplateMutations, TemplateQueries
from api.gateway.schema.connections import ConnectionQueries
from api.gateway.schema.context import Info
from api.gateway.schema.dead_letters import DeadLetter, DeadLetterMutations, DeadLetterQueries
from api.gateway.schema.envelope import MAX_LIMIT
from api.gateway.schema.keys import ApiKey, KeyMutations, KeyQueries
from api.gateway.schema.node import Node
from api.gateway.schema.notifications import Notification, Request
from api.gateway.schema.people import UserMutations, UserQueries, device_of
from api.gateway.schema.preview import PreviewQueries
from api.gateway.schema.sending import NotificationMutations, NotificationQueries, notification_of
from api.gateway.schema.suppressions import Suppression, SuppressionMutations, SuppressionQueries
from api.gateway.schema.system import SystemQueries
from api.gateway.schema.templates import Template
from api.gateway.schema.users import Device, User
from api.security import Scope
from domain.errors import NotFound
from domain.ids import API_KEY, DEAD_LETTER, DEVICE, NOTIFICATION, REQUEST, SUPPRESSION, TEMPLATE, is_id

_TEMPLATE_PAGES = 20
_Find = Callable[[Info, str], Awaitable[Node | None]]


@strawberry.type(description="What can be asked. Every field but `node` and the connections answers with an envelope.")
class Query(
    NotificationQueries,
    UserQueries,
    TemplateQueries,
    PreviewQueries,
    SuppressionQueries,
    DeadLetterQueries,
    KeyQueries,
    SystemQueries,
    ConnectionQueries,
):
    """What can be asked."""

    @strawberry.field(description="Anything by its id; null when there is no such thing.")
    async def node(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="An id of any kind.")]
    ) -> Node | None:
        """The prefix says where to look; what has none of ours may be a user, whose ids callers may choose."""
        found = (finder for prefix, finder in _FINDERS.items() if is_id(prefix, id))
        scope, find = next(found, (Scope.USERS_READ, _user))
        theirs = find in _FOR_END_USERS
        if owner_of(info.context.principal) is not None and not theirs:
            return None
        await info.context.admit(scope, end_users=theirs)
        try:
            return await find(info, id)
        except NotFound:
            return None


@strawberry.type(description="What can be done. Every field answers with an envelope.")
class Mutation(
    NotificationMutations,
    AcknowledgementMutations,
    UserMutations,
    TemplateMutations,
    SuppressionMutations,
    DeadLetterMutations,
    KeyMutations,
):
    """What can be done."""


async def _notification(info: Info, id: str) -> Node | None:
    return Notification.of(await notification_of(info, id))


async def _request(info: Info, id: str) -> Node | None:
    view = await info.context.services.queries.request_by_id(id)
    return None if view is None else Request.of(view)


async def _user(info: Info, id: str) -> Node | None:
    if owner_of(info.context.principal) not in (None, id):
        return None
    return User.of(await info.context.services.users.get(id))


async def _device(info: Info, id: str) -> Node | None:
    return Device.of(await device_of(info, id))


async def _suppression(info: Info, id: str) -> Node | None:
    return Suppression.of(await info.context.services.suppressions.get(id))


async def _dead_letter(info: Info, id: str) -> Node | None:
    return DeadLetter.of(await info.context.services.dead_letters.get(id))


async def _api_key(info: Info, id: str) -> Node | None:
    return ApiKey.of(await info.context.services.keys.get(id))


async def _template(info: Info, id: str) -> Node | None:
    """The Template Service finds templates by key; by id they are looked for in its list, which is short."""
    for page in range(1, _TEMPLATE_PAGES + 1):
        found = await info.context.services.templates.list(page=page, limit=MAX_LIMIT)
        view = next((template for template in found.items if template.id == id), None)
        if view is not None:
            return Template.of(view)
        if not found.meta.has_next:
            break
    return None


_FINDERS: dict[str, tuple[Scope, _Find]] = {
    NOTIFICATION: (Scope.NOTIFICATIONS_READ, _notification),
    REQUEST: (Scope.NOTIFICATIONS_READ, _request),
    DEVICE: (Scope.USERS_READ, _device),
    TEMPLATE: (Scope.TEMPLATES_READ, _template),
    SUPPRESSION: (Scope.OPERATIONS, _suppression),
    DEAD_LETTER: (Scope.OPERATIONS, _dead_letter),
    API_KEY: (Scope.OPERATIONS, _api_key),
}
_FOR_END_USERS = (_notification, _user, _device)
"""What an end user may look for; it finds nothing that is not theirs."""
