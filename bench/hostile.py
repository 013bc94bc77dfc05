"""`python -m bench.hostile`: what the worst requests of 20 kB cost the gateway, over HTTP and over sockets.

Starts `heliograph up`, sends each input of `tests/services/hostile.py` several times and prints the CPU time of the
whole process and the time until the answer, the least of its kind (what else the process does meanwhile is not the
input's doing). Exits with 1 when one costs more than the bound, or its answer is a 500 or none.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import msgspec
import orjson
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.servers.roles import API_KEY, Cluster, Process
from tests.services import hostile

BOUND = 0.050
ANSWER_SECONDS = 30.0
JSON = (b"Content-Type", b"application/json")
KEY = (b"Authorization", b"Bearer " + API_KEY.encode())
Call = Callable[[int], Awaitable[str]]
"""Sends the input for the n-th time; what came of it, in a word."""


class Cost(msgspec.Struct, frozen=True):
    """The least of several: seconds of CPU and until the answer; and what the answer was."""

    cpu: float
    answer: float
    said: str


def cpu_seconds(process: Process) -> float:
    """CPU time of all threads of another process, to the nanosecond (clock_getcpuclockid of POSIX)."""
    return time.clock_gettime((~process.pid << 3) | 2)


async def measure(process: Process, call: Call, times: int) -> Cost:
    """Send it several times, one after the other."""
    cpu: list[float] = []
    answers: list[float] = []
    said = ""
    for number in range(times):
        before, begun = cpu_seconds(process), time.perf_counter()
        async with asyncio.timeout(ANSWER_SECONDS):
            said = await call(number)
        answers.append(time.perf_counter() - begun)
        cpu.append(cpu_seconds(process) - before)
    return Cost(min(cpu), min(answers), said)


async def http(port: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> str:
    """One POST on a connection of its own, written by hand: no client would send some of these headers."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**24)
    lines = [b"POST /graphql HTTP/1.1", b"Host: gateway", b"Connection: close", b"Content-Length: %d" % len(body)]
    lines += [name + b": " + value for name, value in headers]
    try:
        writer.write(b"\r\n".join(lines) + b"\r\n\r\n" + body)
        head, _, answer = (await reader.read(-1)).partition(b"\r\n\r\n")
    finally:
        writer.close()
    status = head[9:12].decode() or "none"
    return f"{status} {code_of(answer)}" if answer[:1] == b"{" else status


async def socket(port: int, frame: str) -> str:
    """One message on a socket of its own, and the first one back, or the code that it was closed with."""
    async with connect(f"ws://127.0.0.1:{port}/graphql", subprotocols=["graphql-transport-ws"]) as connection:  # type: ignore[list-item]
        greeting = {"type": "connection_init", "payload": {"Authorization": KEY[1].decode()}}
        await connection.send(orjson.dumps(greeting).decode())
        await connection.recv()
        await connection.send(frame)
        try:
            answer = orjson.loads(await connection.recv())
        except ConnectionClosed as closed:
            return f"closed {closed.rcvd.code if closed.rcvd else 'without a word'}"
        payload = answer.get("payload") or {}
        errors = payload if isinstance(payload, list) else payload.get("errors")
        return f"{answer['type']} {code_of(orjson.dumps({'errors': errors}))}"


def code_of(answer: bytes) -> str:
    """The code of the first error; empty where there is none."""
    errors = orjson.loads(answer).get("errors") or [{}]
    return str(errors[0].get("extensions", {}).get("code", ""))


def calls(port: int) -> Iterator[tuple[str, Call]]:
    """Every input, by its name."""
    for name, query in hostile.DOCUMENTS.items():
        yield f"document over HTTP: {name}", _document(port, query)
        yield f"document over a socket: {name}", _operation(port, query)
    for name, (query, variables) in hostile.VARIABLES.items():
        yield f"variables over HTTP: {name}", _document(port, query, variables)
        yield f"variables over a socket: {name}", _operation(port, query, variables)
    for name, query in hostile.READS.items():
        yield f"reading over HTTP: {name}", _document(port, query)
        yield f"reading over a socket: {name}", _operation(port, query)
    for name, headers in hostile.HEADERS.items():
        yield f"headers: {name}", _headers(port, headers)
    for name, body in hostile.BODIES.items():
        yield f"body: {name}", _body(port, body)
    for name, frame in hostile.FRAMES.items():
        yield f"frame: {name}", _frame(port, frame)


def _document(port: int, query: str, variables: object = None) -> Call:
    def call(number: int) -> Awaitable[str]:
        body = hostile.text_of({"query": hostile.fresh(query, number), "variables": variables}, number)
        return http(port, body.encode(), [KEY, JSON])

    return call


def _operation(port: int, query: str, variables: object = None) -> Call:
    def call(number: int) -> Awaitable[str]:
        return socket(port, hostile.subscribe(hostile.fresh(query, -number - 1), variables, -number - 1))

    return call


def _headers(port: int, headers: list[tuple[bytes, bytes]]) -> Call:
    given = {name.lower() for name, _ in headers}
    usual = [pair for pair in (KEY, JSON) if pair[0].lower() not in given]
    return lambda _: http(port, b'{"query": "{ __typename }"}', [*usual, *headers])


def _body(port: int, body: bytes) -> Call:
    return lambda _: http(port, body, [KEY, JSON])


def _frame(port: int, frame: str) -> Call:
    return lambda _: socket(port, frame)


async def run(process: Process, options: argparse.Namespace) -> list[str]:
    """Measure and print all; the names of those that are not as promised."""
    bad: list[str] = []
    await measure(process, _document(process.port, "{ __typename }"), 50)
    await measure(process, _document(process.port, hostile.BATCH, hostile.FILLING), 1)
    for name, call in calls(process.port):
        if options.only in name:
            cost = await measure(process, call, options.times)
            broken = cost.cpu > BOUND or cost.said.startswith(("500", "none", "closed 10")) or "INTERNAL" in cost.said
            bad += [name] if broken else []
            mark = "  <--" if broken else ""
            print(f"{name:62} {cost.cpu * 1e3:7.1f} ms CPU {cost.answer * 1e3:7.1f} ms  {cost.said}{mark}", flush=True)
    return bad


def main() -> None:
    """Run the measurement."""
    parser = argparse.ArgumentParser(prog="python -m bench.hostile", description=__doc__)
    parser.add_argument("--times", type=int, default=5, help="how often each input is sent")
    parser.add_argument("--only", default="", help="only inputs with this in their name")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        own = {"HELIOGRAPH_API_KEY": API_KEY, "HELIOGRAPH_VAR_DIR": f"{folder}/var", "HELIOGRAPH_LOG_LEVEL": "WARNING"}
        cluster = Cluster(Path(folder), own)
        try:
            gateway = cluster.add_role("gateway", "up")
            gateway.wait_ready()
            bad = asyncio.run(run(gateway, options))
            tracebacks = gateway.log_text().count("Traceback")
        finally:
            cluster.stop()
    print(f"\n{len(bad)} above {BOUND * 1e3:.0f} ms of CPU or broken, {tracebacks} tracebacks in the log")
    sys.exit(bool(bad) or tracebacks > 0)


if __name__ == "__main__":
    main()
