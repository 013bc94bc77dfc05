"""The channels' ways out, made from the settings: a part of the composition root, beside `api.providers`."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial

from api.after_sending import links_of
from api.meters import Meters
from api.providers import email_providers, paces, push_providers
from api.settings import Settings
from api.system import System
from api.templates.client import TemplatesClient
from domain.notification import Channel
from domain.ports import EmailProvider, PushProvider, Sender
from domain.tracing import UNTRACED, Tracer
from workers.email.attachments import Attachments
from workers.email.dkim_signer import DkimSigner
from workers.email.return_path import ReturnPaths
from workers.email.service import EmailSender, EmailSettings
from workers.email.smtp import SmtpProvider
from workers.pacing import Pace
from workers.push.fcm import FcmProvider
from workers.push.service import PushSender
from workers.resilience import Breaker, P, ProviderChain
from workers.sandbox.apart import SANDBOX
from workers.traced import traced_email, traced_push


class Senders:
    """Each opens its providers, has `system` let go of them, and `meters` count what they answer."""

    def __init__(self, settings: Settings, system: System, meters: Meters, tracer: Tracer = UNTRACED) -> None:
        self._settings, self._system, self._meters, self._tracer = settings, system, meters, tracer
        self._files: Attachments | None = None

    def email(self, templates: TemplatesClient) -> Sender:
        """Email's way out."""
        signer = dkim_signer(self._settings)
        providers = email_providers(self._settings, sign=None if signer is None else signer.signed)
        return self._email_by(providers, templates, paces(self._settings))

    def email_sandbox(self, templates: TemplatesClient) -> Sender | None:
        """Where the mail of test keys goes; None: nowhere."""
        url = self._settings.sandbox_smtp_url
        if url is None:
            return None
        return self._email_by([SmtpProvider(url, name=SANDBOX, pool_size=self._settings.smtp_pool)], templates)

    def _email_by(
        self, providers: Sequence[EmailProvider], templates: TemplatesClient, paces: Mapping[str, Pace] | None = None
    ) -> Sender:
        for provider in providers:
            self._system.add(provider.name, stop=provider.close)
        chain = self._chain(Channel.EMAIL, traced_email(providers, self._tracer), paces)
        settings = EmailSettings(
            sender=self._settings.email_from,
            sender_name=self._settings.email_from_name,
            reply_to=self._settings.email_reply_to,
            return_paths=return_paths(self._settings),
            unsubscribe_url=links_of(self._settings).url_of,
        )
        return EmailSender(chain, templates, settings, attachments=self._attachments())

    def _attachments(self) -> Attachments:
        """What fetches attachments, for live mail and for tests: one, so that there is one bound."""
        if self._files is None:
            settings = self._settings
            self._files = Attachments(
                frozenset(settings.attachment_hosts),
                max_bytes=settings.attachment_max_bytes,
                max_bytes_together=settings.attachments_max_bytes,
            )
            self._system.add("attachments", stop=self._files.close)
        return self._files

    def push(self, templates: TemplatesClient) -> Sender:
        """Push's way out."""
        return self._push_by(push_providers(self._settings), templates)

    def push_sandbox(self, templates: TemplatesClient) -> Sender | None:
        """Where the push of test keys goes; None: nowhere."""
        url, project = self._settings.sandbox_fcm_url, self._settings.fcm_project
        return None if url is None else self._push_by([FcmProvider(None, project, url=url, name=SANDBOX)], templates)

    def _push_by(self, providers: Sequence[PushProvider], templates: TemplatesClient) -> Sender:
        for provider in providers:
            self._system.add(provider.name, stop=provider.close)
        chain = self._chain(Channel.PUSH, traced_push(providers, self._tracer))
        return PushSender(chain, templates)

    def _chain(
        self, channel: Channel, providers: Sequence[P], paces: Mapping[str, Pace] | None = None
    ) -> ProviderChain[P]:
        """The providers of a channel, each behind a breaker of its own."""
        attempted = partial(self._meters.deliveries.attempted, channel)
        breakers = {provider.name: self._breaker(channel, provider.name) for provider in providers}
        return ProviderChain(providers, breakers, clock=_now, paces=paces, on_attempt=attempted)

    def _breaker(self, channel: Channel, name: str) -> Breaker:
        fail_max, reset_after = self._settings.breaker_failures, self._settings.breaker_reset_seconds
        breaker = Breaker(name, fail_max=fail_max, reset_after=reset_after)
        self._meters.breakers.watch(name, channel, lambda: breaker.state)
        return breaker


def dkim_signer(settings: Settings) -> DkimSigner | None:
    """What signs mail by SMTP; None where no key is named."""
    domain, selector, path = settings.dkim_domain, settings.dkim_selector, settings.dkim_key_file
    return DkimSigner.from_file(domain, selector, path) if domain and selector and path else None


def return_paths(settings: Settings) -> ReturnPaths | None:
    """Where bounces come back to; None where nobody waits for them."""
    secret = settings.secret or settings.service_token
    assert secret is not None, "secrets are checked before anything is built"
    return None if settings.bounce_address is None else ReturnPaths(settings.bounce_address, secret)


def _now() -> datetime:
    return datetime.now(UTC)
