"""Which body a locale leads to: what holds for any tag and any set of bodies."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from domain.template import TemplateLocale, TemplateVersion, canonical_locale, locale_problem

TAGS = ("en", "en-GB", "pt", "pt-BR", "zh", "zh-Hant", "zh-Hant-TW", "zh-TW", "de-CH-x-formal", "es-419", "sr-Latn")
languages = st.sampled_from(["en", "pt", "zh", "de", "es", "sr", "fr"])
subtags = st.sampled_from(["GB", "BR", "Hant", "TW", "CH", "419", "Latn", "1996", "x", "u"]) | st.from_regex(
    r"[a-z0-9]{1,8}", fullmatch=True
)
asked_tags = st.builds(lambda language, rest: "-".join([language, *rest]), languages, st.lists(subtags, max_size=4))
versions = st.builds(
    lambda tags, default: version(*tags, default=default),
    st.lists(st.sampled_from(TAGS), min_size=1, max_size=6, unique=True),
    st.sampled_from(TAGS),
)


def version(*tags: str, default: str) -> TemplateVersion:
    """With a body for each tag."""
    return TemplateVersion(
        key="k",
        version=1,
        default_locale=default,
        published=True,
        locales=tuple(TemplateLocale(locale=tag, title=tag) for tag in tags),
        created_at=datetime(2025, 1, 1, tzinfo=UTC),
    )


def scrambled(draw: st.DrawFn, tag: str) -> str:
    """The same tag in another casing, with underscores here and there."""
    letters = [draw(st.sampled_from([letter.lower(), letter.upper()])) for letter in tag]
    return "".join(draw(st.sampled_from("-_")) if letter == "-" else letter for letter in letters)


@given(versions, asked_tags)
def test_what_is_chosen_is_there_and_the_chain_leads_from_what_was_asked_to_it(
    bodies: TemplateVersion, asked: str
) -> None:
    chosen, chain = bodies.choose(asked)
    assert chosen in bodies.locales
    assert chain[0] == canonical_locale(asked)
    assert chain[-1] == chosen.locale
    assert len(set(chain)) == len(chain)


@given(versions, asked_tags)
def test_the_chain_only_shortens_before_it_turns_to_the_default(bodies: TemplateVersion, asked: str) -> None:
    chosen, chain = bodies.choose(asked)
    own = [tag for tag in chain if f"{chain[0]}-".startswith(f"{tag}-")]
    assert chain[: len(own)] == tuple(own)
    assert own == sorted(own, key=len, reverse=True)
    assert chain[len(own) :] in {
        (),
        (bodies.default_locale,),
        (bodies.default_locale, chosen.locale),
        (bodies.locales[0].locale,),
    }
    assert not any(tag.rpartition("-")[2] in {"x", "u"} for tag in own[1:])  # nothing ends with what introduces


@given(versions, asked_tags)
def test_no_body_fits_better_than_the_one_chosen(bodies: TemplateVersion, asked: str) -> None:
    chosen, _ = bodies.choose(asked)
    asked_for = f"{canonical_locale(asked)}-"
    fitting = [body for body in bodies.locales if asked_for.startswith(f"{body.locale}-")]
    if fitting:
        assert chosen == max(fitting, key=lambda body: len(body.locale))
    elif bodies.default_locale in {body.locale for body in bodies.locales}:
        assert chosen.locale == bodies.default_locale
    else:
        assert chosen == bodies.locales[0]


@given(versions, asked_tags, st.data())
def test_casing_and_underscores_make_no_difference(bodies: TemplateVersion, asked: str, data: st.DataObject) -> None:
    variant = data.draw(st.composite(scrambled)(asked))
    assert bodies.choose(variant) == bodies.choose(asked)
    assert canonical_locale(variant) == canonical_locale(asked)


@given(versions)
def test_who_asks_for_nothing_gets_the_default(bodies: TemplateVersion) -> None:
    assert bodies.choose(None) == bodies.choose("")
    chosen, chain = bodies.choose(None)
    if bodies.default_locale in {body.locale for body in bodies.locales}:
        assert (chosen.locale, chain) == (bodies.default_locale, (bodies.default_locale,))
    else:
        assert (chosen, chain) == (bodies.locales[0], (bodies.default_locale, chosen.locale))


@given(versions, st.sampled_from(TAGS))
def test_a_body_that_is_there_is_chosen_at_once(bodies: TemplateVersion, asked: str) -> None:
    if asked in {body.locale for body in bodies.locales}:
        assert bodies.choose(asked)[1] == (asked,)


@given(versions, st.text(max_size=40))
def test_any_text_leads_to_some_body(bodies: TemplateVersion, asked: str) -> None:
    chosen, chain = bodies.choose(asked)
    assert chosen in bodies.locales
    assert chain


@given(st.text(max_size=40) | asked_tags)
def test_a_tag_has_one_spelling_which_is_a_tag_too(tag: str) -> None:
    if locale_problem(tag) is None:
        assert locale_problem(canonical_locale(tag)) is None
        assert canonical_locale(canonical_locale(tag)) == canonical_locale(tag)
        assert canonical_locale(tag).lower() == tag.lower()
