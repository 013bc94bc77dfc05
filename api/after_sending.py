"""What the settings say of the time after sending: whose webhooks are taken, and how mails are unsubscribed from."""

from api.gateway.webhook_mailgun import MailgunWebhook
from api.gateway.webhook_onesignal import OneSignalWebhook
from api.gateway.webhook_sendgrid import SendGridWebhook
from api.gateway.webhooks import Webhook
from api.settings import Settings
from domain.unsubscribing import UnsubscribeLinks


def webhooks_of(settings: Settings) -> dict[str, Webhook]:
    """Those that have a key or secret, by the provider's name. Raises `ConfigurationError` for a key that is none."""
    found: dict[str, Webhook] = {}
    skew = settings.webhook_skew_seconds
    if settings.sendgrid_webhook_key is not None:
        found["sendgrid"] = SendGridWebhook(settings.sendgrid_webhook_key, skew)
    if settings.mailgun_signing_key is not None:
        found["mailgun"] = MailgunWebhook(settings.mailgun_signing_key, skew)
    if settings.onesignal_webhook_secret is not None:
        found["onesignal"] = OneSignalWebhook(settings.onesignal_webhook_secret)
    return found


def links_of(settings: Settings) -> UnsubscribeLinks:
    """The links to unsubscribe. The gateway reads what the Email Service makes, so they share the secret."""
    secret = settings.secret or settings.service_token
    assert secret is not None, "secrets are checked before anything is built"
    return UnsubscribeLinks(secret, settings.public_url, settings.transactional_categories)
