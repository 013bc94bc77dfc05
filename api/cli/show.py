"""How what the gateway says looks on a terminal; what somebody wrote is neither markup nor a command to it."""

import sys
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

WIDE = 240
"""Columns where nobody looks: whoever reads it is a program, and lines cut in two are no use to it."""

STYLES = {
    "SENT": "green",
    "DELIVERED": "bold green",
    "SENDING": "cyan",
    "RETRYING": "yellow",
    "SKIPPED": "yellow",
    "CANCELLED": "yellow",
    "EXPIRED": "yellow",
    "BOUNCED": "red",
    "FAILED": "bold red",
    "ok": "green",
    "up": "green",
    "degraded": "yellow",
    "down": "bold red",
    "CLOSED": "green",
    "HALF_OPEN": "yellow",
    "OPEN": "bold red",
}
"""Of statuses, of health, of breakers."""


def console() -> Console:
    """Standard output, wide where it is no terminal."""
    made = Console()
    if not made.is_terminal:
        made.width = WIDE
    return made


def plain(text: object) -> Text:
    """What somebody wrote, as it is but for what would move the cursor, ring or hide something."""
    return Text("".join(character if character.isprintable() else "?" for character in str(text)))


def coloured(status: object) -> Text:
    """A status in its colour, where it has one."""
    text = plain(status)
    text.stylize(STYLES.get(text.plain, ""))
    return text


def moment(text: str | None) -> str:
    """To the second, in UTC as it came."""
    return f"{text[:10]} {text[11:19]}" if text else "-"


def story(event: Mapping[str, Any]) -> str:
    """What there is to say about a status besides its name: why, or by whom."""
    return str(event.get("reason") or (f"by {event['provider']}" if event.get("provider") else ""))


def event_line(event: Mapping[str, Any]) -> Text:
    """A status event on one line, its time in UTC as it came; with the notification's id where the event has it."""
    clock = datetime.fromisoformat(event["occurred_at"]).time().isoformat("milliseconds")
    line = Text(f"{clock}  {plain(event['channel']).plain:<6} ")
    if "notification_id" in event:
        line.append(f"{plain(event['notification_id'])} ")
    line.append(f"{event['sequence']}  ")
    status = coloured(event["status"])
    status.pad_right(max(0, 10 - len(status)))
    line.append_text(status).append(f" {plain(story(event))}")
    line.rstrip()
    return line


def say(line: Text, console: Console) -> None:
    """A line for people, or for a pipe: it is never cut in two, and is out at once."""
    console.print(line, soft_wrap=True, highlight=False)
    console.file.flush()


def show_page(table: Table, meta: Mapping[str, Any], what: str) -> None:
    """A page of a list for whoever reads it, and below it, apart, which page of how many it is."""
    console().print(table)
    typer.echo(f"Page {meta['page']} of {max(1, meta['total_pages'])}; {meta['total']} {what}.", err=True)


def table_of(headings: Iterable[str], rows: Iterable[Iterable[object]]) -> Table:
    """A table without lines; cells that are no `Text` yet are made plain."""
    table = Table(*headings, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else plain(cell) for cell in row))
    return table


def note(text: str) -> None:
    """Something about the work itself: not for the pipe."""
    sys.stdout.flush()
    typer.echo(f"heliograph: {plain(text)}", err=True)
