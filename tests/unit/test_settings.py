"""Settings that contradict each other stop the start with one line that names them."""

import pytest

from api.settings import SPARE_LEASE, load_settings
from domain.errors import ConfigurationError


def test_a_lease_leaves_time_around_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HELIOGRAPH_LEASE_SECONDS", str(20.0 + SPARE_LEASE))
    assert load_settings().lease_seconds == 20.0 + SPARE_LEASE
    monkeypatch.setenv("HELIOGRAPH_LEASE_SECONDS", str(20.0 + SPARE_LEASE - 0.5))
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    (line,) = caught.value.message.splitlines()
    assert "HELIOGRAPH_DELIVERY_DEADLINE_SECONDS" in line
    assert "HELIOGRAPH_LEASE_SECONDS, which is 25" in line
