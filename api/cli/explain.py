"""`heliograph explain …`: why a notification became what it became, from a running gateway."""

import json
from collections.abc import Iterator
from typing import Annotated, Any

import msgspec
import typer

from api.cli.gateway import Key, Url, ask
from api.cli.show import plain
from domain.explain.story import Heading, Story, headline, one_can, story_lines
from domain.ids import NOTIFICATION
from domain.notification import Status
from domain.telemetry import mask

PAGE = 100

_FAILURE = "success message error { ... on ValidationError { fields { path message } } }"
ONE = f"""query ($id: ID!) {{ notification(id: $id) {{ {_FAILURE} data {{
  id request_id channel status reason category priority provider possible_duplicate test created_at send_at deliver_by
  recipient {{ user_id email device_count }}
  decisions {{ kind sentence detail at attempt }}
  waits {{ status from until seconds what_for }}
  attempts {{ number device_id provider outcome code detail started_at duration_ms retry_at }}
  timeline {{ sequence status reason attempt provider occurred_at }} }} }} }}"""
MANY = f"""query ($id: String!, $page: Int!, $limit: Int!) {{ request(request_id: $id) {{ {_FAILURE} data {{
  notifications(page: $page, limit: $limit) {{ meta {{ total_pages }}
    data {{ id channel status reason recipient {{ user_id email device_count }} }} }} }} }} }}"""
LETTER = f"""query ($id: ID!) {{ dead_letters(filter: {{ notification_id: $id, replayed: false }}, limit: 1) {{
  {_FAILURE} data {{ id }} }} }}"""

What = Annotated[str, typer.Argument(help="A notification, `ntf_…`, or the request_id of a request.")]


def explain(
    id: What,
    everything: Annotated[bool, typer.Option("--all", help="Of a request, each notification's whole story.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The data instead of the story.")] = False,
    url: Url = "",
    key: Key = "",
) -> None:
    """Tell why a notification became what it became: decisions, attempts, waits, and what comes next.

    Of a request, one line for each notification. Needs a key that may read notifications.
    """
    if id.startswith(f"{NOTIFICATION}_"):
        found = iter([_one(id, url, key)])
        whole = True
    else:
        found = _those_of(id, url, key)
        whole = everything
        if everything:
            found = (_one(each["id"], url, key) for each in found)
    if as_json:
        _print_json(list(found))
    elif whole:
        _tell_all(found, url, key)
    else:
        for each in found:
            typer.echo(plain(headline(msgspec.convert(each, Heading))).plain)


def _one(id: str, url: str, key: str) -> dict[str, Any]:
    return _masked(ask(url, key, ONE, {"id": id})["data"])


def _those_of(request_id: str, url: str, key: str) -> Iterator[dict[str, Any]]:
    """What the heading of each one needs, page by page."""
    page, pages = 1, 1
    while page <= pages:
        answer = ask(url, key, MANY, {"id": request_id, "page": page, "limit": PAGE})["data"]["notifications"]
        yield from map(_masked, answer["data"])
        page, pages = page + 1, answer["meta"]["total_pages"]


def _masked(data: dict[str, Any]) -> dict[str, Any]:
    email = data["recipient"]["email"]
    return {**data, "recipient": {**data["recipient"], "email": None if email is None else mask(email)}}


def _print_json(found: list[dict[str, Any]]) -> None:
    typer.echo(json.dumps(found, indent=2, ensure_ascii=False))


def _tell_all(found: Iterator[dict[str, Any]], url: str, key: str) -> None:
    for place, data in enumerate(found):
        if place:
            typer.echo("")
        _tell(msgspec.convert(data, Story), url, key)


def _tell(story: Story, url: str, key: str) -> None:
    for line in story_lines(story):
        typer.echo(plain(line).plain)
    for line in one_can(story, _letter_of(story, url, key)):
        typer.echo(f"You can {plain(line).plain}")


def _letter_of(story: Story, url: str, key: str) -> str | None:
    """The dead letter that waits; None also for who may not see it: the story was told all the same."""
    if story.status is not Status.FAILED:
        return None
    try:
        letters = ask(url, key, LETTER, {"id": story.id})["data"]
    except typer.Exit:
        return None
    return letters[0]["id"] if letters else None
