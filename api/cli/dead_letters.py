"""`heliograph dead-letters …`: what was given up on, and starting it again, against a running gateway."""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from time import sleep
from typing import Annotated, Any

import typer
from rich.table import Table

from api.cli.gateway import Key, Url, ask, fail
from api.cli.show import moment, plain, show_page
from api.cli.times import duration
from domain.notification import Channel

MAX_IDS = 100
AT_ONCE = 1_000
"""Dead letters that are asked for in one call where all are to be replayed."""

LIST = """query ($filter: DeadLetterFilter!, $page: Int!, $limit: Int!) {
  dead_letters(filter: $filter, page: $page, limit: $limit) {
    success message error { ... on ValidationError { fields { path message } } } meta { total page total_pages }
    data { id notification_id channel queue reason attempts dead_lettered_at replayed_at } } }"""
_REPLAY = """{
    success message error { ... on ValidationError { fields { path message } } }
    data { replayed refused { id code message } seconds more } }"""
REPLAY = f"mutation ($ids: [ID!]!) {{ replay_dead_letters(ids: $ids) {_REPLAY} }}"
REPLAY_WHERE = f"""mutation ($filter: DeadLetterFilter!, $limit: Int!, $rate: Int) {{
  replay_dead_letters_where(filter: $filter, limit: $limit, rate: $rate) {_REPLAY} }}"""

app = typer.Typer(
    name="dead-letters", help="List the dead letters of a running gateway and replay them.", no_args_is_help=True
)

OneChannel = Annotated[
    Channel | None, typer.Option("--channel", case_sensitive=False, help="Only those of deliveries on this channel.")
]
Since = Annotated[str, typer.Option("--since", help="Only those given up on since then: 90s, 15m, 1h, 7d ago.")]


@app.command("list")
def list_dead_letters(
    channel: OneChannel = None,
    since: Since = "",
    everything: Annotated[bool, typer.Option("--all", help="Also those that were replayed.")] = False,
    page: Annotated[int, typer.Option(help="Which page; the first one is 1.")] = 1,
    limit: Annotated[int, typer.Option(help="Dead letters on a page, 1 to 100.")] = 20,
    url: Url = "",
    key: Key = "",
) -> None:
    """List dead letters, the newest first."""
    where = _filter(channel, since) | ({} if everything else {"replayed": False})
    found = ask(url, key, LIST, {"filter": where, "page": page, "limit": limit})
    table = Table("id", "channel", "about", "attempts", "dead-lettered", "replayed", "reason", box=None)
    for each in found["data"]:
        about, moments = each["notification_id"] or each["queue"], (each["dead_lettered_at"], each["replayed_at"])
        told = [each["channel"] or "-", plain(about), str(each["attempts"]), *map(moment, moments)]
        table.add_row(each["id"], *told, plain(each["reason"]))
    show_page(table, found["meta"], "dead letters")


@app.command()
def replay(
    ids: Annotated[list[str] | None, typer.Argument(help="The dead letters, `dlt_…`.", show_default=False)] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="All that pass the options, instead of some by id.")
    ] = False,
    channel: OneChannel = None,
    since: Since = "",
    rate: Annotated[
        int | None, typer.Option(help="With --all: how many a second; left out, what the gateway is set to.")
    ] = None,
    url: Url = "",
    key: Key = "",
) -> None:
    """Start the notifications of dead letters again. May be called again: each letter is replayed once.

    The exit status is 1 when one is refused for another reason than that it was replayed already.
    """
    if bool(ids) is everything:
        fail("name the dead letters, or give --all.")
    if ids and (channel or since or rate):
        fail("--channel, --since and --rate go with --all.")
    if ids:
        _tell(_by_id(ids, lambda some: ask(url, key, REPLAY, {"ids": some})["data"]))
    else:
        given = {"filter": _filter(channel, since), "limit": AT_ONCE, "rate": rate}
        _tell(_until_none_is_left(lambda: ask(url, key, REPLAY_WHERE, given)["data"]))


def _by_id(ids: list[str], ask_for: Callable[[list[str]], dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """As many calls as it takes."""
    for start in range(0, len(ids), MAX_IDS):
        yield ask_for(ids[start : start + MAX_IDS])


def _until_none_is_left(ask_again: Callable[[], dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Call after call, each after what the one before gave back has come due: so the pace is kept over all of them."""
    while True:
        answer = ask_again()
        yield answer
        if not answer["more"]:
            return
        sleep(answer["seconds"])


def _tell(answers: Iterator[Mapping[str, Any]]) -> None:
    """How many were replayed after each call, and which were not; fails when one could not be."""
    count, failed = 0, False
    for answer in answers:
        count += len(answer["replayed"])
        for refused in answer["refused"]:
            typer.echo(f"{refused['id']}: {plain(refused['message'])}", err=True)
            failed = failed or refused["code"] != "ALREADY_REPLAYED"
        if answer["more"]:
            typer.echo(f"Replayed {count:,}; more follow in {answer['seconds']:.0f} s.", err=True)
    typer.echo(f"Replayed {count:,}.")
    if failed:
        raise typer.Exit(1)


def _filter(channel: Channel | None, since: str) -> dict[str, Any]:
    where: dict[str, Any] = {} if channel is None else {"channel": channel.value}
    if since:
        ago = duration(since)
        if ago is None:
            fail("--since takes a number and s, m, h or d, such as 15m.")
        where["dead_lettered_after"] = (datetime.now(UTC) - ago).isoformat()
    return where
