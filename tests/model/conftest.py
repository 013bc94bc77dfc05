"""What the tests of the model share."""

import pytest

from tests.model.database import migrated_tables


@pytest.fixture(scope="session")
async def tables(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The gateway database as the migrations leave it, as a script."""
    return await migrated_tables(tmp_path_factory.mktemp("model"))
