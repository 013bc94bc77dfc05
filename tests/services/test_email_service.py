"""The Email Service, from a claim to a mail in the local mailbox."""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from api.meters import Meters
from api.senders import Senders
from api.settings import load_settings
from api.system import System
from api.templates.client import TemplatesClient
from domain.errors import ConfigurationError, NotFound, UpstreamUnavailable
from domain.ids import NOTIFICATION, new_id
from domain.notification import Channel, Outcome, Priority, Status
from domain.outgoing import Answer, OutgoingEmail, Pinned
from domain.ports import Claim, EmailProvider, Known
from domain.recipient import Recipient
from domain.template import Content, Template, TemplateLocale, TemplateVersion
from tests.contracts.http_api import Fate
from tests.contracts.sendgrid_server import KEY, SendGridApi
from workers.email.return_path import ReturnPaths
from workers.email.service import EmailSender, EmailSettings
from workers.email.smtp import SmtpProvider
from workers.resilience import Breaker, ProviderChain
from workers.sandbox.mailbox import Mailbox

DEADLINE = 10.0
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SETTINGS = EmailSettings(sender="no-reply@heliograph.test", sender_name="Heliograph")
HELLO = TemplateVersion(
    key="hello",
    version=3,
    default_locale="en",
    published=True,
    locales=(
        TemplateLocale(locale="en", subject="Hello {{ name }}", html="<p>Hello {{ name }}</p>"),
        TemplateLocale(locale="de", subject="Hallo {{ name }}", text="Hallo {{ name }}"),
        TemplateLocale(locale="fr", title="Bonjour", body="Pas de courriel."),
    ),
    created_at=NOW,
)


class FakeTemplates:
    """One template version, or an error."""

    def __init__(self, error: Exception | None = None) -> None:
        self._error = error

    async def published(self, key: str) -> Known[Template]:
        """Never asked: a notification is pinned to its version."""
        raise AssertionError(key)

    async def version(self, key: str, version: int) -> TemplateVersion:
        if self._error is not None:
            raise self._error
        assert (key, version) == ("hello", 3)
        return HELLO


class FakeProvider:
    """Always gives the same answer; keeps what it was asked to send."""

    def __init__(self, name: str, answer: Answer) -> None:
        self.name = name
        self.mails: list[OutgoingEmail] = []
        self._answer = answer

    async def send(self, mail: OutgoingEmail, deadline: float) -> Answer:
        self.mails.append(mail)
        return self._answer

    async def close(self) -> None:
        """Nothing to let go of."""


def chain(*providers: EmailProvider, fail_max: int = 5) -> ProviderChain[EmailProvider]:
    breakers = {provider.name: Breaker(provider.name, fail_max=fail_max) for provider in providers}
    return ProviderChain(providers, breakers, clock=lambda: datetime.now(UTC))


def claim(**changes: Any) -> Claim:
    fields: dict[str, Any] = {
        "id": "ntf_0190",
        "token": "clm_1",
        "attempt": 4,
        "attempts_used": 1,
        "claimed_at": NOW,
        "lease_until": NOW + timedelta(seconds=60),
        "channel": Channel.EMAIL,
        "category": "account",
        "priority": Priority.NORMAL,
        "status": Status.QUEUED,
        "recipient": Recipient(name="Ada\nLovelace", email="ada@example.com"),
        "template": Pinned(key="hello", version=3, locale="en"),
        "content": None,
        "variables": {"name": "Ada & Co"},
        "push": None,
        "deliver_by": None,
        "uncertain": False,
        "request_id": "r1",
        "correlation_id": "c1",
    }
    return Claim(**(fields | changes))


@pytest.fixture
async def mailbox() -> AsyncIterator[Mailbox]:
    box = Mailbox()
    await box.start()
    yield box
    await box.stop()


@pytest.fixture
async def sender(mailbox: Mailbox) -> AsyncIterator[EmailSender]:
    provider = SmtpProvider(mailbox.url, greeting_name="client.test")
    yield EmailSender(chain(provider), FakeTemplates(), SETTINGS)
    await provider.close()


def sender_with(provider: FakeProvider, **settings: Any) -> EmailSender:
    return EmailSender(chain(provider), FakeTemplates(), EmailSettings(sender="no-reply@heliograph.test", **settings))


def accepting() -> FakeProvider:
    return FakeProvider("fake", Answer(outcome=Outcome.ACCEPTED))


async def test_a_pinned_template_becomes_a_mail(mailbox: Mailbox, sender: EmailSender) -> None:
    delivered = await sender.send(claim(), DEADLINE)
    assert delivered.outcome is Outcome.ACCEPTED
    assert delivered.provider == "smtp"
    assert delivered.provider_message_id == "<ntf_0190@heliograph.test>"
    assert [(attempt.number, attempt.provider, attempt.outcome) for attempt in delivered.attempts] == [
        (4, "smtp", Outcome.ACCEPTED)
    ]
    (mail,) = mailbox.messages()
    assert mail.subject == "Hello Ada & Co"
    assert mail.html is not None
    assert "<p>Hello Ada &amp; Co</p>" in mail.html
    assert mail.text is not None
    assert "Hello Ada & Co" in mail.text
    assert mail.recipient == "Ada Lovelace <ada@example.com>"
    assert mail.sender == "Heliograph <no-reply@heliograph.test>"
    assert ("Auto-Submitted", "auto-generated") in mail.headers


async def test_the_locale_is_the_pinned_one(mailbox: Mailbox, sender: EmailSender) -> None:
    await sender.send(claim(template=Pinned(key="hello", version=3, locale="de")), DEADLINE)
    (mail,) = mailbox.messages()
    assert (mail.subject, mail.html) == ("Hallo Ada & Co", None)


async def test_content_is_sent_without_a_template(mailbox: Mailbox, sender: EmailSender) -> None:
    content = Content(subject="Hi {{ name }}", text="Bye")
    await sender.send(claim(template=None, content=content), DEADLINE)
    assert mailbox.messages()[0].subject == "Hi Ada & Co"


async def test_a_retry_carries_the_same_message_id(mailbox: Mailbox, sender: EmailSender) -> None:
    deferred = claim(recipient=Recipient(email="defer@sandbox.heliograph.test"))
    first = await sender.send(deferred, DEADLINE)
    second = await sender.send(deferred, DEADLINE)
    assert (first.outcome, first.code) == (Outcome.TRANSIENT, "4.7.1")
    assert first.reason is not None
    assert "defer@" not in first.reason
    assert second.outcome is Outcome.ACCEPTED
    assert mailbox.messages()[0].message_id == "<ntf_0190@heliograph.test>"


async def test_a_bounce_is_permanent_and_says_why_in_one_sentence(sender: EmailSender) -> None:
    delivered = await sender.send(claim(recipient=Recipient(email="bounce@sandbox.heliograph.test")), DEADLINE)
    assert (delivered.outcome, delivered.code) == (Outcome.PERMANENT, "5.1.1")
    assert delivered.reason is not None
    assert delivered.reason.startswith("The mail server refused the recipient")
    assert "\n" not in delivered.reason


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"variables": {}}, "undefined_variable"),
        ({"template": None, "content": Content(subject="{{ broken", text="x")}, "template_syntax"),
        ({"template": None, "content": None}, "template_error"),
        ({"template": Pinned(key="hello", version=3, locale="fr")}, "no_email_content"),
        ({"recipient": Recipient(user_id="usr_1")}, "no_address"),
    ],
)
async def test_what_cannot_become_a_mail_is_refused_for_good(changes: dict[str, Any], code: str) -> None:
    provider = accepting()
    delivered = await sender_with(provider).send(claim(**changes), DEADLINE)
    assert (delivered.outcome, delivered.code) == (Outcome.PERMANENT, code)
    assert delivered.reason
    assert delivered.attempts == ()
    assert provider.mails == []


async def test_a_template_that_is_gone_is_permanent() -> None:
    sender = EmailSender(chain(accepting()), FakeTemplates(NotFound("template", "hello")), SETTINGS)
    delivered = await sender.send(claim(), DEADLINE)
    assert (delivered.outcome, delivered.code) == (Outcome.PERMANENT, "template_not_found")


async def test_without_the_template_service_no_attempt_is_used() -> None:
    provider = accepting()
    sender = EmailSender(chain(provider), FakeTemplates(UpstreamUnavailable("away")), SETTINGS)
    delivered = await sender.send(claim(), DEADLINE)
    assert delivered.outcome is None
    assert delivered.attempts == ()
    assert delivered.retry_after is not None
    assert delivered.retry_after > 0
    assert provider.mails == []


async def test_an_outage_leads_to_the_next_provider_and_both_calls_are_recorded() -> None:
    away = FakeProvider("first", Answer(outcome=Outcome.TRANSIENT, code="connect_failed"))
    sender = EmailSender(chain(away, accepting()), FakeTemplates(), SETTINGS)
    delivered = await sender.send(claim(), DEADLINE)
    assert (delivered.outcome, delivered.provider) == (Outcome.ACCEPTED, "fake")
    assert [(attempt.number, attempt.provider) for attempt in delivered.attempts] == [(4, "first"), (4, "fake")]


async def test_when_every_breaker_is_open_no_attempt_is_used() -> None:
    away = FakeProvider("first", Answer(outcome=Outcome.TRANSIENT, code="connect_failed"))
    sender = EmailSender(chain(away, fail_max=1), FakeTemplates(), SETTINGS)
    await sender.send(claim(), DEADLINE)
    delivered = await sender.send(claim(), DEADLINE)
    assert delivered.outcome is None
    assert delivered.retry_after is not None
    assert delivered.retry_after > 0
    assert len(away.mails) == 1


async def test_the_return_path_names_the_notification() -> None:
    provider = accepting()
    paths = ReturnPaths("bounces@heliograph.test", "s" * 32)
    one = claim(id=new_id(NOTIFICATION))
    await sender_with(provider, return_paths=paths).send(one, DEADLINE)
    returned = provider.mails[0].envelope_sender
    assert returned is not None
    assert returned.startswith(f"bounces+{one.id}-")
    assert paths.read(returned, NOW) == one.id


async def test_one_click_unsubscribe_where_there_is_a_link() -> None:
    provider = accepting()
    link: Callable[[Claim], str | None] = lambda claim: (  # noqa: E731
        f"https://heliograph.test/unsubscribe/{claim.id}" if claim.category == "news" else None
    )
    sender = sender_with(provider, unsubscribe_url=link, reply_to="help@heliograph.test")
    await sender.send(claim(category="news"), DEADLINE)
    await sender.send(claim(), DEADLINE)
    with_link, without = (dict(mail.headers) for mail in provider.mails)
    assert with_link["List-Unsubscribe"] == "<https://heliograph.test/unsubscribe/ntf_0190>"
    assert with_link["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert with_link["Reply-To"] == "help@heliograph.test"
    assert "List-Unsubscribe" not in without


async def test_replies_to_an_international_domain_go_to_its_ascii_form() -> None:
    provider = accepting()
    await sender_with(provider, reply_to="help@straße.example").send(claim(), DEADLINE)
    assert dict(provider.mails[0].headers)["Reply-To"] == "help@xn--strae-oqa.example"


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"sender": "nobody"}, "HELIOGRAPH_EMAIL_FROM"),
        ({"sender": "grüße@example.com"}, "HELIOGRAPH_EMAIL_FROM"),
        ({"sender": "a@example.com", "reply_to": "b"}, "HELIOGRAPH_EMAIL_REPLY_TO"),
    ],
)
def test_settings_that_no_mail_could_be_sent_with_are_named(settings: dict[str, Any], name: str) -> None:
    with pytest.raises(ConfigurationError, match=name):
        EmailSender(chain(accepting()), FakeTemplates(), EmailSettings(**settings))


async def test_the_role_sends_by_the_providers_of_the_settings_in_their_order_and_lets_go_of_them(
    mailbox: Mailbox,
) -> None:
    api = SendGridApi()
    api.fate = Fate.BUSY
    async with api.running():
        settings = load_settings(
            email_providers="sendgrid,smtp",
            sendgrid_api_key=KEY,
            sendgrid_url=api.url,
            smtp_url=mailbox.url,
            secret="a secret of this test and of nothing else",
        )
        system = System()
        sender = Senders(settings, system, Meters()).email(cast(TemplatesClient, FakeTemplates()))
        first = await sender.send(claim(id="ntf_1"), DEADLINE)
        api.fate = Fate.TAKEN
        second = await sender.send(claim(id="ntf_2"), DEADLINE)
        assert [attempt.provider for attempt in first.attempts] == ["sendgrid", "smtp"]
        assert [attempt.provider for attempt in second.attempts] == ["sendgrid"]
        assert [mail.notification_id for mail in api.taken] == ["ntf_2"]
        assert [mail.message_id.partition("@")[0] for mail in mailbox.messages()] == ["<ntf_1"]
        await system.stop()
        late = await sender.send(claim(id="ntf_3"), DEADLINE)
        assert late.attempts[0].code == "not_sent"
        assert len(api.taken) == 1
        await system.stop()  # SMTP has connected anew
