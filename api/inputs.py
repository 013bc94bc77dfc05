"""Kinds of input that several services take, checked the same way everywhere."""

from typing import Annotated

from fastapi import Path, Query
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from domain.template import canonical_locale, locale_problem
from domain.text import storable


class Input(BaseModel):
    """A request body. A field that nobody knows is a mistake, not something to be ignored."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=False)


def _storable(text: str) -> str:
    if not storable(text):
        raise ValueError("must not contain the character NUL or a lone surrogate")
    return text


def _locale(tag: str) -> str:
    if (problem := locale_problem(tag)) is not None:
        raise ValueError(problem)
    return canonical_locale(tag)


Text = Annotated[str, AfterValidator(_storable)]
Locale = Annotated[
    str,
    AfterValidator(_locale),
    Field(description="A BCP 47 language tag; its casing is normalised.", examples=["en", "pt-BR"]),
]
Segment = Annotated[Text, Path(max_length=200)]
"""An id or a key as a segment of a path; it may name nothing."""
PageNumber = Annotated[int, Query(ge=1, le=1_000_000, description="Counts from 1.")]
PageLimit = Annotated[int, Query(ge=1, le=100, description="Items on a page.")]
