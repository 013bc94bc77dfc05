"""`heliograph tail`: the status feed, until Ctrl-C."""

import asyncio
from typing import Annotated, Any

import typer

from api.cli.gateway import After, AsJson, Key, Url, ask
from api.cli.running import run
from domain.notification import Channel, Status

FEED = """subscription ($after: String, $filter: StatusFeedFilter) {
  status_feed(after: $after, filter: $filter) {
    cursor notification_id sequence channel status reason attempt provider occurred_at } }"""
NEWEST = """query {
  notifications(limit: 1) { success message data { timeline { cursor } } } }"""


def tail(
    channel: Annotated[Channel | None, typer.Option(case_sensitive=False, help="Only this channel.")] = None,
    status: Annotated[
        list[Status] | None, typer.Option(case_sensitive=False, help="Only this status; may be repeated.")
    ] = None,
    category: Annotated[str, typer.Option(help="Only this category.", show_default=False)] = "",
    user: Annotated[str, typer.Option(help="Only what is to this user.", show_default=False)] = "",
    after: After = "",
    as_json: AsJson = False,
    url: Url = "",
    key: Key = "",
) -> None:
    """Show every status change that the key may see, from now on or after a cursor, until Ctrl-C.

    When the connection is lost, it connects again and goes on: no event is missing, and none comes twice.
    """
    where = {"channel": channel, "status": status or None, "category": category or None, "user_id": user or None}
    given = {"filter": {name: value for name, value in where.items() if value is not None}}
    run(lambda: _show(given, after, as_json, url, key))


async def _show(given: dict[str, Any], after: str, as_json: bool, url: str, key: str) -> None:
    from api.cli.resuming import Resumed
    from api.cli.show import console
    from api.cli.views import JsonLines, Lines

    view = JsonLines() if as_json else Lines(console())
    anchor = await asyncio.to_thread(_anchor, url, key)
    await Resumed(FEED, given, url, key, after=after, anchor=anchor).each(view.show)


def _anchor(url: str, key: str) -> str | None:
    """A cursor from before now, for a connection that is lost before the first event; None where nothing was ever sent.

    From there a feed may show what is somewhat older than itself, but it leaves nothing out.
    """
    newest = ask(url, key, NEWEST, {})["data"]
    return str(newest[0]["timeline"][-1]["cursor"]) if newest and newest[0]["timeline"] else None
