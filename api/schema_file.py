"""The public schema as text, for `schema.graphql`."""

from graphql import GraphQLInputObjectType, lexicographic_sort_schema
from graphql import print_schema as print_graphql

from api.gateway.schema import build_schema


def print_schema() -> str:
    """The schema in GraphQL's schema language, sorted: the same text for the same code, ending in one newline."""
    schema = build_schema()._schema
    for type_ in schema.type_map.values():
        if isinstance(type_, GraphQLInputObjectType):
            # Strawberry keeps this to itself, where the printer does not look.
            type_.is_one_of = type_.extensions["strawberry-definition"].is_one_of
    # Sorted here and not in the schema that serves: sorting would cost the enums their Python values.
    return print_graphql(lexicographic_sort_schema(schema)).rstrip() + "\n"
