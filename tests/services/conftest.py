"""The User and Template Services on both engines, called through their clients over ASGITransport."""

from pathlib import Path

import pytest


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each engine."""
    if request.param == "sqlite":
        return f"sqlite://{tmp_path}/service.db"
    return str(request.getfixturevalue("postgres_database")())
