"""How a delivery attempt was gone about, as the entry that says what came of it keeps it."""

from datetime import datetime

from domain.ports import Claim
from domain.reasons import Attempted, Route
from domain.recipient import Decision, Standing


def attempted(
    claim: Claim, standing: Standing, decision: Decision, routes: tuple[Route, ...], at: datetime
) -> Attempted:
    """For an attempt that began at `at`, on the decision that the recipient may be contacted."""
    assert standing.recipient is not None, "an erased recipient is spared"
    suppressed = refused = 0
    for device in standing.recipient.devices:
        if device.token in standing.suppressed:
            suppressed += 1
        elif device.id in claim.refused_devices:
            refused += 1
    return Attempted(
        at=at, rule=decision.rule, quiet=decision.quiet, suppressed=suppressed, refused=refused, routes=routes
    )
