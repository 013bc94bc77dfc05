"""How the notifications of one submission were accepted, as the first entry of each one's log keeps it."""

from functools import lru_cache
from typing import Any

from domain.notification import Channel
from domain.preferences import Rule
from domain.reasons import Acceptance, Named, written
from domain.recipient import Decision, Quiet, Recipient, Why
from domain.submission import Submission

LeftOut = tuple[tuple[Channel, Why], ...]
"""The channels that a recipient could have got something on and does not, and why."""


class Acceptances:
    """What a submission says for all of its recipients."""

    def __init__(self, submission: Submission) -> None:
        ref = submission.template
        self._channel = Named.NOBODY if submission.channels is None else Named.CALLER
        self._version = None if ref is None else Named.NOBODY if ref.version is None else Named.CALLER
        self._has_template = ref is not None
        self._caller_named_locale = ref is not None and bool(ref.locale)

    def of(self, recipient: Recipient, decision: Decision, left_out: LeftOut) -> dict[str, Any]:
        """A part of the detail. Never to be changed: others have the same one."""
        same = (self._channel, left_out, self._version, self._locale(recipient), decision.rule)
        return _usual(*same) if decision.quiet is None else _written(*same, decision.quiet)

    def _locale(self, recipient: Recipient) -> Named | None:
        if not self._has_template:
            return None
        if self._caller_named_locale:
            return Named.CALLER
        return Named.RECIPIENT if recipient.locale else Named.NOBODY


def _written(
    channel: Named,
    left_out: LeftOut,
    version: Named | None,
    locale: Named | None,
    rule: Rule | None,
    quiet: Quiet | None = None,
) -> dict[str, Any]:
    return written(
        Acceptance(channel=channel, left_out=dict(left_out), version=version, locale=locale, rule=rule, quiet=quiet)
    )


_usual = lru_cache(maxsize=256)(_written)
"""There are few, and accepting is in a hurry. Quiet hours end at a time of their own and are not kept."""
