"""How the notifications of one submission were accepted, as the first entry of each one's log keeps it."""

from typing import Any

from domain.notification import Channel
from domain.reasons import Acceptance, Named, written
from domain.recipient import Decision, Recipient, Why
from domain.submission import Submission

LeftOut = dict[Channel, Why]
"""The channels that a recipient could have got something on and does not, and why."""


class Acceptances:
    """What a submission says for all of its recipients is worked out once, and what is the same for many is kept."""

    def __init__(self, submission: Submission) -> None:
        ref = submission.template
        self._channel = Named.NOBODY if submission.channels is None else Named.CALLER
        self._version = None if ref is None else Named.NOBODY if ref.version is None else Named.CALLER
        self._has_template = ref is not None
        self._caller_named_locale = ref is not None and bool(ref.locale)
        self._kept: dict[Any, dict[str, Any]] = {}

    def of(self, recipient: Recipient, decision: Decision, left_out: LeftOut) -> dict[str, Any]:
        """A part of the detail. Never to be changed: others may have the same one."""
        locale = self._locale(recipient)
        if decision.quiet is not None:  # until when differs from time zone to time zone
            return self._written(locale, decision, left_out)
        same = (locale, decision.rule, tuple(left_out.items()))
        kept = self._kept.get(same)
        if kept is None:
            kept = self._kept[same] = self._written(locale, decision, left_out)
        return kept

    def _locale(self, recipient: Recipient) -> Named | None:
        if not self._has_template:
            return None
        if self._caller_named_locale:
            return Named.CALLER
        return Named.RECIPIENT if recipient.locale else Named.NOBODY

    def _written(self, locale: Named | None, decision: Decision, left_out: LeftOut) -> dict[str, Any]:
        return written(
            Acceptance(
                channel=self._channel,
                left_out=left_out,
                version=self._version,
                locale=locale,
                rule=decision.rule,
                quiet=decision.quiet,
            )
        )
