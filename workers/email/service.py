"""The Email Service's way out: a claimed notification becomes one mail and goes to the first provider that takes it."""

import time
from collections.abc import Callable

import msgspec

from domain.errors import ConfigurationError
from domain.notification import Channel
from domain.outgoing import Delivered, File, OutgoingEmail
from domain.ports import Claim, EmailProvider, Templates
from domain.reasons import Route
from domain.recipient import UNREACHABLE, email_problem
from domain.refusals import REFUSED_ADDRESS
from domain.template import Rendered, Renderer
from workers.email.attachments import Attachments
from workers.email.headers import wire_address
from workers.email.return_path import ReturnPaths
from workers.rendering import refused, rendered_or_refused
from workers.resilience import Chained, ProviderChain

FETCHING = 0.5
"""The part of an attempt's time that its attachments may take; the provider has the rest."""


class EmailSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Who the mail is from. `return_paths` make envelope senders that name the notification; left out, it is `sender`.

    `unsubscribe_url` gives a mail's one-click link (RFC 8058), or None for a mail that has none.
    """

    sender: str
    sender_name: str | None = None
    reply_to: str | None = None
    return_paths: ReturnPaths | None = None
    unsubscribe_url: Callable[[Claim], str | None] | None = None


class EmailSender:
    """`domain.ports.Sender` for EMAIL. `clock` is monotonic, in seconds.

    Raises `ConfigurationError` for settings that no mail could be sent with.
    """

    def __init__(
        self,
        chain: ProviderChain[EmailProvider],
        templates: Templates,
        settings: EmailSettings,
        clock: Callable[[], float] = time.monotonic,
        *,
        renderer: Renderer | None = None,
        attachments: Attachments | None = None,
    ) -> None:
        _check(settings)
        self._chain = chain
        self._templates = templates
        self._settings = settings
        self._clock = clock
        self._renderer = renderer or Renderer()
        self._attachments = attachments or Attachments()

    async def send(self, claim: Claim, deadline: float) -> Delivered:
        """Render the pinned template and have it sent, all within `deadline` seconds.

        A retry of the same notification carries the same Message-ID. Without its template nothing is tried and no
        attempt is used; a template that cannot be rendered is PERMANENT, because it will be the same next time. So is
        an attachment that is gone, refused or too large; one that cannot be had now is TRANSIENT, and no provider is
        called.
        """
        ends_at = self._clock() + deadline
        rendered = await rendered_or_refused(claim, Channel.EMAIL, self._templates, self._renderer, deadline)
        if isinstance(rendered, Delivered):
            return rendered
        if rendered.subject is None or (rendered.html is None and rendered.text is None):
            return refused("no_email_content", "There is no subject or no text: it was not written for email.")
        if not claim.recipient.contact_points(Channel.EMAIL):
            return refused("no_address", UNREACHABLE[Channel.EMAIL])
        async with self._attachments.of(claim, FETCHING * (ends_at - self._clock())) as files:
            if isinstance(files, Delivered):
                return files
            mail = compose(claim, rendered, self._settings, files)
            left = ends_at - self._clock()
            return conclude(
                await self._chain.call(
                    lambda provider, seconds: provider.send(mail, seconds), left, number=claim.attempt
                )
            )


def compose(claim: Claim, rendered: Rendered, settings: EmailSettings, files: tuple[File, ...] = ()) -> OutgoingEmail:
    """The mail to the claim's recipient, who has an address. The same notification always has the same Message-ID."""
    paths = settings.return_paths
    return OutgoingEmail(
        to=claim.recipient.email or "",
        to_name=" ".join((claim.recipient.name or "").split()) or None,
        sender=settings.sender,
        sender_name=settings.sender_name,
        subject=rendered.subject or "",
        html=rendered.html,
        text=rendered.text,
        message_id=f"<{claim.id}@{wire_address(settings.sender).rpartition('@')[2]}>",
        notification_id=claim.id,
        headers=_headers(claim, settings),
        envelope_sender=None if paths is None else paths.make(claim.id, claim.claimed_at),
        files=files,
    )


def conclude(chained: Chained) -> Delivered:
    """What the providers' answers mean for the attempt."""
    answer = chained.answer
    if answer is None:
        reason = "No email provider is available."
        return Delivered(outcome=None, code="no_provider", retry_after=chained.retry_in, reason=reason)
    return Delivered(
        outcome=answer.outcome,
        attempts=chained.attempts,
        provider=chained.provider,
        provider_message_id=answer.provider_message_id,
        code=answer.code,
        reason=answer.detail,
        retry_after=answer.retry_after,
        rate_limited=answer.rate_limited,
        routes=(Route(steps=chained.steps),),
        detail={REFUSED_ADDRESS: True} if answer.retire_contact_point else {},
    )


def _headers(claim: Claim, settings: EmailSettings) -> tuple[tuple[str, str], ...]:
    headers = [("Auto-Submitted", "auto-generated")]  # RFC 3834: no out-of-office replies, please
    if settings.reply_to is not None:
        headers.append(("Reply-To", wire_address(settings.reply_to)))
    url = settings.unsubscribe_url(claim) if settings.unsubscribe_url is not None else None
    if url is not None:
        headers += [("List-Unsubscribe", f"<{url}>"), ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click")]
    return tuple(headers)


def _check(settings: EmailSettings) -> None:
    for name, address in {"EMAIL_FROM": settings.sender, "EMAIL_REPLY_TO": settings.reply_to}.items():
        if address is None:
            continue
        problem = email_problem(address)
        if problem is None and not address.rpartition("@")[0].isascii():
            problem = "needs SMTPUTF8, which not every server has"
        if problem is not None:
            raise ConfigurationError(f"HELIOGRAPH_{name}: the address {problem}.")
