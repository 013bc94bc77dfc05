"""All decisions that were made for a notification."""

from domain.explain.accepted import at_acceptance
from domain.explain.attempted import at_delivery
from domain.explain.told import Explanation, Told


def decisions_of(told: Told) -> list[Explanation]:
    """In order of time. Of a log whose beginning is gone, those of the rest. Always the same for the same log."""
    accepted = at_acceptance(told) if told.from_the_start else ()
    return [*accepted, *sorted(at_delivery(told), key=lambda decision: decision.at)]
