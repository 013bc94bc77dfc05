"""The link of a mail: one click unsubscribes, looking does not, and nobody makes one up."""

from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any

import pytest

from domain.ids import NOTIFICATION, new_id
from domain.notification import Channel, Priority, Status
from domain.ports import Claim
from domain.recipient import Recipient
from domain.template import Content, Rendered
from domain.unsubscribing import UnsubscribeLinks
from tests.services.gateway_fakes import Gateway
from workers.email.service import EmailSettings, compose

ONE_CLICK = {"List-Unsubscribe": "One-Click"}
NOW = datetime(2026, 3, 1, tzinfo=UTC)


class Tags(HTMLParser):
    """The tags of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.found if name == tag]


async def sent(gateway: Gateway, category: str = "news") -> str:
    """A mail in a category; the path of its link."""
    id = (await gateway.send(category=category))["data"]["notifications"][0]["id"]
    return f"/unsubscribe/{gateway.links.token(id)}"


async def test_one_click_unsubscribes_without_key_cookie_or_redirect(gateway: Gateway) -> None:
    path = await sent(gateway)
    answer = await gateway.http.post(path, data=ONE_CLICK)
    assert (answer.status_code, "set-cookie" in answer.headers) == (200, False)
    assert "<strong>news</strong>" in answer.text
    assert [one.kind for one in gateway.store.said] == ["UNSUBSCRIBED"]


async def test_a_second_click_is_answered_as_the_first(gateway: Gateway) -> None:
    path = await sent(gateway)
    assert (await gateway.http.post(path)).text == (await gateway.http.post(path)).text


async def test_looking_unsubscribes_nobody_and_shows_one_button_and_no_script(gateway: Gateway) -> None:
    answer = await gateway.http.get(await sent(gateway, "<b>news & more"))
    assert (answer.status_code, gateway.store.said) == (200, [])
    tags = Tags(answer.text)
    assert [attrs.get("lang") for attrs in tags.named("html")] == ["en"]
    assert [len(tags.named(tag)) for tag in ("button", "h1", "title", "script", "b")] == [1, 1, 1, 0, 0]
    assert tags.named("form") == [{"method": "post"}]
    assert "&lt;b&gt;news &amp; more" in answer.text


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_every_page_says_that_it_runs_nothing_and_is_kept_nowhere(gateway: Gateway, method: str) -> None:
    headers = (await gateway.http.request(method, await sent(gateway))).headers
    policy = set(headers["content-security-policy"].split("; "))
    assert {"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"} <= policy
    assert (headers["cache-control"], headers["referrer-policy"]) == ("no-store", "no-referrer")


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_link_that_is_forged_or_of_nothing_is_not_found(gateway: Gateway, method: str) -> None:
    path = await sent(gateway)
    other = UnsubscribeLinks("another secret")
    id = path.removeprefix("/unsubscribe/").partition(".")[0]
    unknown = gateway.links.token(new_id(NOTIFICATION))
    tokens = [path[:-1].rpartition("/")[2], id, f"{id}.", f"{id}.\u00e9", other.token(id), "x", unknown]
    for token in tokens:
        answer = await gateway.http.request(method, f"/unsubscribe/{token}")
        assert (answer.status_code, answer.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert gateway.store.said == []


def claim(**changes: Any) -> Claim:
    given: dict[str, Any] = {
        "id": new_id(NOTIFICATION),
        "token": "clm_1",
        "attempt": 1,
        "attempts_used": 0,
        "claimed_at": NOW,
        "lease_until": NOW + timedelta(minutes=1),
        "channel": Channel.EMAIL,
        "category": "news",
        "priority": Priority.NORMAL,
        "status": Status.QUEUED,
        "recipient": Recipient(email="ada@example.com"),
        "template": None,
        "content": Content(subject="Hi", text="Hello"),
        "variables": {},
        "push": None,
        "deliver_by": None,
        "uncertain": False,
        "request_id": "r",
        "correlation_id": "cor_1",
    }
    return Claim(**{**given, **changes})


class TestHeaders:
    LINKS = UnsubscribeLinks("secret", "https://notify.example/", ("receipts",))

    def headers(self, links: UnsubscribeLinks, **changes: Any) -> dict[str, str]:
        settings = EmailSettings(sender="news@example.com", unsubscribe_url=links.url_of)
        rendered = Rendered(subject="Hi", text="Hello")
        return dict(compose(claim(**changes), rendered, settings).headers)

    def test_a_mail_carries_its_link_and_says_that_one_click_is_enough(self) -> None:
        id = new_id(NOTIFICATION)
        headers = self.headers(self.LINKS, id=id)
        assert headers["List-Unsubscribe"] == f"<https://notify.example/unsubscribe/{self.LINKS.token(id)}>"
        assert headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
        assert self.LINKS.read(headers["List-Unsubscribe"].rpartition("/")[2][:-1]) == id

    @pytest.mark.parametrize("changes", [{"priority": Priority.CRITICAL}, {"category": "receipts"}])
    def test_what_nobody_subscribed_to_carries_none(self, changes: dict[str, Any]) -> None:
        assert "List-Unsubscribe" not in self.headers(self.LINKS, **changes)

    def test_without_a_public_address_there_is_none(self) -> None:
        assert "List-Unsubscribe" not in self.headers(UnsubscribeLinks("secret"))

    def test_the_link_holds_no_personal_data(self) -> None:
        url = self.LINKS.url_of(claim(recipient=Recipient(user_id="usr_ada", email="ada@example.com")))
        assert url is not None
        assert not any(part in url for part in ("ada", "usr_", "news"))
