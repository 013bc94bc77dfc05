"""`python -m tests.e2e.screenshot`: makes docs/images/graphiql.png anew, from a real system in a real browser."""

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.e2e.browser import Graphiql, graphiql_files, offline_browser
from tests.e2e.conftest import ROOT, start_embedded
from tests.servers.roles import API_KEY

PICTURE = ROOT / "docs/images/graphiql.png"
WIDTH, HEIGHT = 1280, 860


async def picture_of(port: int) -> bytes:
    """A notification that was sent, and what the subscription says of it."""
    async with offline_browser() as browser:
        page = await browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
        graphiql = await Graphiql.opened(page, port)
        await graphiql.give_key(API_KEY)
        await graphiql.run("Send")
        await graphiql.shows('"status": "ACCEPTED"')
        await graphiql.run("Watch")
        await graphiql.shows('"status": "SENT"')
        return await page.screenshot(animations="disabled", caret="hide")


def main() -> None:
    """What `python -m` calls."""
    graphiql_files()
    with TemporaryDirectory(prefix="heliograph-screenshot-") as folder, start_embedded(Path(folder)) as running:
        picture = asyncio.run(picture_of(running.port))
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_bytes(picture)


if __name__ == "__main__":
    main()
