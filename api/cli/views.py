"""How a watched notification or request is shown: live on a terminal, a line an event for a pipe, JSON for programs."""

import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from typing import Any, Protocol

import typer
from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from api.cli.show import coloured, event_line, note, plain, say, table_of
from domain.notification import FINAL

HEADINGS = ("notification", "channel", "to", "status", "attempt", "provider", "elapsed", "reason")
ROOMY = 140
"""Columns of a terminal that has room for ids."""


class View(Protocol):
    """Shows what comes of a subscription."""

    def showing(self) -> AbstractContextManager[Any]:
        """While this is open there may be something to show."""

    def show(self, event: Mapping[str, Any]) -> None:
        """What came."""

    def note(self, text: str) -> None:
        """Something about the work itself."""


class JsonLines:
    """Each event as it came, in ASCII."""

    def showing(self) -> AbstractContextManager[Any]:
        return nullcontext()

    def show(self, event: Mapping[str, Any]) -> None:
        typer.echo(json.dumps(event))

    def note(self, text: str) -> None:
        note(text)


class Lines(JsonLines):
    """Each event as a line for people."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def show(self, event: Mapping[str, Any]) -> None:
        say(event_line(event), self._console)


class _Alive:
    """What is drawn again and again; notes go above it."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def note(self, text: str) -> None:
        say(plain(f"heliograph: {text}"), self._console)


class LiveTable(_Alive):
    """A line a notification, for as many as a person can look at."""

    def __init__(self, console: Console, notifications: Sequence[Mapping[str, Any]]) -> None:
        super().__init__(console)
        self._known = {each["id"]: each for each in notifications}
        self._last: dict[str, Mapping[str, Any]] = {}
        # Where it would be at the expense of the reason, the id is left out.
        self._from = 0 if console.width >= ROOMY else 1
        self._live = Live(console=console, get_renderable=self._table, refresh_per_second=8)

    def showing(self) -> AbstractContextManager[Any]:
        return self._live

    def show(self, event: Mapping[str, Any]) -> None:
        self._last[event["notification_id"]] = event

    def _table(self) -> Table:
        return table_of(HEADINGS[self._from :], (self._row(id)[self._from :] for id in self._known))

    def _row(self, id: str) -> list[object]:
        known = self._known[id]
        event = self._last.get(id, known)
        ended = event.get("occurred_at") if event["status"] in FINAL else datetime.now(UTC).isoformat()
        elapsed = _seconds(known["created_at"], ended)
        told = [event.get("attempt") or "", event.get("provider") or "", elapsed, event.get("reason") or ""]
        return [id, event["channel"], recipient_of(known), coloured(event["status"]), *told]


class ProgressBar(_Alive):
    """How far a request is, and how many have which status, where there are too many for a line each."""

    def __init__(self, console: Console, total: int) -> None:
        super().__init__(console)
        columns = (
            BarColumn(),
            TaskProgressColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.description}"),
        )
        self._progress = Progress(*columns, console=console)
        self._task = self._progress.add_task("", total=total)

    def showing(self) -> AbstractContextManager[Any]:
        return self._progress

    def show(self, event: Mapping[str, Any]) -> None:
        counts = Text("  ").join(
            coloured(each["status"]).append(f" {each['count']:,}", "default") for each in event["counts"]
        )
        done = round(event["percent"] * event["total"] / 100)
        self._progress.update(self._task, total=event["total"], completed=done, description=counts.markup)


def recipient_of(notification: Mapping[str, Any]) -> str:
    """Whom a notification is to, as they were named."""
    recipient = notification["recipient"]
    return str(recipient["user_id"] or recipient["email"] or "a device")


def _seconds(start: str, end: str | None) -> str:
    if end is None:
        return ""
    return f"{max(0.0, (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()):.1f} s"
