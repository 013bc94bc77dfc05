"""From a submission and its recipients to drafts: who is told what on which channel, and when; the deciding half of
`send`. Pure: everything that must be asked has been asked before.
"""

from datetime import datetime
from typing import Any

import msgspec

from domain.acceptance import Acceptances, LeftOut
from domain.errors import FieldProblem, TemplateError, TemplateSyntaxError, ValidationFailed
from domain.ids import NOTIFICATION, new_id
from domain.needs import Needs
from domain.notification import Channel, Status
from domain.outgoing import Pinned
from domain.ports import Known
from domain.push_fit import PushFit
from domain.recipient import Decision, Purpose, Recipient, Suppressed, may_contact
from domain.submission import CLOCK_TOLERANCE, RecipientRef, Submission
from domain.template import Content, Renderer, TemplateLocale, TemplateVersion
from domain.views import Draft

MAX_PROBLEMS = 100
_NO_BODY = "has no body for any channel: email needs subject and html or text, push needs title"
_NEEDS = {Channel.EMAIL: "it needs subject and html or text", Channel.PUSH: "it needs title"}


def offered(part: TemplateLocale | Content) -> list[Channel]:
    """The channels that this body has something to say on, in their usual order."""
    channels = part.channels()
    return [channel for channel in Channel if channel in channels]


class Drafting:
    """Turns recipients into drafts for one submission; remembers what is the same for many of them."""

    def __init__(
        self,
        submission: Submission,
        template: Known[TemplateVersion] | None,
        suppressed: Suppressed,
        renderer: Renderer,
        now: datetime,
    ) -> None:
        self._submission = submission
        self._version = None if template is None else template.value
        self._stale_template = template is not None and template.stale
        self._suppressed = suppressed
        self._renderer = renderer
        self._bodies: dict[str | None, tuple[TemplateLocale | Content, Pinned | None]] = {}
        self._required_by: dict[tuple[str | None, Channel], frozenset[str]] = {}
        self._needs: dict[tuple[str | None, tuple[Channel, ...]], Needs] = {}
        scheduled = submission.send_at is not None and submission.send_at > now + CLOCK_TOLERANCE
        self._send_at = submission.send_at if scheduled else None
        self._begins = self._send_at or now
        self._purpose = Purpose(category=submission.category, priority=submission.priority)
        self._fit = PushFit(renderer, submission.push, submission.variables)
        self._problems: list[FieldProblem] = []
        self._acceptances = Acceptances(submission)

    def bodies(self, recipients: list[Known[Recipient]]) -> list[TemplateLocale | Content]:
        """What `drafts` will look at: one body for each locale among the recipients."""
        locales = {self._locale_of(known.value) for known in recipients}
        return [self._body(locale)[0] for locale in locales]

    def drafts(self, recipients: list[Known[Recipient]]) -> tuple[Draft, ...]:
        """The drafts for all recipients, in order. Raises `ValidationFailed` naming everything that is missing."""
        drafts: list[Draft] = []
        for index, (ref, known) in enumerate(zip(self._submission.recipients, recipients, strict=True)):
            drafts.extend(self._of_recipient(index, ref, known))
            if len(self._problems) >= MAX_PROBLEMS:
                break
        if self._problems:
            raise ValidationFailed(self._problems)
        return tuple(drafts)

    def _of_recipient(self, index: int, ref: RecipientRef, known: Known[Recipient]) -> list[Draft]:
        part, pinned = self._body(self._locale_of(known.value))
        decided, left_out = self._decide(known.value, part)
        used = [channel for channel, decision in decided.items() if not decision.refused]
        wrong = len(self._problems)
        self._check_variables(index, ref, part, pinned, used)
        if Channel.PUSH in used and len(self._problems) == wrong:
            self._check_push(index, ref, part, pinned)
        return [self._draft(channel, decision, left_out, ref, known, pinned) for channel, decision in decided.items()]

    def _decide(self, recipient: Recipient, part: TemplateLocale | Content) -> tuple[dict[Channel, Decision], LeftOut]:
        """The channels asked for; left out, those that may be used, or one that may not and says why.

        Also which others could have been used, and why each is not.
        """
        available = offered(part)
        if self._submission.channels is not None:
            self._check_bodies(available)
            return {channel: self._may(recipient, channel) for channel in self._submission.channels}, ()
        if not available:
            self._add(("content",) if self._version is None else ("template",), "body", _NO_BODY)
        decided = {channel: self._may(recipient, channel) for channel in available or [Channel.EMAIL]}
        usable = {channel: decision for channel, decision in decided.items() if not decision.refused}
        used = usable or dict(list(decided.items())[:1])
        others = ((channel, each.code) for channel, each in decided.items() if channel not in used)
        return used, tuple((channel, code) for channel, code in others if code is not None)

    def _may(self, recipient: Recipient, channel: Channel) -> Decision:
        return may_contact(recipient, channel, self._purpose, self._begins, self._suppressed)

    def _locale_of(self, recipient: Recipient) -> str | None:
        asked = self._submission.template.locale if self._submission.template else None
        return asked or recipient.locale

    def _body(self, locale: str | None) -> tuple[TemplateLocale | Content, Pinned | None]:
        found = self._bodies.get(locale)
        if found is None:
            found = self._bodies[locale] = self._choose(locale)
        return found

    def _choose(self, locale: str | None) -> tuple[TemplateLocale | Content, Pinned | None]:
        if self._version is None:
            assert self._submission.content is not None, "the shape was checked: template or content"
            return self._submission.content, None
        chosen, chain = self._version.choose(locale)
        pinned = Pinned(
            key=self._version.key, version=self._version.version, locale=chosen.locale, locale_fallback=tuple(chain)
        )
        return chosen, pinned

    def _check_bodies(self, available: list[Channel]) -> None:
        for channel in self._submission.channels or ():
            if channel not in available:
                field = "content" if self._version is None else "template"
                self._add((field,), "body", f"has no body for {channel}: {_NEEDS[channel]}")

    def _check_variables(
        self,
        index: int,
        ref: RecipientRef,
        part: TemplateLocale | Content,
        pinned: Pinned | None,
        channels: list[Channel],
    ) -> None:
        for name in self._needs_of(part, pinned, tuple(channels)).missing(ref.variables):
            path = (*self._submission.path_of(index)[:-1], "variables", name)
            self._add(path, "missing", f"is used by the {'template' if pinned else 'content'} and was not given")

    def _check_push(self, index: int, ref: RecipientRef, part: TemplateLocale | Content, pinned: Pinned | None) -> None:
        """A recipient's own variables are to blame where there are any."""
        unfit = self._fit.problem(part, pinned.locale if pinned else None, ref.variables)
        if unfit is not None:
            shared = ("template",) if pinned else ("content",)
            path = (*self._submission.path_of(index)[:-1], "variables") if ref.variables else shared
            self._add(path, unfit.code, unfit.message)

    def _needs_of(self, part: TemplateLocale | Content, pinned: Pinned | None, channels: tuple[Channel, ...]) -> Needs:
        locale = pinned.locale if pinned else None
        found = self._needs.get((locale, channels))
        if found is None:
            for channel in channels:
                if (locale, channel) not in self._required_by:
                    self._required_by[locale, channel] = self._required(part, channel)
            names = frozenset[str]().union(*(self._required_by[locale, channel] for channel in channels))
            found = self._needs[locale, channels] = Needs(names, self._submission.variables)
        return found

    def _required(self, part: TemplateLocale | Content, channel: Channel) -> frozenset[str]:
        try:
            return self._renderer.required(part, channels=(channel,))
        except TemplateSyntaxError as error:
            self._add(("content",), "syntax", error.message)
        except TemplateError as error:
            self._add(("content",), error.code.lower(), error.message)
        return frozenset()

    def _draft(
        self,
        channel: Channel,
        decision: Decision,
        left_out: LeftOut,
        ref: RecipientRef,
        known: Known[Recipient],
        pinned: Pinned | None,
    ) -> Draft:
        due_at = self._due_at(decision)
        waiting = Status.ACCEPTED if due_at is None else Status.SCHEDULED
        return Draft(
            id=new_id(NOTIFICATION),
            channel=channel,
            status=Status.SKIPPED if decision.refused else waiting,
            reason=decision.reason,
            due_at=due_at,
            recipient=known.value,
            template=pinned,
            variables=ref.variables,
            detail=self._detail(decision, left_out, known, pinned),
        )

    def _due_at(self, decision: Decision) -> datetime | None:
        """Not before `send_at` and the end of quiet hours; by `deliver_by` somebody must look, to say EXPIRED."""
        if decision.until is None:
            return self._send_at
        deliver_by = self._submission.deliver_by
        return decision.until if deliver_by is None else min(decision.until, deliver_by)

    def _detail(
        self, decision: Decision, left_out: LeftOut, known: Known[Recipient], pinned: Pinned | None
    ) -> dict[str, Any]:
        """Which template version and locale was chosen, why it waits or is skipped, what was only remembered, and how
        all that was decided."""
        detail: dict[str, Any] = {} if pinned is None else {"template": msgspec.to_builtins(pinned)}
        if decision.code is not None:
            detail["code"] = decision.code.value
        if decision.until is not None:
            detail["held_until"] = decision.until.isoformat()
        stale = {"user": known.stale, "template": self._stale_template}
        if any(stale.values()):
            detail["stale"] = [name for name, is_stale in stale.items() if is_stale]
        return detail | self._acceptances.of(known.value, decision, left_out)

    def _add(self, path: tuple[str, ...], code: str, message: str) -> None:
        problem = FieldProblem(path, code, message)
        if problem not in self._problems and len(self._problems) < MAX_PROBLEMS:
            self._problems.append(problem)
