"""GraphiQL in a real browser whose network is cut: only this machine can be reached."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, Route, expect

from api.gateway.playground.assets import ASSETS, STATIC
from api.gateway.playground.page import CDN, Playground
from tests.e2e.browser import DEADLINE_MS, Graphiql, graphiql_files, offline_browser
from tests.e2e.conftest import Running
from tests.servers.roles import API_KEY


@pytest.fixture(scope="module")
def system(request: pytest.FixtureRequest) -> Running:
    """`heliograph up`, started once GraphiQL's files are there: it looks for them at its start."""
    graphiql_files()
    found: Running = request.getfixturevalue("embedded")
    return found


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    """One browser for all tests here."""
    async with offline_browser() as running:
        yield running


@pytest.fixture
async def graphiql(browser: Browser, system: Running) -> AsyncIterator[Graphiql]:
    """GraphiQL as a newcomer finds it: nothing is stored."""
    async with await browser.new_context() as context:
        yield await Graphiql.opened(await context.new_page(), system.port)


async def test_it_loads_without_a_network(graphiql: Graphiql) -> None:
    await expect(graphiql.page.get_by_role("tab")).to_have_count(3)
    for name in ("Send", "Watch", "CreateTemplate"):
        await expect(graphiql.tab(name)).to_be_visible()
    await expect(graphiql.headers).to_contain_text("Bearer hg_...")
    await expect(graphiql.page).to_have_title("Heliograph GraphiQL")
    assert (graphiql.errors, graphiql.strangers) == ([], [])


async def test_one_key_is_enough_to_send_and_to_watch_until_it_is_sent(graphiql: Graphiql) -> None:
    await graphiql.give_key(API_KEY)
    await graphiql.run("Send")
    await graphiql.shows('"success": true', '"status": "ACCEPTED"')
    await graphiql.run("Watch")
    await graphiql.shows('"status": "SENT"', '"provider": "smtp"', '"newest_first"')
    # It ends by itself: the button is for starting again.
    await expect(graphiql.page.get_by_role("button", name="Execute query")).to_be_visible(timeout=DEADLINE_MS)
    assert (graphiql.errors, graphiql.strangers) == ([], [])


async def test_a_template_is_made(graphiql: Graphiql) -> None:
    await graphiql.give_key(API_KEY)
    await graphiql.run("CreateTemplate")
    await graphiql.shows('"success": true', '"key": "order-shipped"')


async def test_the_schema_comes_once_there_is_a_key(graphiql: Graphiql) -> None:
    await graphiql.page.get_by_role("button", name="Show Documentation Explorer").click()
    docs = graphiql.page.get_by_role("region", name="Documentation Explorer")
    await expect(docs).to_be_visible()
    await expect(docs.get_by_role("link", name="Subscription")).to_have_count(0)
    await graphiql.give_key(API_KEY)
    await expect(docs.get_by_role("link", name="Subscription")).to_be_visible(timeout=DEADLINE_MS)
    assert graphiql.errors == []


async def test_no_header_is_stored(graphiql: Graphiql) -> None:
    await graphiql.give_key(API_KEY)
    # By now GraphiQL has taken the headers into its state, from where its history would get them.
    await expect(graphiql.refetch).to_be_enabled(timeout=DEADLINE_MS)
    await graphiql.run("Send")
    await graphiql.shows('"success": true')
    await graphiql.page.reload()
    await graphiql.ready()
    await expect(graphiql.headers).to_contain_text("Bearer hg_...")
    stored = await graphiql.stored()
    assert "graphiql:queries" in stored, "GraphiQL keeps what was run: else this test would show nothing"
    assert API_KEY not in stored


@pytest.mark.parametrize(("tab", "says"), [("Send", "UNAUTHENTICATED"), ("Watch", "The connection was closed: 4403")])
async def test_a_wrong_key_is_told_and_can_be_corrected(graphiql: Graphiql, tab: str, says: str) -> None:
    await graphiql.give_key("hg_wrong")
    await graphiql.run(tab)
    await graphiql.shows(says)
    await graphiql.give_key(API_KEY)
    await expect(graphiql.refetch).to_be_enabled(timeout=DEADLINE_MS)
    await expect(graphiql.result).to_contain_text(says)


async def test_it_says_what_to_do_when_its_files_come_from_nowhere(browser: Browser, system: Running) -> None:
    async with await browser.new_context() as context:
        page = await context.new_page()
        await page.route("**/graphiql.min.js", lambda route: route.abort())
        await page.goto(f"http://127.0.0.1:{system.port}/graphql")
        await expect(page.get_by_text("GraphiQL could not be loaded")).to_be_visible(timeout=DEADLINE_MS)


async def test_without_its_files_it_works_from_the_cdn(browser: Browser, system: Running, tmp_path: Path) -> None:
    page_without_files = Playground(static=tmp_path).page()

    async def document(route: Route) -> None:
        await route.fulfill(headers=dict(page_without_files.headers), body=bytes(page_without_files.body))

    async def cdn(route: Route) -> None:
        name = route.request.url.rpartition("/")[2]
        await route.fulfill(path=STATIC / name, headers={"Access-Control-Allow-Origin": "*"})

    async with await browser.new_context() as context:
        page = await context.new_page()
        await page.route("**/graphql", document)
        await page.route(f"{CDN}/**", cdn)
        graphiql = await Graphiql.opened(page, system.port)
    assert graphiql.errors == []
    assert len(graphiql.strangers) == len(ASSETS)
