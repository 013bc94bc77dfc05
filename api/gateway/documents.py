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


class Library:
    """The documents that may run: the trusted ones, which are known from the start, and those that were found valid."""

    def __init__(self, inspector: Inspector, trusted: TrustedDocuments, documents: Documents | None = None) -> None:
        self._inspector, self._trusted = inspector, trusted
        self._documents = documents or Documents()

    @property
    def max_tokens(self) -> int:
        """How long a document may be."""
        return self._inspector.limits.tokens

    def known(self, query: str) -> DocumentNode | None:
        """The document with this text, if it is known to be valid."""
        return self._trusted.document(query) or self._documents.get(query)

    def problems(self, query: str, document: DocumentNode) -> list[GraphQLError]:
        """Why a document that is not known may not run; where it may, it is known from now on."""
        # In strict mode whoever brought the text here has asked already; no way in may forget to.
        found = self._trusted.problems(query) or self._inspector.problems(document)
        if not found:
            self._documents.keep(query, document)
        return found


class Gate(SchemaExtension):
    """One operation's way from text to execution. A text that is not known is parsed by Strawberry and inspected; one
    that is known goes straight on."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._known = False

    def on_operation(self) -> Iterator[None]:
        """What the executor knows, for those who explain its errors."""
        execution = self.execution_context
        execution.parse_options = {"max_tokens": self._library.max_tokens}
        execution.context.execution = execution
        yield

    def on_parse(self) -> Iterator[None]:
        """Nothing to parse when the text is known."""
        document = self._library.known(self.execution_context.query or "")
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
        else:
            execution.pre_execution_errors = [] if self._known else self._library.problems(execution.query, document)
        yield
        execution.context.validated = not execution.pre_execution_errors

    def _ambiguous(self, document: DocumentNode) -> list[GraphQLError]:
        """Strawberry would run the first of several operations (GraphQL, section 6.1, wants an error)."""
        if self.execution_context._provided_operation_name is not None:
            return []
        operations = [node for node in document.definitions if isinstance(node, OperationDefinitionNode)]
        if len(operations) < 2:
            return []
        return [GraphQLError("The document has several operations: say which one with operationName.")]
