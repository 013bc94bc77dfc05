"""What of an event a subscription selects. Subscriptions of one shape get the same bytes for the same event."""

from collections.abc import Collection, Hashable, Iterator, Mapping
from itertools import chain

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
)


class _Own(Exception):
    """This selection's result depends on more than the event."""


def shape_of(document: DocumentNode, operation: OperationDefinitionNode, plain: Collection[str]) -> Hashable | None:
    """What a valid subscription selects, equal for equal selections: the answer's names and the fields behind them.

    None when its result may depend on more than the event: where a directive decides (`@include(if: $x)`), or where a
    field is not one of the `plain` ones, which are there with the event and the same for everybody.
    """
    fragments = {node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)}
    try:
        roots = list(_fields(operation.selection_set, fragments))
        inner = chain.from_iterable(_fields(root.selection_set, fragments) for root in roots)
        return _name(roots[0]), tuple(dict.fromkeys(_leaf(node, plain) for node in inner))
    except _Own:
        return None


def _fields(
    selections: SelectionSetNode | None, fragments: Mapping[str, FragmentDefinitionNode]
) -> Iterator[FieldNode]:
    """All fields, those of fragments in their place. (A valid document's fragments do not spread themselves.)"""
    for node in selections.selections if selections else ():
        if node.directives:
            raise _Own
        if isinstance(node, FieldNode):
            yield node
        elif isinstance(node, InlineFragmentNode):
            yield from _fields(node.selection_set, fragments)
        elif isinstance(node, FragmentSpreadNode):
            yield from _fields(fragments[node.name.value].selection_set, fragments)


def _leaf(node: FieldNode, plain: Collection[str]) -> tuple[str, str]:
    if node.name.value not in plain:
        raise _Own
    return _name(node), node.name.value


def _name(node: FieldNode) -> str:
    """The field's name in the answer."""
    return (node.alias or node.name).value
