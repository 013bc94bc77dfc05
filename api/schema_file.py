"""The public schema as text, for `schema.graphql`."""

from graphql import lexicographic_sort_schema
from graphql import print_schema as print_graphql

from api.gateway.schema import build_schema


def print_schema() -> str:
    """The schema in GraphQL's schema language, sorted: the same text for the same code, ending in one newline."""
    # Sorted here and not in the schema that serves: sorting would cost the enums their Python values.
    return print_graphql(lexicographic_sort_schema(build_schema()._schema)).rstrip() + "\n"
