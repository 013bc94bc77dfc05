"""`heliograph top`: queues, providers and services of the whole system, live."""

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from api.cli.gateway import Key, Url, ask
from api.cli.running import run
from api.cli.show import coloured, console, moment, plain, table_of

_SYSTEM = """{
      queues { name depth waiting consumers publish_rate deliver_rate lag_seconds }
      providers { name channel breaker success_rate p95_ms }
      services { name status instances { id url version started_at last_seen_at status } } }"""
SYSTEM = f"query {{ system {{ success message data {_SYSTEM} }} }}"
SYSTEM_STATUS = f"subscription ($interval: Int!) {{ system_status(interval_ms: $interval) {_SYSTEM} }}"

QUEUES = ("queue", "waiting", "depth", "consumers", "in/s", "out/s", "lag")
PROVIDERS = ("provider", "channel", "breaker", "success", "p95")
SERVICES = ("service", "status", "instance", "version", "since", "last seen", "at")


def top(
    interval: Annotated[float, typer.Option(min=0.25, max=60, help="Seconds between two looks.")] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="Print how it is now, and end.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="How it is now, as JSON.")] = False,
    url: Url = "",
    key: Key = "",
) -> None:
    """Show queues, rates, breakers and instances, until Ctrl-C. What is no terminal gets how it is now."""
    first, out = ask(url, key, SYSTEM, {})["data"], console()
    if as_json:
        typer.echo(json.dumps(first))
    elif once or not out.is_terminal:
        out.print(frame(first))
    else:
        run(lambda: _live(first, round(interval * 1000), out, url, key))


async def _live(first: Mapping[str, Any], interval: int, out: Console, url: str, key: str) -> None:
    from api.cli.resuming import Resumed

    with Live(frame(first), console=out, screen=True, auto_refresh=False) as live:

        def say(text: str) -> None:
            live.update(Group(plain(text), live.renderable), refresh=True)

        subscription = Resumed(SYSTEM_STATUS, {"interval": interval}, url, key, say=say)
        await subscription.each(lambda system: live.update(frame(system), refresh=True))


def frame(system: Mapping[str, Any]) -> RenderableType:
    """One look at the system, as three tables."""
    return Group(
        table_of(QUEUES, map(_queue, system["queues"])),
        Text(),
        table_of(PROVIDERS, map(_provider, system["providers"])),
        Text(),
        table_of(SERVICES, (row for service in system["services"] for row in _service(service))),
    )


def _queue(queue: Mapping[str, Any]) -> list[object]:
    rates = (f"{queue[name]:,.1f}" for name in ("publish_rate", "deliver_rate"))
    waiting, depth, lag = f"{queue['waiting']:,}", f"{queue['depth']:,}", f"{queue['lag_seconds']:,.1f} s"
    return [queue["name"], waiting, depth, queue["consumers"], *rates, lag]


def _provider(provider: Mapping[str, Any]) -> list[object]:
    success, slow = provider["success_rate"], provider["p95_ms"]
    return [
        provider["name"],
        provider["channel"],
        coloured(provider["breaker"]),
        "-" if success is None else f"{success:.1%}",
        "-" if slow is None else f"{slow:,.0f} ms",
    ]


def _service(service: Mapping[str, Any]) -> Iterator[list[object]]:
    """A line an instance; one for a service without any, too."""
    if not service["instances"]:
        yield [service["name"], coloured(service["status"]), "none", "", "", "", ""]
    for each in service["instances"]:
        moments = (moment(each["started_at"]), moment(each["last_seen_at"]))
        yield [service["name"], coloured(each["status"]), each["id"], each["version"], *moments, each["url"] or ""]
