"""What the channels send by, made from the settings: a part of the composition root, beside `api.builder`."""

from collections.abc import Callable, Mapping
from functools import partial

from api.settings import PREFIX, Settings
from domain.errors import ConfigurationError
from domain.events import MAX_DELIVERIES
from domain.ports import EmailProvider, PushProvider
from workers.email.http_provider import CONNECTIONS
from workers.email.mailgun import MailgunProvider
from workers.email.sendgrid import SendGridProvider
from workers.email.smtp import SmtpProvider
from workers.email.smtp_delivery import Sign
from workers.pacing import Pace, Rate
from workers.push.fcm import FcmProvider
from workers.push.onesignal import OneSignalProvider

Maker = Callable[[Settings], EmailProvider]


def email_providers(settings: Settings, sign: Sign | None = None) -> list[EmailProvider]:
    """Those that the settings name, in their order. Opens no socket. `sign` signs what goes by SMTP; others sign
    themselves.

    Raises `ConfigurationError`, with one line that names the variable, for the first one that cannot work.
    """
    makers: Mapping[str, Maker] = {**_MAKERS, "smtp": partial(_smtp, sign=sign)}
    return [makers[name](settings) for name in settings.email_providers]


def push_providers(settings: Settings) -> list[PushProvider]:
    """Likewise for push."""
    return [_PUSH_MAKERS[name](settings) for name in settings.push_providers]


def fcm(settings: Settings) -> FcmProvider:
    """The Firebase project of the settings. Raises `ConfigurationError`."""
    if settings.fcm_credentials is None and settings.fcm_url is None:
        raise ConfigurationError("HELIOGRAPH_FCM_CREDENTIALS: FCM needs the service account's file.")
    return FcmProvider(settings.fcm_credentials, settings.fcm_project, url=settings.fcm_url)


def mails_at_once(settings: Settings) -> int:
    """Mails that one worker may have in hand: no more than have a connection to every provider, and one list.

    What waits for a connection waits at its call's expense, and calls that begin late are cut off half-way.
    """
    connections = settings.smtp_pool if "smtp" in settings.email_providers else CONNECTIONS
    return min(settings.worker_concurrency, connections + MAX_DELIVERIES)


def paces(settings: Settings) -> Mapping[str, Pace]:
    """A pace for each provider that has a rate; each counts by itself."""
    return {name: Pace(Rate(rate.calls, rate.seconds)) for name, rate in settings.provider_rates.items()}


def _smtp(settings: Settings, sign: Sign | None) -> EmailProvider:
    url = _needed(settings.smtp_url, "smtp_url", "the Email Service needs to know its mail server")
    return SmtpProvider(url, pool_size=settings.smtp_pool, sign=sign)


def _sendgrid(settings: Settings) -> EmailProvider:
    key = _needed(settings.sendgrid_api_key, "sendgrid_api_key", "SendGrid needs the key of an account")
    return SendGridProvider(key, settings.sendgrid_url)


def _mailgun(settings: Settings) -> EmailProvider:
    key = _needed(settings.mailgun_api_key, "mailgun_api_key", "Mailgun needs the key of an account or a domain")
    domain = _needed(settings.mailgun_domain, "mailgun_domain", "Mailgun needs the domain that mail is sent from")
    return MailgunProvider(key, domain, settings.mailgun_url)


def _onesignal(settings: Settings) -> PushProvider:
    app_id = _needed(settings.onesignal_app_id, "onesignal_app_id", "OneSignal needs the id of its app")
    key = _needed(settings.onesignal_api_key, "onesignal_api_key", "OneSignal needs the App API key of its app")
    return OneSignalProvider(app_id, key, url=settings.onesignal_url)


_PUSH_MAKERS: Mapping[str, Callable[[Settings], PushProvider]] = {"fcm": fcm, "onesignal": _onesignal}
_MAKERS: Mapping[str, Maker] = {
    "sendgrid": _sendgrid,
    "mailgun": _mailgun,
}


def _needed(value: str | None, name: str, why: str) -> str:
    if not value:
        raise ConfigurationError(f"{PREFIX}{name.upper()}: {why}.")
    return value
