"""`python -m tests.e2e.screenshot_inbox`: makes docs/images/inbox.png anew, from a real inbox in a real browser."""

import asyncio

from tests.e2e.browser import offline_browser
from tests.e2e.conftest import ROOT
from tests.e2e.inbox import Inbox, served

PICTURE = ROOT / "docs/images/inbox.png"
WIDTH, HEIGHT = 960, 760
HTML = """<div style="font-family: sans-serif; padding: 1rem"><h1 style="color: #c2410c">Welcome, Ada</h1>
<p>Your order <b>#1042</b> is on its way.</p>
<p><a style="background: #c2410c; color: white; padding: .5rem 1rem; border-radius: .4rem; text-decoration: none"
href="https://shop.example/orders/1042">See where it is</a></p></div>"""


async def picture() -> bytes:
    """One mail, as it is read."""
    inbox = Inbox()
    id = inbox.take("Your order is on its way", "ada@example.com", "Welcome, Ada. Your order is on its way.", HTML)
    async with served(inbox.server), offline_browser() as browser:
        page = await browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
        await page.goto(f"{inbox.url}/{id}", wait_until="networkidle")
        return await page.screenshot(animations="disabled", caret="hide")


if __name__ == "__main__":
    PICTURE.write_bytes(asyncio.run(picture()))
