"""`heliograph send`: one notification or many, and with --watch what becomes of them."""

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from api.cli.gateway import AsJson, Key, Url, ask
from api.cli.show import coloured, console, note, plain, say
from domain.notification import Channel, Priority

_RECEIPT = """{
    success message error { ... on ValidationError { fields { path message } } }
    data { duplicate accepted request { id request_id total }
      notifications { id channel status reason recipient { user_id email } } } }"""
SEND = f"mutation ($input: SendNotificationInput!) {{ send_notification(input: $input) {_RECEIPT} }}"
SEND_BATCH = f"mutation ($input: SendBatchInput!) {{ send_batch(input: $input) {_RECEIPT} }}"

Words = Annotated[str, typer.Option(show_default=False, rich_help_panel="Instead of a template")]
When = Annotated[
    str, typer.Option(show_default=False, help="A time (2030-01-31T09:00, on this machine's clock) or from now: 15m.")
]


def send(
    to: Annotated[
        list[str],
        typer.Option(help="A user's id, `usr_…`, an email address, or `device:<token>`; may be repeated."),
    ],
    template: Annotated[str, typer.Option(help="KEY, or KEY@version.", show_default=False)] = "",
    subject: Words = "",
    text: Words = "",
    html: Words = "",
    title: Words = "",
    body: Words = "",
    var: Annotated[
        list[str] | None, typer.Option(help="A variable: name=text, or name:=json; may be repeated.")
    ] = None,
    vars: Annotated[
        str, typer.Option(help="A JSON file with variables, - for standard input; --var wins.", show_default=False)
    ] = "",
    channel: Annotated[
        list[Channel] | None, typer.Option(case_sensitive=False, help="Only by this channel; may be repeated.")
    ] = None,
    category: Annotated[str, typer.Option(help="What preferences are about.", show_default=False)] = "",
    priority: Annotated[Priority | None, typer.Option(case_sensitive=False, help="Who goes first.")] = None,
    send_at: When = "",
    deliver_by: When = "",
    request_id: Annotated[
        str, typer.Option(help="The same again with the same input sends nothing twice.", show_default=False)
    ] = "",
    watch: Annotated[bool, typer.Option("--watch", help="Show what becomes of it until all of it is final.")] = False,
    as_json: AsJson = False,
    url: Url = "",
    key: Key = "",
) -> None:
    """Send a template, or a text of your own, to one recipient or many.

    With --watch the exit status is 0 when everything was sent or delivered, 1 otherwise.
    """
    from api.cli.composing import order

    given = order(
        to=to,
        template=template,
        content={"subject": subject, "text": text, "html": html, "title": title, "body": body},
        variables=(var or [], vars),
        times={"send_at": send_at, "deliver_by": deliver_by},
        more={"channels": channel, "category": category, "priority": priority, "request_id": request_id},
    )
    receipt = ask(url, key, SEND if "recipient" in given else SEND_BATCH, {"input": given})["data"]
    _tell(receipt, as_json=as_json, watched=watch)
    if watch:
        _watch(receipt["request"]["request_id"], as_json, url, key)


def _watch(request_id: str, as_json: bool, url: str, key: str) -> None:
    from api.cli.watching import Watch

    if not Watch(id=request_id, as_json=as_json, url=url, key=key).to_the_end():
        raise typer.Exit(1)


def _tell(receipt: Mapping[str, Any], *, as_json: bool, watched: bool) -> None:
    """What was accepted. Where it is watched the notifications are seen anyway."""
    if as_json:
        typer.echo(json.dumps(receipt))
        return
    request, again = receipt["request"], " before" if receipt["duplicate"] else ""
    note(f"{request['total']:,} accepted{again} as request {request['request_id']}.")
    if not watched:
        _list(receipt, request["total"])


def _list(receipt: Mapping[str, Any], total: int) -> None:
    from api.cli.views import recipient_of

    out = console()
    for each in receipt["notifications"]:
        line = plain(f"{each['id']}  {each['channel']:<6} {recipient_of(each)}  ")
        line.append_text(coloured(each["status"])).append(f" {plain(each['reason'] or '')}").rstrip()
        say(line, out)
    if (rest := total - len(receipt["notifications"])) > 0:
        note(f"and {rest:,} more.")
