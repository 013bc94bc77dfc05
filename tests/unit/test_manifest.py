"""A manifest is read in either format; a bad one is refused with one line that says where it is bad."""

import json
from pathlib import Path
from typing import Any

import pytest

from api.gateway.manifest import read_manifest
from domain.errors import ConfigurationError

APOLLO = {
    "format": "apollo-persisted-query-manifest",
    "version": 1,
    "operations": [{"id": "a1", "body": "query A { __typename }", "name": "A", "type": "query"}],
}


def written(folder: Path, content: Any) -> str:
    """A file with this content."""
    path = folder / "manifest.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return str(path)


@pytest.mark.parametrize("content", [APOLLO, {"a1": "query A { __typename }"}])
def test_both_formats_say_the_same(tmp_path: Path, content: Any) -> None:
    assert read_manifest(written(tmp_path, content)).texts == {"a1": "query A { __typename }"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"{", "no JSON"),
        (b"\xff", "no JSON"),
        ([], "no manifest"),
        ({"a": 5}, "no manifest"),
        ({}, "no documents"),
        ({**APOLLO, "operations": []}, "no documents"),
        ({**APOLLO, "operations": [{"id": "a"}]}, "no manifest"),
        ({**APOLLO, "version": 2}, "version 2"),
        ({**APOLLO, "operations": [{"id": "a", "body": "{a}"}, {"id": "a", "body": "{b}"}]}, "'a' stands there twice"),
    ],
)
def test_a_bad_one_is_named_and_so_is_what_is_bad(tmp_path: Path, content: Any, said: str) -> None:
    path = written(tmp_path, content)
    with pytest.raises(ConfigurationError) as caught:
        read_manifest(path)
    (line,) = caught.value.message.splitlines()
    assert path in line
    assert said in line


def test_a_file_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_manifest(str(tmp_path / "nowhere.json"))
