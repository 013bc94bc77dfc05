"""Whether somebody could be contacted: preference, suppression and quiet hours, at acceptance and before each call."""

from collections.abc import Iterator
from datetime import datetime

from domain.explain.told import DecisionKind, Explanation, Told, explain
from domain.explain.wording import moment
from domain.notification import Channel, Status
from domain.ports import LogRow
from domain.preferences import Rule
from domain.recipient import Quiet, Why

ERASED = "erased"
REFUSALS = {
    Why.NO_CONTACT_POINT.value: DecisionKind.CHANNEL,
    Why.SUPPRESSED.value: DecisionKind.SUPPRESSION,
    Why.OPTED_OUT.value: DecisionKind.PREFERENCE,
    Why.QUIET_HOURS.value: DecisionKind.QUIET_HOURS,
    ERASED: DecisionKind.RECIPIENT,
}
"""What each code of a refusal is about."""
_SENTENCES = {
    Rule.CATEGORY: "The recipient wants {channel} for {category!r}: they chose so for this category.",
    Rule.CHANNEL: "The recipient wants {channel}: they chose so for the channel, and nothing for {category!r}.",
    Rule.DEFAULT: "The recipient chose nothing about {channel} or {category!r}, so it is wanted.",
}
_CHANNELS = {Channel.EMAIL: "email", Channel.PUSH: "push"}


def contact(
    told: Told, row: LogRow, rule: Rule | None, quiet: Quiet | None, at: datetime, attempt: int | None = None
) -> Iterator[Explanation]:
    """What the preferences said, and what refused or held it: with the sentence that was stored then."""
    code = _refusal(row)
    if rule is not None and code != Why.OPTED_OUT:
        sentence = _SENTENCES[rule].format(channel=_CHANNELS[told.channel], category=told.category)
        yield explain(DecisionKind.PREFERENCE, sentence, at, attempt, rule=rule, wanted=True)
    if code is not None:
        yield _refused(row, code, rule, quiet, at, attempt)
    elif quiet is not None:
        sentence = f"The recipient's quiet hours last until {quiet.end} ({quiet.zone}); CRITICAL passes them."
        yield explain(DecisionKind.QUIET_HOURS, sentence, at, attempt, passed=True, **_of(quiet))


def _refusal(row: LogRow) -> str | None:
    """Why it was skipped or held. A failure's code is the provider's."""
    code = (row.detail or {}).get("code")
    return code if row.status in (Status.SKIPPED, Status.SCHEDULED) and code in REFUSALS else None


def _refused(
    row: LogRow, code: str, rule: Rule | None, quiet: Quiet | None, at: datetime, attempt: int | None
) -> Explanation:
    sentence = row.reason or f"It was not sent: {code}."
    if quiet is not None:
        sentence = f"{sentence} It is held until {moment(quiet.until)}."
    detail = {} if quiet is None else {"passed": False, **_of(quiet)}
    wanted = False if code == Why.OPTED_OUT else None
    asked = rule if code == Why.OPTED_OUT else None
    return explain(REFUSALS[code], sentence, at, attempt, code=code, rule=asked, wanted=wanted, **detail)


def _of(quiet: Quiet) -> dict[str, object]:
    return {"until": quiet.until, "local": quiet.end, "time_zone": quiet.zone}
