"""The guard refuses what costs too much, without costing much itself."""

import pytest
from graphql import build_schema, parse

from api.gateway.documents import Documents
from api.gateway.guard import LIMIT_EXCEEDED, Guard, Limits

SCHEMA = build_schema("""
type Query { item: Item items(page: Int = 1, limit: Int = 20): ItemList }
type Mutation { change(id: ID): Item }
type ItemList { data: [Item!]! }
type Item { id: ID! name: String child: Item children: [Item!]! }
""")


def refused(query: str, **limits: int) -> list[str]:
    """What the guard says to a document."""
    errors = Guard(SCHEMA, Limits(**{"page_cost": 0, **limits})).problems(parse(query))
    assert all(error.extensions == {"code": LIMIT_EXCEEDED} for error in errors)
    return [error.message for error in errors]


def test_an_ordinary_document_passes() -> None:
    assert refused("query ($n: Int) { item { id } items(limit: $n) { data { id name children { id } } } }") == []


@pytest.mark.parametrize(
    ("query", "limits", "word"),
    [
        ("{ item { child { child { id } } } }", {"depth": 3}, "depth"),
        ("{ a: item { id } b: item { id } }", {"aliases": 1}, "aliases"),
        ("{ item @skip(if: false) { id @skip(if: false) } }", {"directives": 1}, "directives"),
        ("query @a @b { item { id } }", {"directives": 1}, "directives"),
        ("{ item { id name } }", {"fields": 2}, "fields"),
        ("mutation { change { id } change { id } }", {"root_mutations": 1}, "mutations"),
        ("{ ...A } fragment A on Query { item { id } } fragment B on Item { id }", {"fragments": 1}, "fragments"),
        ("{ items(limit: 100) { data { id name } } }", {"cost": 200}, "cost"),
    ],
)
def test_each_limit_is_named(query: str, limits: dict[str, int], word: str) -> None:
    assert [word in message for message in refused(query, **limits)] == [True]


def test_what_fragments_spread_counts_where_it_is_spread() -> None:
    query = "{ item { ...F ...F } } fragment F on Item { child { id } }"
    assert refused(query, fields=5) == []
    assert refused(query, fields=4) != []


def test_inline_fragments_are_no_way_around() -> None:
    assert refused("{ ... { ... { item { child { id } } } } }", depth=2) != []


def test_nested_fragments_that_would_expand_to_billions_are_weighed_in_no_time() -> None:
    links = "".join(
        f"fragment F{n} on Item {{ a: child {{ ...F{n + 1} }} b: child {{ ...F{n + 1} }} }}" for n in range(45)
    )
    query = f"{{ item {{ ...F0 }} }} {links} fragment F45 on Item {{ id }}"
    assert len(refused(query)) >= 3


def test_a_fragment_that_spreads_itself_ends() -> None:
    assert refused("{ item { ...F } } fragment F on Item { child { ...F } }") == []


@pytest.mark.parametrize(
    ("limit", "cost"),
    [("", 1 + 20 * 2), ("(limit: 3)", 1 + 3 * 2), ("(limit: $n)", 1 + 100 * 2), ("(limit: 9999)", 1 + 100 * 2)],
)
def test_a_page_costs_as_many_items_as_it_may_have(limit: str, cost: int) -> None:
    query = f"query ($n: Int) {{ items{limit} {{ data {{ id }} }} }}"
    assert refused(query, cost=cost) == []
    assert refused(query, cost=cost - 1) != []


def test_a_page_costs_its_reading_too() -> None:
    query = "{ a: items(limit: 3) { data { id } } b: items(limit: 3) { data { id } } }"
    assert refused(query, page_cost=50, cost=2 * (50 + 7)) == []
    assert refused(query, page_cost=50, cost=2 * (50 + 7) - 1) != []


def test_a_list_without_pages_costs_its_usual_length() -> None:
    assert refused("{ item { children { id } } }", cost=1 + 1 + 7, list_items=7) == []
    assert refused("{ item { children { id } } }", cost=1 + 1 + 6, list_items=7) != []


def test_introspection_may_be_deeper_and_is_bounded_all_the_same() -> None:
    query = "{ __schema { types { fields { type { ofType { ofType { name } } } } } } }"
    assert refused(query, depth=3) == []
    assert refused(query, introspection_depth=5) != []


def test_known_documents_are_bounded_by_their_characters() -> None:
    documents = Documents(max_characters=30)
    texts = ["{ item { id } }", "{ item { name } }", "{ items { data { id name } } }"]
    for text in texts:
        documents.keep(text, parse(text))
    assert [documents.get(text) is not None for text in texts] == [False, False, True]
    documents.keep("x" * 31, parse(texts[0]))
    assert len(documents) == 1


def test_a_preview_costs_its_rendering() -> None:
    preview = "p%d: preview_template(input: {}) { success }"
    query = f"{{ {' '.join(preview % number for number in range(4))} }}"
    (error,) = Guard(SCHEMA, Limits()).problems(parse(query))
    assert "cost 12,008, limit 10,000" in error.message
