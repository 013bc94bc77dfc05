"""`python -m bench.outage`: the mail server hangs for a while; what that does to push, and what it costs.

Mail and push are sent at a steady rate. After a while the mail server is stopped (SIGSTOP: it accepts connections and
says nothing, the worst way to be dead), later it goes on. Prints push latency before, meanwhile and afterwards, from
one and the same run; how many calls to the mail server were made meanwhile; and when all mail was delivered. Exits
with 1 when something is not as promised: an id that is not SENT, or an attempt that was used without a call.
"""

import argparse
import asyncio
import os
import signal
import sys
import time
from collections.abc import Mapping

import msgspec

from api.database import Databases
from bench.engines import ENGINES, SINK_SECONDS, Sinks, all_sent, quantiles, received, started
from bench.load import flat_out, paced, send_one, send_push
from tests.servers.roles import API_KEY, Cluster

HEALTHY_SECONDS = 20.0


class Outage(msgspec.Struct, frozen=True):
    """When it began and ended, in seconds since the epoch."""

    began: float
    ended: float

    def phase(self, at: float) -> str:
        """In which part of the run this moment is."""
        if at < self.began:
            return "before"
        return "meanwhile" if at < self.ended else "afterwards"


async def measure(cluster: Cluster, urls: Mapping[str, str], sinks: Sinks, options: argparse.Namespace) -> list[str]:
    """Run it and print the figures; what was not as promised."""
    databases = await Databases.open({"gateway": urls["gateway"]})
    port = cluster.processes["gateway"].port
    try:
        warm = len(await flat_out(port, API_KEY, 4, 100, send_one)) + len(
            await flat_out(port, API_KEY, 4, 100, send_push)
        )
        await all_sent(databases, warm)
        seconds = options.seconds + 2 * HEALTHY_SECONDS
        outage, (mails, _), (pushes, _) = await asyncio.gather(
            break_down(sinks, options.seconds),
            paced(port, API_KEY, options.rate, seconds, send_one),
            paced(port, API_KEY, options.rate, seconds, send_push),
        )
        report_push(pushes, received_after(sinks), outage)
        await all_sent(databases, warm + len(pushes) + len(mails))
        print(f"  mail: all {len(mails)} sent {max(0.0, time.time() - outage.ended):.1f} s after it went on")
        await report_mail(databases, outage)
        return await faults(databases)
    finally:
        await databases.close()


def received_after(sinks: Sinks) -> dict[str, list[float]]:
    """What FCM took, once its file is written."""
    time.sleep(SINK_SECONDS)
    return received(sinks.pushes)


async def break_down(sinks: Sinks, seconds: float) -> Outage:
    """Let the mail server hang for so long, after a while."""
    await asyncio.sleep(HEALTHY_SECONDS)
    os.kill(sinks.smtp.pid, signal.SIGSTOP)
    began = time.time()
    await asyncio.sleep(seconds)
    os.kill(sinks.smtp.pid, signal.SIGCONT)
    return Outage(began, time.time())


def report_push(sent: Mapping[str, float], taken: Mapping[str, list[float]], outage: Outage) -> None:
    """Latency by phase: from the mutation's start until FCM has it."""
    latencies: dict[str, list[float]] = {"before": [], "meanwhile": [], "afterwards": []}
    for id, at in sent.items():
        latencies[outage.phase(at)].append(taken[id][0] - at)
    for phase, seconds in latencies.items():
        print(f"  push, in FCM, {phase:10} {quantiles(seconds)}   ({len(seconds)})")


async def report_mail(databases: Databases, outage: Outage) -> None:
    """What was called while the mail server hung."""
    sql = "SELECT outcome, code, count(*) AS n FROM attempts WHERE outcome <> 'ACCEPTED' GROUP BY outcome, code"
    rows = await databases["gateway"].query(sql)
    calls = ", ".join(f"{row['n']} {row['outcome']} ({row['code']})" for row in rows)
    print(f"  mail: calls that failed in {outage.ended - outage.began:.0f} s: {calls}")


async def faults(databases: Databases) -> list[str]:
    """Everything that is not as promised; empty when all is well."""
    sql = """SELECT id, status, attempts_used,
        (SELECT count(*) FROM attempts WHERE attempts.notification_id = notifications.id) AS calls
        FROM notifications"""
    rows = await databases["gateway"].query(sql)
    found = [f"{row['id']} is {row['status']}" for row in rows if row["status"] != "SENT"]
    found += [
        f"{row['id']} used {row['attempts_used']} attempts for {row['calls']} calls"
        for row in rows
        if row["attempts_used"] != row["calls"]
    ]
    return found


def run(name: str, options: argparse.Namespace) -> list[str]:
    """One engine, from start to stop."""
    with started(name) as (cluster, urls, sinks):
        return asyncio.run(measure(cluster, urls, sinks, options))


def main() -> None:
    """Run it on each engine."""
    parser = argparse.ArgumentParser(prog="python -m bench.outage", description=__doc__)
    parser.add_argument("--engine", choices=[*ENGINES, "both"], default="both")
    parser.add_argument("--rate", type=float, default=20.0, help="mails, and as many pushes, per second")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long the mail server hangs")
    options = parser.parse_args()
    chosen = list(ENGINES) if options.engine == "both" else [options.engine]
    found = [f"{name}: {fault}" for name in chosen for fault in run(name, options)]
    print("\nevery id: SENT, no attempt without a call" if not found else "\n".join(found[:20]))
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
