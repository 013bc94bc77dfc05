"""Who may see and change what. A service's key has scopes and sees everything in them; an end user has no scopes and
sees what is theirs. `docs/access.md` is the table; a test compares it with the schema, field by field.
"""

from typing import Protocol

from api.security import Kind, Principal, Scope, require
from domain.errors import Forbidden
from domain.views import NotificationView


class Limiter(Protocol):
    """How often a caller may call; see `api.rate_limits`."""

    async def check(self, principal: Principal) -> None:
        """Count one operation. Raises `RateLimited`."""


def allow(principal: Principal, scope: Scope, *, end_users: bool = False) -> None:
    """Raises `Forbidden` unless the principal holds the scope, or is an end user where those are let in.

    Whoever lets end users in must ask for `owner_of` what they may see.
    """
    if principal.kind is not Kind.END_USER:
        require(principal, scope)
    elif not end_users:
        raise Forbidden("This is not for end users.")


def owner_of(principal: Principal) -> str | None:
    """The user whose things alone the caller may see; None where the caller may see everybody's."""
    return principal.user_id if principal.kind is Kind.END_USER else None


def allow_user(principal: Principal, user_id: str | None) -> None:
    """Raises `Forbidden` for an end user who speaks of somebody else, whether or not there is such a user."""
    if (owner := owner_of(principal)) is not None and user_id != owner:
        raise Forbidden("You see and change only what is yours.")


def may_see(principal: Principal, view: NotificationView) -> bool:
    """Whether the caller may know of this notification."""
    return owner_of(principal) in (None, view.recipient.user_id)


def allow_templates_path(principal: Principal, _: str, changes: bool) -> None:
    """Who may use the Template Service's REST. Raises `Forbidden`."""
    allow(principal, Scope.TEMPLATES_WRITE if changes else Scope.TEMPLATES_READ)


def allow_users_path(principal: Principal, path: str, changes: bool) -> None:
    """Who may use the User Service's REST (`/v1/users/…`): an end user sees themselves, and changes their preferences
    and devices. Raises `Forbidden`."""
    owner = owner_of(principal)
    if owner is None:
        require(principal, Scope.USERS_WRITE if changes else Scope.USERS_READ)
        return
    _, _, _, user_id, *rest = [*path.split("/"), "", ""]
    allow_user(principal, user_id)
    if changes and rest[0] not in ("preferences", "devices"):
        raise Forbidden("This is not for end users.")
