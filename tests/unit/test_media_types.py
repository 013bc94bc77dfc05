"""What a client takes, by its `Accept` header: RFC 9110, section 12.5.1."""

import pytest

from api.gateway.media_types import EVENTS_TYPE, GRAPHQL_TYPE, JSON_TYPE, lists, preferred

JSON, GRAPHQL = JSON_TYPE, GRAPHQL_TYPE
OFFERED = (JSON_TYPE, GRAPHQL_TYPE)


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", JSON),
        (" , ", JSON),
        ("*/*", JSON),
        ("application/*", JSON),
        ("text/html, */*;q=0.1", JSON),
        (GRAPHQL, GRAPHQL),
        (GRAPHQL.upper(), GRAPHQL),
        (f"{GRAPHQL}, {JSON};q=0.9", GRAPHQL),
        (f"{JSON};q=0.9, {GRAPHQL}", GRAPHQL),
        (f"{GRAPHQL};q=0.5, {JSON};q=0.9", JSON),
        (f"{GRAPHQL};charset=utf-8;q=0.9, {JSON};q=0.5", GRAPHQL),
        (f"{JSON} ; q=0.1 , {GRAPHQL} ; q=0.2", GRAPHQL),
        (f"{JSON}, {GRAPHQL}", JSON),
        (f"{GRAPHQL}, {JSON}", GRAPHQL),
        (f"*/*, {GRAPHQL}", GRAPHQL),
        (f"application/*, {GRAPHQL}", GRAPHQL),
        (f"{JSON};q=0.5, */*", GRAPHQL),
        (f"{JSON};q=0, */*", GRAPHQL),
        (f"{GRAPHQL};q=0, {JSON};q=0.1", JSON),
        ("*/*;q=0, application/*", JSON),
        ("application/*;q=0, */*", None),
        ("image/png", None),
        ("text/html, application/xhtml+xml", None),
        (f"{JSON};q=0", None),
        (f"{JSON};q=much", None),
        ("*/*;q=0", None),
        (EVENTS_TYPE, None),
        ("application", None),
    ],
)
def test_what_the_client_likes_best_is_found(accept: str, expected: str | None) -> None:
    assert preferred(accept, OFFERED) == expected


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (EVENTS_TYPE, True),
        (f"{JSON}, Text/Event-Stream;q=0.1", True),
        ("", False),
        ("*/*", False),
        ("text/*", False),
        (f"{EVENTS_TYPE};q=0", False),
        (JSON, False),
    ],
)
def test_a_wildcard_names_nothing(accept: str, expected: bool) -> None:
    assert lists(accept, EVENTS_TYPE) is expected
