"""What a document may ask for, decided before it is validated, in time linear in its length.

Each fragment is weighed once and its weight is used wherever it is spread, so nested fragments cannot blow the guard
up; nor can they blow up what comes after it, because what they would expand to has been weighed.
"""

from collections.abc import Iterator

import msgspec
from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLArgument,
    GraphQLError,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    InlineFragmentNode,
    IntValueNode,
    OperationDefinitionNode,
    OperationType,
    SelectionNode,
    SelectionSetNode,
    get_named_type,
    get_nullable_type,
    is_composite_type,
    is_list_type,
)

LIMIT_EXCEEDED = "LIMIT_EXCEEDED"
_INTROSPECTION = frozenset({"__schema", "__type"})
_HUGE = 10**9
"""No sum grows beyond this: it is far above every limit."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The limits of one operation, all fragments spread. `cost` counts fields times the items of the lists they are in.

    `characters` and `tokens` are the whole document's. A list without pages counts as `list_items` items.
    A page costs `page_cost` beside its items: it is read, and what there is altogether is counted. Rendering a template
    costs `render_cost`: it may take a second of a thread.
    """

    characters: int = 64 * 1024
    tokens: int = 2_000
    fragments: int = 50
    depth: int = 12
    introspection_depth: int = 20
    aliases: int = 30
    directives: int = 50
    fields: int = 1_000
    root_mutations: int = 5
    cost: int = 10_000
    page: int = 100
    page_cost: int = 500
    render_cost: int = 3_000
    list_items: int = 10


class _Weight(msgspec.Struct):
    """What a selection comes to, all fragments spread."""

    depth: int = 0
    introspection_depth: int = 0
    aliases: int = 0
    directives: int = 0
    fields: int = 0
    cost: int = 0
    root_fields: int = 0

    def add(self, other: "_Weight") -> None:
        """Side by side."""
        self.depth = max(self.depth, other.depth)
        self.introspection_depth = max(self.introspection_depth, other.introspection_depth)
        for name in ("aliases", "directives", "fields", "cost", "root_fields"):
            setattr(self, name, min(_HUGE, getattr(self, name) + getattr(other, name)))


class Guard:
    """Refuses documents that cost too much. Build it once: it learns from the schema which fields are lists."""

    def __init__(self, schema: GraphQLSchema, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self._lists, self._pages = _lists_of(schema)

    def problems(self, document: DocumentNode) -> list[GraphQLError]:
        """Why it is refused; empty when it is not. Its size in characters and tokens is the parser's affair."""
        fragments = {node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)}
        if len(fragments) > self.limits.fragments:
            return [_refusal("fragments", len(fragments), self.limits.fragments)]
        scale = _Scale(fragments, self.limits, self._lists, self._pages)
        found: list[GraphQLError] = []
        for node in document.definitions:
            if isinstance(node, OperationDefinitionNode):
                found.extend(self._refusals(node, scale.operation(node)))
        return found

    def _refusals(self, operation: OperationDefinitionNode, weight: _Weight) -> Iterator[GraphQLError]:
        for name in ("depth", "introspection_depth", "aliases", "directives", "fields", "cost"):
            if getattr(weight, name) > getattr(self.limits, name):
                yield _refusal(name.replace("_", " "), getattr(weight, name), getattr(self.limits, name))
        if operation.operation is OperationType.MUTATION and weight.root_fields > self.limits.root_mutations:
            yield _refusal("mutations", weight.root_fields, self.limits.root_mutations)


class _Scale:
    """Weighs the operations of one document."""

    def __init__(
        self,
        fragments: dict[str, FragmentDefinitionNode],
        limits: Limits,
        lists: frozenset[str],
        pages: dict[str, int],
    ) -> None:
        self._fragments, self._limits, self._lists, self._pages = fragments, limits, lists, pages
        self._weights: dict[str, _Weight] = {}

    def operation(self, node: OperationDefinitionNode) -> _Weight:
        """The weight of a whole operation."""
        weight = self._selections(node.selection_set)
        weight.directives += len(node.directives or ())
        return weight

    def _selections(self, node: SelectionSetNode | None) -> _Weight:
        weight = _Weight()
        for selection in node.selections if node else ():
            weight.add(self._selection(selection))
            weight.directives += len(selection.directives or ())
        return weight

    def _selection(self, node: SelectionNode) -> _Weight:
        if isinstance(node, FieldNode):
            return self._field(node)
        if isinstance(node, InlineFragmentNode):
            return self._selections(node.selection_set)
        if isinstance(node, FragmentSpreadNode):
            return self._fragment(node.name.value)
        return _Weight()

    def _fragment(self, name: str) -> _Weight:
        known = self._weights.get(name)
        if known is None:
            # A fragment that spreads itself meets this nothing; the validation will refuse it.
            self._weights[name] = _Weight()
            definition = self._fragments.get(name)
            known = self._weights[name] = self._selections(definition.selection_set) if definition else _Weight()
        return known

    def _field(self, node: FieldNode) -> _Weight:
        inner = self._selections(node.selection_set)
        if node.name.value in _INTROSPECTION:
            # Bounded by a validation rule of its own; it is deep, and no resolver of ours runs for it.
            inner.introspection_depth, inner.depth, inner.cost = max(inner.depth, inner.introspection_depth) + 1, 0, 0
        inner.depth += 1
        inner.fields += 1
        inner.root_fields = 1
        inner.cost = min(_HUGE, 1 + self._work(node.name.value) + inner.cost * self._items(node))
        if node.alias is not None:
            inner.aliases += 1
        return inner

    def _work(self, name: str) -> int:
        """What a field costs, whatever is selected of it."""
        if name in _RENDERING:
            return self._limits.render_cost
        return self._limits.page_cost if name in self._pages else 0

    def _items(self, node: FieldNode) -> int:
        """How many items the field may answer with."""
        name = node.name.value
        if name in self._pages:
            return self._page(node, self._pages[name])
        return self._limits.list_items if name in self._lists else 1

    def _page(self, node: FieldNode, default: int) -> int:
        for argument in node.arguments or ():
            if argument.name.value in _SIZES:
                value = argument.value
                # A longer page than is allowed is refused by its resolver; a variable may be anything.
                asked = int(value.value) if isinstance(value, IntValueNode) and len(value.value) < 9 else _HUGE
                return max(1, min(asked, self._limits.page))
        return default


_RENDERING = frozenset({"preview_template"})
"""The fields that render a template."""
_SIZES = ("limit", "first", "last")
"""The arguments that say how long a page is."""
_ITEMS = frozenset({"data", "edges", "nodes"})
"""Where the items of a page stand."""


def _lists_of(schema: GraphQLSchema) -> tuple[frozenset[str], dict[str, int]]:
    """The names of fields that are lists of objects, and of those that have pages with their usual length."""
    lists: set[str] = set()
    pages: dict[str, int] = {}
    for type_ in schema.type_map.values():
        if not isinstance(type_, GraphQLObjectType | GraphQLInterfaceType) or type_.name.startswith("__"):
            continue
        for name, field in type_.fields.items():
            sizes = [field.args[size] for size in _SIZES if size in field.args]
            if sizes:
                pages[name] = max(pages.get(name, 0), *map(_usual_page, sizes))
            elif is_list_type(get_nullable_type(field.type)) and is_composite_type(get_named_type(field.type)):
                lists.add(name)
    # The items of a page were counted where the page was asked for.
    return frozenset(lists - _ITEMS), pages


def _usual_page(argument: GraphQLArgument) -> int:
    """The length of a page that was not asked for: Strawberry gives a Python value, a schema's text a literal."""
    if isinstance(argument.default_value, int):
        return argument.default_value
    literal = argument.default.literal if argument.default else None
    return int(literal.value) if isinstance(literal, IntValueNode) else Limits().page


def _refusal(what: str, count: int, limit: int) -> GraphQLError:
    told = f"{count:,}" if count < _HUGE else "too many"
    return GraphQLError(
        f"The document is too large: {what} {told}, limit {limit:,}.", extensions={"code": LIMIT_EXCEEDED}
    )
