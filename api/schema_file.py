"""The public schema as text, for `schema.graphql`; and what of it clients of the last release could trip over."""

from importlib import metadata

from graphql import (
    GraphQLInputObjectType,
    find_breaking_changes,
    lexicographic_sort_schema,
)
from graphql import (
    build_schema as build_from_text,
)
from graphql import (
    print_schema as print_graphql,
)

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


def breaking_changes(released: str, present: str) -> list[str]:
    """What a client of the released schema may ask for and would not get, a sentence each. Deprecating is none."""
    changes = find_breaking_changes(build_from_text(released), build_from_text(present))
    return sorted(change.description for change in changes)


def released_schema(text: str) -> str:
    """The schema as it is kept of a release, with a word on what it is."""
    return (
        f"# The schema of the last release, {metadata.version('heliograph')}."
        " `heliograph schema --check` compares the present one with it;\n"
        "# `heliograph schema --release` writes it anew when a version is released.\n\n"
    ) + text
