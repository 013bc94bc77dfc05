"""Which variables a text uses, and which of them must be given, by reading its syntax tree.

A variable must be given unless every use of it is one that an undefined variable survives: tested by `if`, `unless`,
`elsif`, `case` or `when`, passed to `default` at once, or printed inside the very `if` that tests it. Other
conditions are not evaluated: what is used in any branch must be given. Nor is it known what a name that the text itself
makes (in `for`, `assign` or `capture`) stands for: what such a name must hold is only found when rendering.
"""

from collections.abc import Iterable, Iterator

from liquid import BoundTemplate
from liquid.ast import ConditionalBlockNode, Node
from liquid.builtin.expressions import BooleanExpression, FilteredExpression, Path
from liquid.builtin.expressions.logical import LogicalAndExpression
from liquid.builtin.tags.case_tag import CaseNode, MultiExpressionBlockNode
from liquid.builtin.tags.if_tag import IfNode
from liquid.builtin.tags.unless_tag import UnlessNode
from liquid.context import RenderContext
from liquid.expression import Expression

BUILTIN = frozenset({"now", "today"})
"""What Liquid itself defines."""
_OF_ANY_LIST = frozenset({"size", "first", "last"})
_TESTS = (IfNode, UnlessNode, ConditionalBlockNode, CaseNode, MultiExpressionBlockNode)


class Names:
    """The variables of one text, as dotted paths without indexes: `order.lines`, not `order.lines[0].price`."""

    def __init__(self, template: BoundTemplate) -> None:
        self.used: set[str] = set()
        self.required: set[str] = set()
        self._local: set[str] = set(BUILTIN)
        self._context = RenderContext(template)
        self._visit_all(template.nodes, frozenset(), frozenset())

    def _visit_all(self, nodes: Iterable[Node], scope: frozenset[str], tested: frozenset[str]) -> None:
        for node in nodes:
            self._visit(node, scope, tested)

    def _visit(self, node: Node, scope: frozenset[str], tested: frozenset[str]) -> None:
        survives = isinstance(node, _TESTS)
        for expression in node.expressions():
            for path, needed in _paths(expression, needed=not survives):
                self._note(path, needed, scope, tested)
        self._local.update(node.template_scope())
        inner = scope | frozenset(node.block_scope())
        for child in node.children(self._context):
            self._visit(child, inner, tested | _tests_passed(node, child))

    def _note(self, path: Path, needed: bool, scope: frozenset[str], tested: frozenset[str]) -> None:
        name = _dotted(path)
        if not name or path.path[0] in scope or path.path[0] in self._local:
            return
        self.used.add(name)
        if needed and name not in tested:
            self.required.add(name)


def _paths(expression: Expression, needed: bool) -> Iterator[tuple[Path, bool]]:
    """Every variable in an expression, and whether an undefined one would be an error there."""
    if isinstance(expression, Path):
        yield expression, needed
    if isinstance(expression, FilteredExpression) and expression.filters and expression.filters[0].name == "default":
        yield from _paths(expression.left, needed=False)
        rest = expression.children()[1:]
    else:
        rest = list(expression.children())
    for child in rest:
        yield from _paths(child, needed)


def _tests_passed(node: Node, child: Node) -> frozenset[str]:
    """The variables that are known to be there in `child`, because `node` tested them."""
    if isinstance(node, IfNode) and child is node.consequence:
        return frozenset(_truthy(node.condition))
    if isinstance(node, ConditionalBlockNode):
        return frozenset(_truthy(node.expression))
    return frozenset()


def _truthy(condition: Expression) -> Iterator[str]:
    if isinstance(condition, BooleanExpression):
        yield from _truthy(condition.expression)
    elif isinstance(condition, LogicalAndExpression):
        yield from _truthy(condition.left)
        yield from _truthy(condition.right)
    elif isinstance(condition, Path):
        name = _dotted(condition)
        yield from (name[:end] for end, letter in enumerate(name + ".") if letter == ".")


def _dotted(path: Path) -> str:
    parts: list[str] = []
    for segment in path.path:
        if not isinstance(segment, str) or (parts and segment in _OF_ANY_LIST):
            break
        parts.append(segment)
    return ".".join(parts)
