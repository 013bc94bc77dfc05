"""Which subscriptions may have the same bytes for the same event."""

import pytest
from graphql import DocumentNode, OperationDefinitionNode, parse, validate

from api.gateway.schema import build_schema
from api.gateway.shapes import shape_of
from api.gateway.subscription import PLAIN as PLAIN_FIELDS

PLAIN = "subscription { status_feed { cursor status } }"


def shape(text: str) -> object:
    """The shape of a document's first operation."""
    document: DocumentNode = parse(text)
    operation = next(node for node in document.definitions if isinstance(node, OperationDefinitionNode))
    return shape_of(document, operation, PLAIN_FIELDS)


SAME = [
    "subscription { status_feed { cursor, status } }",
    "subscription Named($after: String) { status_feed(after: $after) { cursor status } }",
    'subscription { status_feed(filter: {user_id: "u"}) { cursor status } }',
    "subscription { status_feed { cursor status status cursor } }",
    "subscription { status_feed { ... on StatusEvent { cursor } ... { status } } }",
    "subscription { ...Feed } fragment Feed on Subscription { status_feed { ...E } } "
    "fragment E on StatusEvent { cursor status }",
    "subscription { status_feed { cursor } status_feed { status } }",
]
OTHER = [
    "subscription { status_feed { status cursor } }",
    "subscription { status_feed { cursor status: previous_status } }",
    "subscription { feed: status_feed { cursor status } }",
    'subscription { notification_status(id: "ntf_1") { cursor status } }',
    "subscription { status_feed { __typename cursor status } }",
]
OWN = [
    "subscription { status_feed { cursor notification { status } } }",
    "subscription ($x: Boolean!) { status_feed { cursor status @include(if: $x) } }",
    "subscription ($x: Boolean!) { status_feed { cursor ... @skip(if: $x) { status } } }",
    'subscription { request_progress(request_id: "r") { counts { status } } }',
]


@pytest.mark.parametrize("text", SAME)
def test_what_selects_the_same_has_the_same_shape(text: str) -> None:
    assert shape(text) == shape(PLAIN) is not None


@pytest.mark.parametrize("text", OTHER)
def test_another_answer_is_another_shape(text: str) -> None:
    assert shape(text) not in (None, shape(PLAIN))


@pytest.mark.parametrize("text", OWN)
def test_what_depends_on_more_than_the_event_has_no_shape(text: str) -> None:
    assert shape(text) is None


def test_the_documents_above_are_valid() -> None:
    schema = build_schema()._schema
    assert {text: validate(schema, parse(text)) for text in (*SAME, *OTHER, *OWN)} == {
        text: [] for text in (*SAME, *OTHER, *OWN)
    }


def test_what_is_looked_up_for_whoever_asks_is_no_plain_field() -> None:
    fields = build_schema()._schema.type_map["StatusEvent"].fields  # type: ignore[attr-defined]
    assert set(fields) - PLAIN_FIELDS == {"notification"}
