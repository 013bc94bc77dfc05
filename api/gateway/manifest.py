"""A manifest: the documents of the clients that are trusted, by their ids, as the clients' build tools write it.

Two formats are read: Apollo's (`{"format": "apollo-persisted-query-manifest", "version": 1, "operations": [{"id",
"body", …}]}`) and the plain one of Relay, GraphQL Code Generator and others (`{"<id>": "<document>"}`).
"""

from pathlib import Path
from typing import Any

import msgspec
import orjson

from domain.errors import ConfigurationError

APOLLO = "apollo-persisted-query-manifest"
MAX_BYTES = 16 * 1024 * 1024


class Manifest(msgspec.Struct, frozen=True):
    """What was read: the texts by their ids, and the file's name for those who have to mend it."""

    name: str
    texts: dict[str, str]


class _Operation(msgspec.Struct):
    id: str
    body: str


class _Apollo(msgspec.Struct):
    format: str
    version: int
    operations: list[_Operation]


def read_manifest(path: str) -> Manifest:
    """Read a file. Raises `ConfigurationError` with one line that names it, and the document where one is bad."""
    try:
        with Path(path).open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise _bad(path, f"cannot be read ({error.strerror})") from error
    if len(content) > MAX_BYTES:
        raise _bad(path, f"is larger than {MAX_BYTES // 1024 // 1024} MB")
    try:
        given = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise _bad(path, f"is no JSON ({error})") from error
    return Manifest(path, _texts(path, given))


def _texts(path: str, given: Any) -> dict[str, str]:
    if isinstance(given, dict) and isinstance(given.get("operations"), list):
        return _of_apollo(path, given)
    try:
        texts = msgspec.convert(given, dict[str, str])
    except msgspec.ValidationError as error:
        raise _bad(path, f"is no manifest ({error})") from error
    if not texts:
        raise _bad(path, "has no documents")
    return texts


def _of_apollo(path: str, given: Any) -> dict[str, str]:
    try:
        manifest = msgspec.convert(given, _Apollo)
    except msgspec.ValidationError as error:
        raise _bad(path, f"is no manifest ({error})") from error
    if (manifest.format, manifest.version) != (APOLLO, 1):
        raise _bad(path, f"is of the format {manifest.format!r}, version {manifest.version}, which nobody here knows")
    texts: dict[str, str] = {}
    for operation in manifest.operations:
        if texts.setdefault(operation.id, operation.body) != operation.body:
            raise _bad(path, f"document {operation.id!r} stands there twice, with two bodies")
    if not texts:
        raise _bad(path, "has no documents")
    return texts


def _bad(path: str, what: str) -> ConfigurationError:
    return ConfigurationError(f"HELIOGRAPH_TRUSTED_DOCUMENTS: {path}: {what}.")
