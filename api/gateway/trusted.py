"""Trusted documents: what the clients of ours ask for, known from the start and named by id instead of sent.

In strict mode nothing else runs. A document that is trusted is parsed and validated once, at the start, and never
forgotten.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

from graphql import DocumentNode, GraphQLError, GraphQLSyntaxError, parse

from api.gateway.validation import Inspector, Policy
from domain.errors import ConfigurationError

NOT_FOUND = "PERSISTED_QUERY_NOT_FOUND"
NOT_SUPPORTED = "PERSISTED_QUERY_NOT_SUPPORTED"
NOT_TRUSTED = "DOCUMENT_NOT_TRUSTED"
MAX_ID = 300
_SHA256 = "sha256:"


class BadDocumentId(Exception):
    """What is not the id of a document, whatever is known; says why."""


class TrustedDocuments:
    """The documents of a policy: those of its manifest, with their ids (without one ids are of no use), and its own.

    Raises `ConfigurationError`, with one line, for a document that could not run.
    """

    def __init__(self, policy: Policy, inspector: Inspector) -> None:
        manifest = policy.manifest
        self._only = policy.trusted_only
        self._offered = manifest is not None
        self._texts: dict[str, str] = {}
        self._documents: dict[str, DocumentNode] = {}
        for id, text in (manifest.texts if manifest else {}).items():
            self._documents[text] = _checked(f"{manifest.name if manifest else ''}: document {id!r}", text, inspector)
            # The id that the build tool chose, and the one that every client can work out by itself.
            self._texts[_SHA256 + _hash(text)] = text
            self._texts[id] = text
        for text in policy.own:
            self._documents[text] = _checked("a document of our own", text, inspector)

    def document(self, text: str) -> DocumentNode | None:
        """The valid document with exactly this text, if it is trusted."""
        return self._documents.get(text)

    def problems(self, text: str) -> list[GraphQLError]:
        """Why this text may not run, coded; empty when it may."""
        if not self._only or text in self._documents:
            return []
        message = "Only trusted documents run here, and this one is none."
        return [GraphQLError(message, extensions={"code": NOT_TRUSTED})]

    def text_of(self, query: str, document_id: str | None) -> str:
        """The text that is meant: the one that was sent, else the one with this id.

        Raises a coded `GraphQLError`; about ids its message is the one that clients with automatic persisted queries
        look for.
        """
        if query or document_id is None:
            for problem in self.problems(query):
                raise problem
            return query
        if not self._offered:
            raise GraphQLError("PersistedQueryNotSupported", extensions={"code": NOT_SUPPORTED})
        text = self._texts.get(document_id) or self._texts.get(_SHA256 + document_id)
        if text is None:
            raise GraphQLError("PersistedQueryNotFound", extensions={"code": NOT_FOUND})
        return text


def document_id_of(given: Mapping[str, Any]) -> str | None:
    """The id of a document in the parameters of a request: `documentId` of GraphQL over HTTP, or the
    `extensions.persistedQuery.sha256Hash` that Apollo's clients and urql send.

    Raises `BadDocumentId`, with a sentence for the client, for what is neither or does not fit the text beside it.
    """
    extensions = given.get("extensions")
    if not isinstance(extensions, dict | None):
        raise BadDocumentId("`extensions` must be an object.")
    document_id, persisted = given.get("documentId"), (extensions or {}).get("persistedQuery")
    if not isinstance(document_id, str | None):
        raise BadDocumentId("`documentId` must be a text.")
    if isinstance(persisted, dict):
        document_id = document_id or _SHA256 + _hash_in(persisted, given.get("query"))
    if document_id is not None and len(document_id) > MAX_ID:
        raise BadDocumentId(f"`documentId` is longer than {MAX_ID} characters.")
    return document_id or None


def _hash_in(persisted: dict[str, Any], query: Any) -> str:
    found = persisted.get("sha256Hash")
    if not isinstance(found, str):
        raise BadDocumentId("`extensions.persistedQuery` needs a sha256Hash.")
    if isinstance(query, str) and query and found.lower() != _hash(query):
        raise BadDocumentId("The sha256Hash is not that of the query.")
    return found.lower()


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()


def _checked(name: str, text: str, inspector: Inspector) -> DocumentNode:
    try:
        document = parse(text, max_tokens=inspector.limits.tokens)
    except GraphQLSyntaxError as error:
        raise _refused(name, error) from error
    if problems := inspector.problems(document):
        raise _refused(name, problems[0])
    return document


def _refused(name: str, error: GraphQLError) -> ConfigurationError:
    message = " ".join(error.message.split())
    return ConfigurationError(f"HELIOGRAPH_TRUSTED_DOCUMENTS: {name}: {message}")
