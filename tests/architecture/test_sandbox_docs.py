"""The page about the sandbox shows every fate that the code plays, and no other."""

from tests.architecture.test_docs import DOCS, table
from workers.sandbox.fates import MAIL_FATES, PUSH_FATES, Fate


def rows(fate: Fate, name: str) -> list[str]:
    """The line that the page has for it."""
    return [f"`{name}`", fate.meets, fate.becomes]


def test_the_addresses_are_those_of_the_code() -> None:
    assert table(DOCS / "sandbox.md", "address") == [rows(fate, f"{fate.name}@") for fate in MAIL_FATES]


def test_the_tokens_are_those_of_the_code() -> None:
    assert table(DOCS / "sandbox.md", "token") == [rows(fate, fate.name) for fate in PUSH_FATES]
