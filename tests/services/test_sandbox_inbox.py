"""The sandbox's pages and JSON: what was sent can be read, found and forgotten, and nothing of it does anything."""

import html
import re
from collections.abc import AsyncIterator
from email.message import EmailMessage
from typing import Any

import httpx
import pytest
from aiosmtpd.smtp import Envelope

from workers.sandbox.app import sandbox_app
from workers.sandbox.fcm import FcmStore
from workers.sandbox.inbox.listing import PAGE_SIZE, Wanted, listed
from workers.sandbox.mailbox import Mailbox

SCRIPT = "<script>alert(1)</script>"
BREAKING = f"\"'><img src=x onerror=alert(1)>{SCRIPT}</title></style></textarea>"


class World:
    """A mailbox and a store of pushes that are filled directly, and the application on them."""

    def __init__(self) -> None:
        self.mailbox, self.pushes = Mailbox(), FcmStore()
        transport = httpx.ASGITransport(app=sandbox_app(self.mailbox, self.pushes))
        self.http = httpx.AsyncClient(transport=transport, base_url="http://sandbox")

    def take(self, raw: bytes, *recipients: str) -> str:
        """Keep this mail; its id."""
        envelope = Envelope()
        envelope.mail_from, envelope.rcpt_tos, envelope.content = "from@example.com", list(recipients), raw
        self.mailbox._keep(envelope)
        return self.mailbox.kept[0].id

    def take_mail(self, subject: str, to: str = "ada@example.com", *, text: str = "Hello", page: str = "") -> str:
        """Keep a mail such as we send; its id."""
        message = EmailMessage()
        message["Subject"], message["From"], message["To"] = subject, "us@example.com", to
        message["Message-ID"] = "<ntf_1@example.com>"
        message.set_content(text)
        if page:
            message.add_alternative(page, subtype="html")
        return self.take(message.as_bytes(), to)

    def take_push(self, token: str, **message: Any) -> str:
        """Keep a push; its id."""
        self.pushes.accept("demo", {"token": token, **message})
        return self.pushes.messages[-1].id

    async def page(self, path: str) -> str:
        """A page that is there."""
        answer = await self.http.get(path)
        assert answer.status_code == 200
        return answer.text


def with_files(*files: tuple[str, bytes, str]) -> bytes:
    """A mail with these files: name, content and type of each."""
    message = EmailMessage()
    message["Subject"], message["To"] = "Files", "ada@example.com"
    message.set_content("The text.")
    for name, content, kind in files:
        maintype, _, subtype = kind.partition("/")
        message.add_attachment(content, maintype=maintype, subtype=subtype, filename=name)
    return message.as_bytes()


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    yield made
    await made.http.aclose()


def subjects(page: str) -> list[str]:
    """The subjects of a list, as they are read."""
    return [html.unescape(found) for found in re.findall(r'<span class="subject">(.*?)</span>', page)]


async def test_the_newest_mail_comes_first_and_a_page_has_so_many(world: World) -> None:
    for number in range(PAGE_SIZE + 2):
        world.take_mail(f"Mail {number}")
    first = await world.page("/sandbox/inbox")
    assert subjects(first) == [f"Mail {number}" for number in range(PAGE_SIZE + 1, 1, -1)]
    older = html.unescape(re.findall(r'rel="next" href="([^"]+)"', first)[0])
    last = await world.page(older)
    assert subjects(last) == ["Mail 1", "Mail 0"]
    assert 'rel="next"' not in last
    assert 'rel="prev"' in last


@pytest.mark.parametrize(
    ("sought", "found"),
    [("welcome", ["Welcome"]), ("BOB@", ["Receipt"]), ("nobody", []), ("  ", ["Receipt", "Welcome"])],
)
async def test_a_mail_is_found_by_its_subject_and_its_addresses(world: World, sought: str, found: list[str]) -> None:
    world.take_mail("Welcome", "ada@example.com")
    world.take_mail("Receipt", "bob@example.com")
    page = (await world.http.get("/sandbox/inbox", params={"q": sought})).text
    assert subjects(page) == found


async def test_a_search_goes_along_to_the_next_page(world: World) -> None:
    for number in range(PAGE_SIZE + 1):
        world.take_mail(f"a&b {number}")
        world.take_mail("another")
    page = (await world.http.get("/sandbox/inbox", params={"q": "a&b"})).text
    older = html.unescape(re.findall(r'rel="next" href="([^"]+)"', page)[0])
    assert subjects(await world.page(older)) == ["a&b 0"]


@pytest.mark.parametrize("page", ["0", "-1", "x", "", "1.5", "٣", "9" * 30, "7"])
def test_what_is_no_page_is_one_that_there_is(page: str) -> None:
    assert listed(["only"], Wanted.of("", page), str).items == ["only"]


async def test_one_mail_shows_its_text_its_headers_and_its_source(world: World) -> None:
    id = world.take_mail("Grüße", text="Plain words", page="<p>Rich words</p>")
    page = await world.page(f"/sandbox/inbox/{id}")
    assert "<h1>Grüße</h1>" in page
    assert "Plain words" in page
    assert f' src="/sandbox/messages/{id}/html"></iframe>' in page
    assert '<th scope="row">Message-ID</th><td>&lt;ntf_1@example.com&gt;</td>' in page
    assert "multipart/alternative" in page
    assert "Rich words" in await world.page(f"/sandbox/messages/{id}/html")
    raw = await world.http.get(f"/sandbox/messages/{id}/raw")
    assert raw.content == world.mailbox.kept[0].raw
    assert raw.headers["content-type"].startswith("text/plain")


async def test_pushes_are_cards(world: World) -> None:
    data = {"order": "42", "actions": '[{"id": "open", "title": "Open", "url": "https://shop.example/42"}]'}
    shown = {"title": "On its way", "body": "Today", "image": "https://cdn.example/van.png"}
    world.take_push("token-of-ada", notification=shown, data=data)
    world.take_push("token-of-bob", notification={"title": "Other"})
    page = await world.page("/sandbox/inbox/pushes?q=ada")
    for text in (*shown.values(), "token-of-ada", "Open → https://shop.example/42", "<dt>order</dt><dd>42</dd>"):
        assert text in page
    assert "Other" not in page
    assert "<img" not in page


@pytest.mark.parametrize("path", ["/sandbox/inbox", "/sandbox/inbox/pushes", "/sandbox/inbox/{mail}"])
async def test_what_was_sent_is_text_wherever_it_stands(world: World, path: str) -> None:
    hostile = "\r\n".join(
        [f"Subject: {BREAKING}", f"From: {BREAKING}", f"X-{SCRIPT.replace(':', '')}: {BREAKING}", "", BREAKING]
    )
    mail = world.take(hostile.encode(), f"{BREAKING}@example.com")
    world.take_push(
        BREAKING,
        notification={"title": BREAKING, "body": BREAKING, "image": BREAKING},
        data={BREAKING: BREAKING, "actions": f'[{{"title": {BREAKING!r}}}]'},
    )
    page = (await world.http.get(path.format(mail=mail), params={"q": "<script>"})).text
    assert "onerror" in page
    assert "<img" not in page
    assert page.count("<script") == (0 if "{mail}" in path else 1)
    assert page.count("<title>") == page.count("</title>") == page.count("</style>") == 1


async def test_pages_run_nothing_but_their_own_script_and_ask_nobody_else(world: World) -> None:
    pages = [await world.http.get("/sandbox/inbox") for _ in range(2)]
    policies = [page.headers["content-security-policy"] for page in pages]
    assert policies[0] != policies[1]
    for page, policy in zip(pages, policies, strict=True):
        nonce = policy.split("script-src 'nonce-")[1].split("'")[0]
        assert re.findall(r"<(?:script|style)[^>]*>", page.text) == [
            f'<style nonce="{nonce}">',
            f'<script nonce="{nonce}">',
        ]
        assert policy.startswith("default-src 'none'")
        assert "unsafe" not in policy
        assert "//" not in policy
        assert page.headers["x-content-type-options"] == "nosniff"


async def test_a_mails_html_can_do_nothing_however_it_is_opened(world: World) -> None:
    id = world.take_mail("Hostile", page=SCRIPT)
    answer = await world.http.get(f"/sandbox/messages/{id}/html")
    policy = answer.headers["content-security-policy"].split("; ")
    assert "sandbox" in policy
    assert "default-src 'none'" in policy
    assert not any(part.startswith(("script-src", "connect-src", "frame-src")) for part in policy)
    assert answer.text.strip() == SCRIPT
    assert 'sandbox=""' in await world.page(f"/sandbox/inbox/{id}")


async def test_json_shows_all_and_one(world: World) -> None:
    mail, push = world.take_mail("Hi"), world.take_push("a-token", notification={"title": "Ho"})
    found = (await world.http.get("/sandbox/messages")).json()
    assert [each["subject"] for each in found["emails"]] == ["Hi"]
    assert [each["token"] for each in found["pushes"]] == ["a-token"]
    one = (await world.http.get(f"/sandbox/messages/{mail}")).json()
    assert {**found["emails"][0], "kind": "email", "raw": one["raw"]} == one
    assert one["raw"].startswith("Subject: Hi")
    other = (await world.http.get(f"/sandbox/messages/{push}")).json()
    assert {**found["pushes"][0], "kind": "push"} == other


async def test_what_is_not_there_is_not_found(world: World) -> None:
    world.take_mail("no HTML in it")
    for path in (
        "messages/x",
        "messages/x/html",
        "messages/x/raw",
        "inbox/x",
        f"messages/{world.mailbox.kept[0].id}/html",
    ):
        assert (await world.http.get(f"/sandbox/{path}")).status_code == 404, path


async def test_all_is_forgotten_at_once(world: World) -> None:
    id = world.take_mail("Hi")
    world.take_push("a-token")
    assert (await world.http.delete("/sandbox/messages")).status_code == 204
    assert (await world.http.get("/sandbox/messages")).json() == {"emails": [], "pushes": []}
    assert (await world.http.get(f"/sandbox/messages/{id}")).status_code == 404


DEEP = b"".join(b'Content-Type: multipart/mixed; boundary="%d"\r\n\r\n--%d\r\n' % (n, n) for n in range(3_000))


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x00\xff\xfe",
        b"Subject: =?utf-8?b?!!!!?=\r\n\r\n",
        b"Subject: =?utf-7?q?+2AA-?=\r\n\r\n",
        b"Subject: =?klingon?q?a?=\r\n\r\nx",
        b"Content-Type: text/html; charset=utf-7\r\n\r\n+2AA-",
        b"Content-Type: text/plain; charset=base64\r\n\r\n\xff",
        b"Content-Type: text/plain; charset*=x'y'%ff\r\nContent-Transfer-Encoding: base64\r\n\r\n====",
        b"Content-Type: multipart/mixed\r\n\r\nno boundary",
        b"Content-Type: message/rfc822\r\n\r\nContent-Type: text/html\r\n\r\n<p>inner</p>",
        b"Content-Type: text/plain; charset=punycode\r\n\r\n" + b"a-" * 100_000,
        b"Subject: " + b"=?a?q?" * 100_000 + b"\r\n\r\n",
        DEEP,
    ],
    ids=range(13),
)
async def test_no_mail_is_too_odd_to_be_shown(world: World, raw: bytes) -> None:
    id = world.take(raw, "ada@example.com")
    for path in ("messages", f"messages/{id}", f"messages/{id}/raw", "inbox", f"inbox/{id}"):
        assert (await world.http.get(f"/sandbox/{path}")).status_code == 200, path
    assert (await world.http.get(f"/sandbox/messages/{id}/html")).status_code in (200, 404)


@pytest.mark.parametrize("data", [{"actions": "["}, {"actions": "7"}, {"actions": "[1, null, {}]"}, {}])
@pytest.mark.parametrize("notification", [None, 7, [], {"title": {"a": [1]}}])
async def test_no_push_is_too_odd_to_be_shown(world: World, notification: Any, data: dict[str, str]) -> None:
    world.take_push("a-token", notification=notification, data=data)
    assert "a-token" in await world.page("/sandbox/inbox/pushes")


class TestAttachments:
    async def test_they_are_listed_and_saved_as_they_came(self, world: World) -> None:
        files = (("Übersicht.pdf", b"%PDF", "application/pdf"), ("page.html", SCRIPT.encode(), "text/html"))
        id = world.take(with_files(*files), "ada@example.com")
        mail = (await world.http.get(f"/sandbox/messages/{id}")).json()
        assert mail["text"].strip() == "The text."
        assert mail["html"] is None, "a page that is attached is not the mail's"
        assert [(one["filename"], one["content_type"], one["size"]) for one in mail["attachments"]] == [
            ("Übersicht.pdf", "application/pdf", 4),
            ("page.html", "text/html", len(SCRIPT)),
        ]
        for number, (name, content, _) in enumerate(files):
            answer = await world.http.get(f"/sandbox/messages/{id}/attachments/{number}")
            assert answer.content == content
            disposition = EmailMessage()
            disposition["Content-Disposition"] = answer.headers["content-disposition"]
            assert disposition.get_filename() == name

    async def test_none_is_ever_shown_or_run(self, world: World) -> None:
        id = world.take(with_files(("page.html", SCRIPT.encode(), "text/html")), "ada@example.com")
        headers = (await world.http.get(f"/sandbox/messages/{id}/attachments/0")).headers
        assert headers["content-type"] == "application/octet-stream"
        assert headers["content-disposition"].startswith("attachment;")
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'; sandbox"

    async def test_the_page_links_to_them_by_a_name_that_does_nothing(self, world: World) -> None:
        id = world.take(with_files((f"{BREAKING}.pdf", b"x", "application/pdf")), "ada@example.com")
        page = await world.page(f"/sandbox/inbox/{id}")
        assert f'href="/sandbox/messages/{id}/attachments/0"' in page
        assert SCRIPT not in page
        assert html.escape(SCRIPT, quote=False) in page

    @pytest.mark.parametrize("number", ["1", "99999999999", "-1", "x"])
    async def test_what_is_not_there_is_404(self, world: World, number: str) -> None:
        id = world.take(with_files(("a", b"x", "application/pdf")), "ada@example.com")
        assert (await world.http.get(f"/sandbox/messages/{id}/attachments/{number}")).status_code == 404
        assert (await world.http.get(f"/sandbox/messages/nowhere/attachments/{number}")).status_code == 404

    async def test_a_name_means_no_harm_to_the_answers_headers(self, world: World) -> None:
        disposition = b"Content-Disposition: attachment; filename*=utf-8''a%0D%0AX-Bad%3A%201"
        raw = b"Content-Type: application/pdf\r\n" + disposition + b"\r\n\r\nx"
        id = world.take(raw, "ada@example.com")
        answer = await world.http.get(f"/sandbox/messages/{id}/attachments/0")
        assert answer.status_code == 200
        assert "x-bad" not in answer.headers
