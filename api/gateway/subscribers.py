"""How many subscriptions each caller has open at this gateway, so that none takes the room of the others."""

from collections import Counter

from graphql import GraphQLError

from api.access import owner_of
from api.gateway.guard import LIMIT_EXCEEDED
from api.security import Principal

Caller = tuple[str, str]
"""Who is counted: a key, or an end user."""


class Subscribers:
    """Counts open subscriptions, over sockets and as server-sent events. `per_key` is for one API key, `per_user` for
    one end user, however many tokens and sockets they have."""

    def __init__(self, per_key: int = 20_000, per_user: int = 100) -> None:
        self._per_key, self._per_user = per_key, per_user
        self._open: Counter[Caller] = Counter()

    def __len__(self) -> int:
        return self._open.total()

    def enter(self, principal: Principal) -> Caller:
        """One subscription more; `leave` when it is over. Raises a coded `GraphQLError` when it is one too many."""
        user = owner_of(principal)
        caller, limit = (("key", principal.key_id), self._per_key) if user is None else (("user", user), self._per_user)
        if self._open[caller] >= limit:
            message = f"You have {limit:,} subscriptions open at this gateway: close one first."
            raise GraphQLError(message, extensions={"code": LIMIT_EXCEEDED})
        self._open[caller] += 1
        return caller

    def leave(self, caller: Caller) -> None:
        """It is over. Once for each `enter`."""
        self._open[caller] -= 1
        if not self._open[caller]:
            del self._open[caller]
