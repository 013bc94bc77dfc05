"""Whether a document is valid, decided within bounds: the library's rules, fewer comparisons, few errors of many."""

import msgspec
from graphql import (
    ASTValidationRule,
    DocumentNode,
    GraphQLError,
    GraphQLSchema,
    ValidationContext,
    specified_rules,
    validate,
)
from graphql.validation import NoSchemaIntrospectionCustomRule, OverlappingFieldsCanBeMergedRule
from graphql.validation.validate import ValidationAbortedError
from strawberry.schema.validation_rules.maybe_null import MaybeNullValidationRule
from strawberry.schema.validation_rules.one_of import OneOfInputValidationRule

from api.gateway.guard import LIMIT_EXCEEDED, Guard, Limits
from api.gateway.manifest import Manifest

MAX_ERRORS = 5
"""A client mends its document after the first; each one more costs a search for suggestions."""
COMPARISONS = 20_000
"""Units of the library's own meter, some 10 ms: several times what a document within the limits needs in earnest."""


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What documents may do, and what their authors are told: `suggestions` says "Did you mean …?".

    `manifest` are the documents that are known by their ids; `trusted_only`: no others run, but those of `own`, the
    texts that Heliograph's own command line sends.
    """

    introspection: bool = True
    suggestions: bool = True
    limits: Limits = Limits()
    manifest: Manifest | None = None
    trusted_only: bool = False
    own: tuple[str, ...] = ()


class Inspector:
    """Guards and validates documents. Build it once."""

    def __init__(self, schema: GraphQLSchema, policy: Policy) -> None:
        self.limits = policy.limits
        self._schema, self._guard = schema, Guard(schema, policy.limits)
        self._hide_suggestions = not policy.suggestions
        self._rules = _rules(introspection=policy.introspection)

    def problems(self, document: DocumentNode) -> list[GraphQLError]:
        """Why it is refused; empty when it may run. What the guard refuses is not validated any more."""
        return self._guard.problems(document) or self._invalid(document)

    def _invalid(self, document: DocumentNode) -> list[GraphQLError]:
        found = validate(
            self._schema,
            document,
            self._rules,
            max_errors=MAX_ERRORS,
            hide_suggestions=self._hide_suggestions,
        )
        if len(found) == 1 and isinstance(found[0], ValidationAbortedError):
            # Nothing is known to be wrong, only that it takes too long to find out.
            message = "The document is too large: the same fields stand in it too many times."
            return [GraphQLError(message, extensions={"code": LIMIT_EXCEEDED})]
        return found


class _FieldsCanBeMerged(OverlappingFieldsCanBeMergedRule):
    """Compares each field with all of the same name, so its work grows with the square of the document's length."""

    def __init__(self, context: ValidationContext) -> None:
        super().__init__(context)
        self.rule_context.remaining_complexity_budget = COMPARISONS


def _rules(*, introspection: bool) -> list[type[ASTValidationRule]]:
    rules: list[type[ASTValidationRule]] = [
        _FieldsCanBeMerged if rule is OverlappingFieldsCanBeMergedRule else rule for rule in specified_rules
    ]
    # Strawberry's own, which it adds where it validates by itself.
    rules += [MaybeNullValidationRule, OneOfInputValidationRule]
    return rules if introspection else [NoSchemaIntrospectionCustomRule, *rules]
