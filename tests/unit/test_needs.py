"""Who lacks which variables: the same as looking each name up in all that is given, for a thousand recipients."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from domain.needs import Needs
from domain.template import missing

HEADS = st.sampled_from(["a", "b", "c"])
NAMES = st.frozensets(st.lists(HEADS, min_size=1, max_size=3).map(".".join))
LEAVES: st.SearchStrategy[Any] = st.one_of(st.none(), st.integers(), st.text(max_size=2))
VARIABLES = st.dictionaries(HEADS, st.recursive(LEAVES, lambda inner: st.dictionaries(HEADS, inner, max_size=2)))


@given(NAMES, VARIABLES, st.lists(st.none() | VARIABLES, max_size=3))
def test_what_a_recipient_lacks_is_what_neither_side_gives(
    names: frozenset[str], shared: dict[str, Any], owners: list[dict[str, Any] | None]
) -> None:
    needs = Needs(names, shared)
    for own in owners:
        assert needs.missing(own) == missing(names, {**shared, **(own or {})})


def test_what_a_recipient_replaces_is_replaced_whole() -> None:
    needs = Needs({"user.name", "user.city"}, {"user": {"name": "Ada", "city": "London"}})
    assert needs.missing(None) == ()
    assert needs.missing({"user": {"name": "Bob"}}) == ("user.city",)
