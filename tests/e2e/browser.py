"""A browser without a network, and GraphiQL in it as a user sees it."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

from playwright.async_api import Browser, Locator, Page, async_playwright, expect

from api.gateway.playground.assets import STATIC, are_installed
from api.gateway.playground.install import install
from tests.servers.install import CHROMIUM, NODE, programs

DEADLINE_MS = 20_000
HERE = "127.0.0.1"
# Whatever else is asked for, by the page or by Chromium itself, does not exist.
NO_NETWORK = f"--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE {HERE}"
REPORT_VIOLATIONS = """addEventListener("securitypolicyviolation",
    (event) => console.error("forbidden by the policy:", event.violatedDirective, event.blockedURI));"""


def graphiql_files() -> None:
    """See to it that GraphiQL's files are installed. Raises `InstallError` or `MissingServerError`."""
    if not are_installed(STATIC):
        programs(NODE)
        install(STATIC)


def chromium() -> Path:
    """The browser that the environment names, or one that is installed, or Chromium after installing it."""
    if named := os.environ.get(CHROMIUM.variable):
        return Path(named)
    found = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "google-chrome-stable"))), None)
    return Path(found) if found else programs(CHROMIUM)["chromium"]


@asynccontextmanager
async def offline_browser() -> AsyncIterator[Browser]:
    """A headless Chromium that reaches this machine and nothing else."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium(), args=[NO_NETWORK], timeout=DEADLINE_MS)
        try:
            yield browser
        finally:
            await browser.close()


class Graphiql:
    """GraphiQL in a page of its own, and what went wrong in that page: `errors`, and `strangers` (other hosts)."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.errors: list[str] = []
        self.strangers: list[str] = []
        self.result = page.get_by_role("region", name="Result Window")
        # Cannot be pressed before the schema is there.
        self.refetch = page.get_by_role("button", name="Re-fetch GraphQL schema")
        page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda request: self._asked(request.url))
        page.on("websocket", lambda socket: self._asked(socket.url))

    @classmethod
    async def opened(cls, page: Page, port: int) -> "Graphiql":
        """Load it and wait until it can be used."""
        page.set_default_timeout(DEADLINE_MS)
        await page.add_init_script(REPORT_VIOLATIONS)
        graphiql = cls(page)
        await page.goto(f"http://{HERE}:{port}/graphql")
        await graphiql.ready()
        return graphiql

    async def ready(self) -> None:
        """Wait until the page has its tabs and its editors."""
        await expect(self.tab("Send")).to_be_visible(timeout=DEADLINE_MS)
        await expect(self.headers).to_be_visible(timeout=DEADLINE_MS)

    @property
    def headers(self) -> Locator:
        """The editor of the headers."""
        return self.page.get_by_role("region", name="Headers").locator(".graphiql-editor:not(.hidden) .CodeMirror")

    def tab(self, name: str) -> Locator:
        """One of the tabs."""
        return self.page.get_by_role("tab").filter(has=self.page.get_by_role("button", name=name, exact=True))

    async def give_key(self, key: str) -> None:
        """Put an API key into the headers, as one would paste it."""
        await self.headers.click()
        await self.page.keyboard.press("ControlOrMeta+A")
        await self.page.keyboard.insert_text(f'{{\n  "Authorization": "Bearer {key}"\n}}')

    async def run(self, tab: str) -> None:
        """Press play in a tab."""
        await self.tab(tab).get_by_role("button", name=tab, exact=True).click()
        await expect(self.tab(tab)).to_have_attribute("aria-selected", "true")
        await self.page.get_by_role("button", name="Execute query").click()

    async def shows(self, *texts: str) -> None:
        """Wait until all this is to be read in the result."""
        for text in texts:
            await expect(self.result).to_contain_text(text, timeout=DEADLINE_MS)

    async def stored(self) -> str:
        """All that the browser keeps for this page."""
        return str(
            await self.page.evaluate("JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie])")
        )

    def _asked(self, url: str) -> None:
        if urlsplit(url).scheme != "data" and urlsplit(url).hostname != HERE:
            self.strangers.append(url)
