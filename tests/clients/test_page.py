"""What docs/clients.md shows is what these tests run, character for character."""

import re
from pathlib import Path

import pytest

from tests.architecture.test_docs import DOCS
from tests.clients.programs import RECIPES

FILES = sorted(path for path in RECIPES.iterdir() if path.is_file())
_SHOWN = re.compile(
    r"^\[([\w.]+)\]\(\.\./tests/clients/recipes/([\w.]+)\):\n\n```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE
)
_LANGUAGES = {".mjs": "js", ".py": "python"}


def shown() -> list[tuple[str, str, str, str]]:
    """Each recipe of the page: its name, the file it links to, its language, its text."""
    return _SHOWN.findall((DOCS / "clients.md").read_text())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_page_shows_the_recipe_as_it_is(path: Path) -> None:
    found = [(name, language, text) for name, file, language, text in shown() if file == path.name]
    assert found == [(path.name, _LANGUAGES[path.suffix], path.read_text())]


def test_the_page_shows_nothing_else() -> None:
    assert {file for _, file, _, _ in shown()} == {path.name for path in FILES}
    assert len(re.findall(r"^```\w", (DOCS / "clients.md").read_text(), re.MULTILINE)) == len(FILES)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_recipe_fits_the_page(path: Path) -> None:
    assert [line for line in path.read_text().splitlines() if len(line) > 120] == []
