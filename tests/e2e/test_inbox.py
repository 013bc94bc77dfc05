"""The sandbox's inbox in a real browser: it shows what comes, and a mail that means harm does none."""

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, Page, expect

from tests.e2e.browser import DEADLINE_MS, REPORT_VIOLATIONS, offline_browser
from tests.e2e.inbox import Inbox, Stranger, hostile, served


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    """One browser for all tests here."""
    async with offline_browser() as running:
        yield running


@pytest.fixture
async def stranger() -> AsyncIterator[Stranger]:
    """Somebody whom nothing here may ask."""
    other = Stranger()
    async with served(other.server):
        yield other


@pytest.fixture
async def inbox() -> AsyncIterator[Inbox]:
    """An empty inbox."""
    made = Inbox()
    async with served(made.server):
        yield made


@pytest.fixture
async def page(browser: Browser) -> AsyncIterator[Page]:
    """A page of a browser that knows nothing yet."""
    async with await browser.new_context() as context:
        opened = await context.new_page()
        opened.set_default_timeout(DEADLINE_MS)
        yield opened


def errors_of(page: Page) -> list[str]:
    """What goes wrong in the page from now on, what its policy forbids included."""
    errors: list[str] = []
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    return errors


async def test_what_comes_is_shown_without_loading_the_page_again(inbox: Inbox, page: Page) -> None:
    errors = errors_of(page)
    await page.add_init_script(REPORT_VIOLATIONS)
    await page.goto(inbox.url)
    await expect(page.locator("#list")).to_contain_text("None.")
    await page.get_by_role("searchbox").fill("half a wo")
    inbox.take("Welcome", "ada@example.com")
    await expect(page.get_by_role("link", name="Welcome")).to_be_visible(timeout=DEADLINE_MS)
    await expect(page.get_by_role("searchbox")).to_have_value("half a wo")
    assert errors == []


async def test_a_mail_is_found_and_read(inbox: Inbox, page: Page) -> None:
    inbox.take("Welcome", "ada@example.com", text="Plain words", html="<p style='color: rgb(1, 2, 3)'>Rich words</p>")
    inbox.take("Receipt", "bob@example.com")
    await page.goto(inbox.url)
    await page.get_by_role("searchbox").fill("ada@")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("link", name="Receipt")).to_have_count(0)
    await page.get_by_role("link", name="Welcome").click()
    await expect(page.locator("#text")).to_contain_text("Plain words")
    words = page.frame_locator("iframe").get_by_text("Rich words")
    await expect(words).to_have_css("color", "rgb(1, 2, 3)")
    await page.get_by_text("Headers", exact=True).click()
    await expect(page.locator("#headers")).to_contain_text("ada@example.com")


async def test_a_mail_that_means_harm_does_none(inbox: Inbox, stranger: Stranger, page: Page) -> None:
    url = stranger.server.url
    html = hostile(url)
    subject = f"</title><script>{' '.join(html.split())}</script>"
    id = inbox.take(subject, "ada@example.com", text=html, html=html)
    raw = f"{inbox.server.url}/sandbox/messages/{id}/raw"
    inbox.take_push(html, notification={"title": html, "body": html, "image": f"{url}/push"}, data={"actions": html})
    for path in (inbox.url, f"{inbox.url}/pushes", f"{inbox.url}/{id}", raw):
        await page.goto(path, wait_until="networkidle")
        assert await page.title() != "taken"
    await page.goto(f"{inbox.url}/{id}", wait_until="networkidle")
    shown = page.frame_locator("iframe")
    await expect(shown.locator("#harmless")).to_have_css("color", "rgb(1, 2, 3)")
    await page.goto(f"{inbox.server.url}/sandbox/messages/{id}/html", wait_until="networkidle")
    await expect(page.locator("#harmless")).to_be_visible()
    assert page.url.startswith(inbox.server.url)
    assert stranger.asked == []


async def test_a_link_in_a_mail_leads_nowhere_from_within_the_page(
    inbox: Inbox, stranger: Stranger, page: Page
) -> None:
    away, top = f'<a id="away" href="{stranger.server.url}/link">Go</a>', '<a id="top" target="_top" href="/">Up</a>'
    id = inbox.take("A link", "ada@example.com", html=away + top)
    await page.goto(f"{inbox.url}/{id}")
    await page.frame_locator("iframe").locator("#top").click()
    await page.frame_locator("iframe").locator("#away").click()
    await expect(page.frame_locator("iframe").locator("#away")).to_have_count(0)
    assert page.url == f"{inbox.url}/{id}"
    assert stranger.asked == []


async def test_the_stranger_is_there_to_be_asked(stranger: Stranger, page: Page) -> None:
    """Without this the tests above would hold of a server that nobody can reach."""
    await page.goto(f"{stranger.server.url}/asked")
    assert "/asked" in stranger.asked
