"""`heliograph watch`: the live status of a notification or a request, until it is final."""

from typing import Annotated

import typer

from api.cli.gateway import After, AsJson, Key, Url


def watch(
    id: Annotated[str, typer.Argument(help="A notification, `ntf_…`, or the request_id of a request.")],
    after: After = "",
    follow: Annotated[
        bool, typer.Option("--follow", help="Go on after the final status: confirmations, bounces, replays.")
    ] = False,
    as_json: AsJson = False,
    url: Url = "",
    key: Key = "",
) -> None:
    """Watch what becomes of a notification or a request, from its first status to its final one.

    When the connection is lost, it connects again and goes on: no event is missing, and none comes twice. The exit
    status is 0 when everything was sent or delivered, 1 otherwise.
    """
    from api.cli.watching import Watch

    if not Watch(id=id, after=after, follow=follow, as_json=as_json, url=url, key=key).to_the_end():
        raise typer.Exit(1)
