"""How SendGrid's and Mailgun's answers are read: each status, who is at fault, how long to wait, what stays hidden."""

from typing import Any

import pytest

from domain.errors import ConfigurationError
from domain.notification import Outcome
from domain.outgoing import Answer
from tests.contracts import mailgun_server, sendgrid_server
from tests.contracts.http_api import HttpApi, HttpReply
from tests.contracts.mailgun_server import MailgunApi
from tests.contracts.sendgrid_server import SendGridApi
from tests.contracts.smtp_servers import DEADLINE, mail
from workers.email.mailgun import MAILGUN_EU_URL, MAILGUN_URL, MailgunProvider
from workers.email.sendgrid import SENDGRID_EU_URL, SENDGRID_URL, SendGridProvider
from workers.resilience import is_outage

NOW = 1_700_000_000.0
APIS = [SendGridApi, MailgunApi]
TO_FIELD = "personalizations.0.to.0.email"


def said(api: type[HttpApi], sentence: str, field: str | None = None) -> Any:
    """An error body of this provider."""
    return sendgrid_server.errors(sentence, field) if api is SendGridApi else {"message": sentence}


async def answered(api: type[HttpApi], status: int, content: Any = None, **headers: str) -> Answer:
    """The adapter's answer when this is the provider's."""
    world = api()
    world.reply = HttpReply(status, content, {name.replace("_", "-"): value for name, value in headers.items()})
    async with world.running():
        provider = world.provider(clock=lambda: NOW)
        answer = await provider.send(mail(), DEADLINE)
        await provider.close()
    assert world.wrong == []
    return answer


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize(
    ("status", "outcome", "code"),
    [
        (204, Outcome.UNKNOWN, "unexpected_answer"),
        (301, Outcome.TRANSIENT, "http_301"),
        (400, Outcome.PERMANENT, "http_400"),
        (401, Outcome.TRANSIENT, "unauthorized"),
        (402, Outcome.TRANSIENT, "http_402"),
        (403, Outcome.TRANSIENT, "forbidden"),
        (404, Outcome.TRANSIENT, "http_404"),
        (408, Outcome.TRANSIENT, "http_408"),
        (413, Outcome.PERMANENT, "too_large"),
        (422, Outcome.PERMANENT, "http_422"),
        (429, Outcome.TRANSIENT, "rate_limited"),
        (500, Outcome.TRANSIENT, "http_500"),
        (502, Outcome.UNKNOWN, "http_502"),
        (503, Outcome.TRANSIENT, "http_503"),
        (504, Outcome.UNKNOWN, "http_504"),
    ],
)
async def test_every_status_is_classified_and_what_is_not_the_mails_fault_fails_over(
    api: type[HttpApi], status: int, outcome: Outcome, code: str
) -> None:
    answer = await answered(api, status, said(api, "something is the matter") if status > 204 else None)
    assert (answer.outcome, answer.code) == (outcome, code)
    assert is_outage(answer) is (outcome is not Outcome.PERMANENT)
    assert answer.rate_limited is (status == 429)
    assert status == 204 or "something is the matter" in (answer.detail or "")


@pytest.mark.parametrize(
    ("api", "status"), [(SendGridApi, 202), (SendGridApi, 200), (MailgunApi, 200), (MailgunApi, 202)]
)
async def test_a_success_without_an_id_may_or_may_not_be_one(api: type[HttpApi], status: int) -> None:
    answer = await answered(api, status, {"message": "Queued. Thank you."})
    assert (answer.outcome, answer.code) == (Outcome.UNKNOWN, "unexpected_answer")


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry_After": "17"}, 17.0),
        ({"Retry_After": "Tue, 14 Nov 2023 22:14:20 GMT"}, 60.0),
        ({"Retry_After": "Tue, 14 Nov 2023 22:00:00 GMT"}, 0.0),
        ({"X_RateLimit_Reset": "1700000042"}, 42.0),
        ({"X_RateLimit_Reset": "1700000042000"}, 42.0),
        ({"X_RateLimit_Reset": "30"}, 30.0),
        ({"Retry_After": "17", "X_RateLimit_Reset": "30"}, 17.0),
        ({"Retry_After": "soon", "X_RateLimit_Reset": "30"}, 30.0),
        ({"Retry_After": "99999999"}, 86400.0),
        ({"Retry_After": "-5"}, None),
        ({"Retry_After": "9" * 400}, None),
        ({}, None),
    ],
)
async def test_how_long_to_wait_is_read_from_what_is_there(
    api: type[HttpApi], headers: dict[str, str], seconds: float | None
) -> None:
    answer = await answered(api, 429, said(api, "too many requests"), **headers)
    assert (answer.retry_after, answer.rate_limited) == (seconds, True)


@pytest.mark.parametrize(
    ("api", "content"),
    [
        (SendGridApi, sendgrid_server.errors("The from email does not contain a valid address.", "from.email")),
        (MailgunApi, {"message": "'from' parameter is not a valid address. please check documentation"}),
        (MailgunApi, {"message": "from parameter is missing"}),
        (MailgunApi, {"message": "Sandbox subdomains are for test purposes only. Please add your own domain."}),
    ],
)
async def test_a_sender_that_is_refused_is_ours_to_mend_and_burns_no_mail(api: type[HttpApi], content: Any) -> None:
    answer = await answered(api, 400, content)
    assert (answer.outcome, answer.code) == (Outcome.TRANSIENT, "sender_refused")
    assert is_outage(answer)


@pytest.mark.parametrize(
    ("api", "content", "retires"),
    [
        (SendGridApi, sendgrid_server.errors("Does not contain a valid address.", TO_FIELD), True),
        (SendGridApi, sendgrid_server.errors("ada is unsubscribed.", TO_FIELD), False),
        (SendGridApi, sendgrid_server.errors("Does not contain a valid address.", "subject"), False),
        (
            SendGridApi,
            {"errors": sendgrid_server.errors("Does not contain a valid address.", TO_FIELD)["errors"] * 2},
            False,
        ),
        (MailgunApi, {"message": "'to' parameter is not a valid address. please check documentation"}, True),
        (MailgunApi, {"message": "'to' parameter is missing"}, False),
    ],
)
async def test_only_an_address_that_is_none_is_retired(api: type[HttpApi], content: Any, retires: bool) -> None:
    answer = await answered(api, 400, content)
    assert (answer.outcome, answer.retire_contact_point) == (Outcome.PERMANENT, retires)
    assert not (await answered(api, 503, content)).retire_contact_point


async def test_an_address_that_only_this_provider_cannot_write_to_is_not_retired() -> None:
    async with (world := SendGridApi()).running():
        provider = world.provider()
        answer = await provider.send(mail("андрей@example.com"), DEADLINE)
        await provider.close()
    assert (answer.outcome, answer.retire_contact_point) == (Outcome.PERMANENT, False)


async def test_with_one_fault_of_the_mails_among_ours_it_is_permanent() -> None:
    ours, mails = sendgrid_server.errors("no", "from"), sendgrid_server.errors("no", "personalizations.0.to.0.email")
    answer = await answered(SendGridApi, 400, {"errors": [*ours["errors"], *mails["errors"]]})
    assert answer.outcome is Outcome.PERMANENT


async def test_the_providers_sentence_names_the_field() -> None:
    content = sendgrid_server.errors("Does not contain a valid address.", "personalizations.0.to.0.email")
    answer = await answered(SendGridApi, 400, content)
    assert answer.detail == "SendGrid answered 400: personalizations.0.to.0.email: Does not contain a valid address."


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize(
    "content",
    [
        None,
        [],
        "x",
        5,
        {"errors": 5},
        {"errors": [5]},
        {"errors": [{}]},
        {"message": {"x": 1}},
        {"errors": [{"field": 1}]},
    ],
    ids=repr,
)
async def test_an_error_may_hold_anything(api: type[HttpApi], content: Any) -> None:
    answer = await answered(api, 400, content)
    assert answer.outcome is Outcome.PERMANENT
    assert answer.detail


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize(
    "said_of",
    [
        "<ada.lovelace@example.com>: user unknown",
        "Recipient ADA.LOVELACE@EXAMPLE.COM is unknown",
        "The user ada.lovelace\nis unknown",
        "to=ada.lovelace%40example.com unknown",
        "Ada Lovelace is unknown",
    ],
)
async def test_the_sentence_never_repeats_the_recipient(api: type[HttpApi], said_of: str) -> None:
    answer = await answered(api, 400, said(api, said_of))
    assert answer.detail is not None
    assert "lovelace" not in answer.detail.lower()
    assert "unknown" in answer.detail


@pytest.mark.parametrize(("api", "key"), [(SendGridApi, sendgrid_server.KEY), (MailgunApi, mailgun_server.KEY)])
async def test_a_key_is_never_shown(api: type[HttpApi], key: str) -> None:
    answer = await answered(api, 401, said(api, f"{key} is not a key"))
    assert answer.detail is not None
    assert key not in answer.detail
    assert "is not a key" in answer.detail


def test_each_region_has_its_host() -> None:
    urls = (SENDGRID_URL, SENDGRID_EU_URL, MAILGUN_URL, MAILGUN_EU_URL)
    assert len(set(urls)) == 4
    assert all(url.startswith("https://api.") for url in urls)


@pytest.mark.parametrize("key", ["", "two\r\nlines", "Schlüssel"])
def test_a_key_that_cannot_be_one_is_refused_and_not_shown(key: str) -> None:
    for make in (lambda: SendGridProvider(key), lambda: MailgunProvider(key, "mg.example.com")):
        with pytest.raises(ConfigurationError, match="API key") as caught:
            make()
        assert not key or key not in caught.value.message


@pytest.mark.parametrize("domain", ["", "example", "mg.example.com/../x", "müll.example", "a b.example"])
def test_mailguns_domain_is_a_domain(domain: str) -> None:
    with pytest.raises(ConfigurationError, match="domain"):
        MailgunProvider("key", domain)


@pytest.mark.parametrize("url", ["ftp://example.test", "nonsense"])
def test_a_url_that_is_none_is_refused(url: str) -> None:
    for make in (lambda: SendGridProvider("key", url), lambda: MailgunProvider("key", "mg.example.com", url)):
        with pytest.raises(ConfigurationError, match="URL"):
            make()
