"""How a claim's recipient stands right before the call: who they are now, and what of theirs is suppressed."""

from domain.errors import UpstreamUnavailable
from domain.ports import Claim, Known, Recipients, Suppressions
from domain.recipient import Recipient, Standing, Suppressed


class CurrentStandings:
    """`domain.ports.Standings`: asks the User Service, through what its client remembers, and the status store."""

    def __init__(self, recipients: Recipients, suppressions: Suppressions) -> None:
        self._recipients, self._suppressions = recipients, suppressions

    async def of(self, claim: Claim) -> Standing:
        known = await self._known(claim)
        if known is None:
            return Standing(recipient=None, suppressed={})
        suppressed: Suppressed = {}
        if points := known.value.contact_points(claim.channel):
            suppressed = await self._suppressions.among(claim.channel, points, claim.category)
        return Standing(recipient=known.value, suppressed=suppressed, stale=known.stale)

    async def _known(self, claim: Claim) -> Known[Recipient] | None:
        """A contact point that the caller gave is nobody else's to know."""
        user_id = claim.recipient.user_id
        if user_id is None:
            return Known(claim.recipient)
        try:
            return (await self._recipients.lookup([user_id])).get(user_id)
        except UpstreamUnavailable:
            return Known(claim.recipient, stale=True)
