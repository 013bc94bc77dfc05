"""All decisions that were made for a notification."""

from domain.explain.accepted import at_acceptance
from domain.explain.attempted import at_delivery
from domain.explain.told import Explanation, Told


def decisions_of(told: Told) -> list[Explanation]:
    """In order of time; none for a notification whose log is gone. Always the same for the same log."""
    if not told.timeline:
        return []
    return [*at_acceptance(told), *sorted(at_delivery(told), key=lambda decision: decision.at)]
