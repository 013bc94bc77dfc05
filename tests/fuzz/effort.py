"""How long to try: a few seconds with all other tests, as long as you like by `HELIOGRAPH_TEST_FUZZ`."""

import os

from hypothesis import HealthCheck, settings

TIMES = int(os.environ.get("HELIOGRAPH_TEST_FUZZ") or 1)
"""How many times as much is tried."""


def effort(examples: int) -> settings:
    """The settings of a test that tries so many examples, times what was asked for.

    Nothing here is timed, and what is slow to be made up is still worth trying.
    """
    checks = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
    return settings(max_examples=examples * TIMES, suppress_health_check=checks)
