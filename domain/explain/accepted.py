"""The decisions of acceptance: channel, template, locale, wishes, schedule."""

from collections.abc import Iterator
from typing import Any

import msgspec

from domain.explain.contact import contact
from domain.explain.told import DecisionKind, Explanation, Told, explain
from domain.explain.wording import moment
from domain.outgoing import Pinned
from domain.ports import LogRow
from domain.reasons import Acceptance, Named, read
from domain.recipient import Why

_LEFT_OUT = {
    Why.NO_CONTACT_POINT: "the recipient cannot be reached there",
    Why.SUPPRESSED: "it is suppressed there",
    Why.OPTED_OUT: "the recipient opted out",
    Why.QUIET_HOURS: "it is quiet hours",
}


def at_acceptance(told: Told) -> Iterator[Explanation]:
    """In the order in which they were made. What was accepted before all this was kept says what is known."""
    row = told.timeline[0]
    kept = read(row.detail, Acceptance)
    detail = row.detail or {}
    if kept is not None:
        yield _channel(told, row, kept)
    yield from _template(row, detail, kept)
    if "user" in detail.get("stale", ()):
        sentence = "The User Service was away: the recipient is as they were last heard of."
        yield explain(DecisionKind.RECIPIENT, sentence, row.occurred_at, stale=True)
    rule, quiet = (None, None) if kept is None else (kept.rule, kept.quiet)
    yield from contact(told, row, rule, quiet, row.occurred_at)
    yield from _schedule(told, row)
    if detail.get("test"):
        sentence = "A test key sent it: it goes to the sandbox and nowhere else."
        yield explain(DecisionKind.PROVIDER, sentence, row.occurred_at, test=True)


def _channel(told: Told, row: LogRow, kept: Acceptance) -> Explanation:
    asked = kept.channel is Named.CALLER
    sentence = f"The caller asked for {told.channel}."
    if not asked:
        sentence = f"The caller named no channel, and there is something to say on {told.channel}."
    if kept.left_out:
        others = "; ".join(f"{channel}, because {_LEFT_OUT[why]}" for channel, why in kept.left_out.items())
        sentence = f"{sentence} Left out: {others}."
    left_out = kept.left_out or None
    return explain(
        DecisionKind.CHANNEL, sentence, row.occurred_at, channel=told.channel, named_by=kept.channel, left_out=left_out
    )


def _template(row: LogRow, detail: dict[str, Any], kept: Acceptance | None) -> Iterator[Explanation]:
    try:
        pinned = msgspec.convert(detail.get("template"), Pinned | None)
    except msgspec.ValidationError:
        return
    if pinned is None:
        return
    named = None if kept is None else kept.version
    sentence = f"Version {pinned.version} of the template {pinned.key!r}{_VERSIONS[named]}."
    stale = "template" in detail.get("stale", ()) or None
    if stale:
        sentence = f"{sentence} The Template Service was away: this is what was last heard of."
    yield explain(
        DecisionKind.TEMPLATE,
        sentence,
        row.occurred_at,
        key=pinned.key,
        version=pinned.version,
        named_by=named,
        stale=stale,
    )
    yield _locale(row, pinned, None if kept is None else kept.locale)


_VERSIONS = {
    Named.CALLER: ": the caller asked for it",
    Named.NOBODY: ": it was the published one",
    Named.RECIPIENT: "",
    None: "",
}


def _locale(row: LogRow, pinned: Pinned, named: Named | None) -> Explanation:
    tried = pinned.locale_fallback
    sentence = f"The locale is {pinned.locale}"
    if named is Named.NOBODY:
        sentence += ": neither the caller nor the recipient named one, and it is the template's default"
    elif named is not None:
        whose = "caller" if named is Named.CALLER else "recipient"
        sentence += f", which the {whose} named" if len(tried) <= 1 else f": the {whose} named {tried[0]}"
    if len(tried) > 1:
        sentence += f"; tried in order were {', '.join(tried)}"
    return explain(
        DecisionKind.LOCALE, f"{sentence}.", row.occurred_at, locale=pinned.locale, named_by=named, tried=list(tried)
    )


def _schedule(told: Told, row: LogRow) -> Iterator[Explanation]:
    if told.send_at is not None:
        sentence = f"The caller wants it sent not before {moment(told.send_at)}."
        yield explain(DecisionKind.SCHEDULE, sentence, row.occurred_at, send_at=told.send_at)
    if told.deliver_by is not None:
        sentence = f"The caller wants it sent before {moment(told.deliver_by)} or not at all."
        yield explain(DecisionKind.SCHEDULE, sentence, row.occurred_at, deliver_by=told.deliver_by)
