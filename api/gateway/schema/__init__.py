"""The GraphQL schema: `build_schema()` makes it, and is all that the rest of the gateway uses."""

from collections.abc import Callable
from typing import Any

import strawberry
from strawberry.extensions import SchemaExtension
from strawberry.schema.config import StrawberryConfig

from api.gateway.schema.errors import ERROR_TYPES
from api.gateway.schema.root import Mutation, Query
from api.gateway.schema.scalars import SCALARS
from api.gateway.schema.subscriptions import Subscription


def build_schema(
    extensions: tuple[Callable[[], SchemaExtension], ...] = (), *, suggestions: bool = True
) -> strawberry.Schema:
    """The schema; `extensions` are made anew for each operation. Takes a while: build it once.

    Without `suggestions` an error about a variable's value does not say which name may have been meant.
    """
    schema = QuietSchema(
        query=Query,
        mutation=Mutation,
        subscription=Subscription,
        types=ERROR_TYPES,
        config=StrawberryConfig(auto_camel_case=False, scalar_map=SCALARS),
        extensions=extensions,
    )
    schema.hide_suggestions = not suggestions
    return schema


class QuietSchema(strawberry.Schema):
    """Leaves the logging of errors to those who know which of them are bugs."""

    hide_suggestions = False

    def process_errors(self, errors: object, execution_context: object = None) -> None:
        """Strawberry would log a traceback for every mistake in a client's document."""

    def _get_custom_context_kwargs(self, *given: Any, **more: Any) -> dict[str, Any]:
        """What the executor is given beside the operation; Strawberry has no settings for these.

        One error about the variables is enough to know that there are some: `failures` looks for the others.
        """
        own = {"hide_suggestions": self.hide_suggestions, "max_coercion_errors": 1}
        return {**super()._get_custom_context_kwargs(*given, **more), **own}
