"""Documents: parsed, guarded and validated once, then known. That is nine tenths of what an operation costs."""

from collections import OrderedDict
from collections.abc import Iterator

from graphql import DocumentNode, GraphQLError, OperationDefinitionNode
from strawberry.extensions import SchemaExtension

from api.gateway.trusted import TrustedDocuments
from api.gateway.validation import Inspector

MAX_CACHED_CHARACTERS = 512 * 1024
"""A syntax tree takes about 64 bytes a character, so the cache holds some 32 MB at most."""


class Documents:
    """The documents that were found valid, the last used ones, bounded by their characters."""

    def __init__(self, max_characters: int = MAX_CACHED_CHARACTERS) -> None:
        self._max_characters = max_characters
        self._known: OrderedDict[str, DocumentNode] = OrderedDict()
        self._characters = 0

    def get(self, query: str) -> DocumentNode | None:
        """The valid document with this text, if it is known."""
        document = self._known.get(query)
        if document is not None:
            self._known.move_to_end(query)
        return document

    def keep(self, query: str, document: DocumentNode) -> None:
        """Remember a document that is valid."""
        if query in self._known or len(query) > self._max_characters:
            return
        self._known[query] = document
        self._characters += len(query)
        while self._characters > self._max_characters:
            old, _ = self._known.popitem(last=False)
            self._characters -= len(old)

    def __len__(self) -> int:
        return len(self._known)


class Gate(SchemaExtension):
    """One operation's way from text to execution, over HTTP and sockets alike.

    A text that is not known is parsed by Strawberry, inspected and kept; one that is known goes straight on. In strict
    mode only trusted ones do.
    """

    def __init__(self, documents: Documents, inspector: Inspector, trusted: TrustedDocuments) -> None:
        self._documents, self._inspector, self._trusted = documents, inspector, trusted
        self._known = False

    def on_operation(self) -> Iterator[None]:
        """Operations of one socket share its context; each gets a copy, with its own loaders."""
        execution = self.execution_context
        execution.parse_options = {"max_tokens": self._inspector.limits.tokens}
        execution.context = execution.context.of_operation(execution)
        yield

    def on_parse(self) -> Iterator[None]:
        """Nothing to parse when the text is known."""
        query = self.execution_context.query or ""
        document = self._trusted.document(query) or self._documents.get(query)
        if document is not None:
            self._known = True
            self.execution_context.graphql_document = document
        yield

    def on_validate(self) -> Iterator[None]:
        """A list of errors, empty or not, tells Strawberry that it was validated."""
        execution = self.execution_context
        document = execution.graphql_document
        assert document is not None and execution.query is not None, "it was parsed"  # noqa: PT018
        if problems := self._ambiguous(document):
            execution.pre_execution_errors = problems
        elif self._known:
            execution.pre_execution_errors = []
        else:
            # Whoever brought the text here has asked already; no way in may forget to.
            refused = self._trusted.problems(execution.query)
            execution.pre_execution_errors = refused or self._inspector.problems(document)
        yield
        if not execution.pre_execution_errors:
            execution.context.validated = True
            if not self._known:
                self._documents.keep(execution.query, document)

    def _ambiguous(self, document: DocumentNode) -> list[GraphQLError]:
        """Strawberry would run the first of several operations (GraphQL, section 6.1, wants an error)."""
        if self.execution_context._provided_operation_name is not None:
            return []
        operations = [node for node in document.definitions if isinstance(node, OperationDefinitionNode)]
        if len(operations) < 2:
            return []
        return [GraphQLError("The document has several operations: say which one with operationName.")]
