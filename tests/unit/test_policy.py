"""What the settings make of the GraphQL API."""

import json
from pathlib import Path

import pytest

from api import demo
from api.cli import dead_letters, explain, keys, send, tail, top, watching
from api.policy import OWN, policy_of, shows_playground
from api.settings import load_settings
from domain.errors import ConfigurationError


def test_left_out_all_is_shown() -> None:
    assert shown_by() == (True, True, True)


@pytest.mark.parametrize("hidden", ["introspection", "field_suggestions", "playground"])
def test_each_can_be_turned_off_alone(hidden: str) -> None:
    assert sum(shown_by(**{hidden: False})) == 2


def shown_by(**changes: bool) -> tuple[bool, bool, bool]:
    settings = load_settings(**changes)
    policy = policy_of(settings)
    return policy.introspection, policy.suggestions, shows_playground(settings)


def test_the_limits_are_those_of_the_settings() -> None:
    limits = policy_of(load_settings(graphql_tokens=500, graphql_depth=7, graphql_cost=900)).limits
    assert (limits.tokens, limits.depth, limits.cost) == (500, 7, 900)


def test_strict_mode_has_no_playground(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps({"a": "{ __typename }"}))
    settings = load_settings(trusted_documents=str(path), trusted_documents_only=True, playground=True)
    assert not shows_playground(settings)
    policy = policy_of(settings)
    assert policy.trusted_only
    assert policy.manifest is not None
    assert policy.manifest.texts == {"a": "{ __typename }"}


def test_strict_mode_still_takes_what_the_command_line_and_the_demonstration_send() -> None:
    sent = {
        text
        for module in (dead_letters, demo, explain, keys, send, tail, top, watching)
        for text in vars(module).values()
        if isinstance(text, str) and text.startswith(("query", "mutation", "subscription"))
    }
    assert set(OWN) == sent


def test_strict_mode_without_a_manifest_would_refuse_everything() -> None:
    with pytest.raises(ConfigurationError, match=r"HELIOGRAPH_TRUSTED_DOCUMENTS_ONLY: .*HELIOGRAPH_TRUSTED_DOCUMENTS"):
        load_settings(trusted_documents_only=True)
