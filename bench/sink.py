"""A provider that takes everything and keeps what it took and when: `python -m bench.sink`.

It speaks just enough SMTP (EHLO with PIPELINING, MAIL, RCPT, DATA, RSET, QUIT) or FCM and costs as little as it can, so
that what is measured is Heliograph. Each mail becomes one line `<time> <message-id>` in the output file, each push one
line `<time> <notification id>`.
"""

import argparse
import asyncio
import re
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from bench.fcm_sink import FcmSink

MESSAGE_ID = re.compile(rb"^Message-ID:\s*(\S+)", re.IGNORECASE | re.MULTILINE)
FLUSH_SECONDS = 0.1
TAKEN = b"250 2.0.0 taken\r\n"


class SmtpSink(asyncio.Protocol):
    """One connection. A mail is answered `delay` seconds after it was taken."""

    def __init__(self, taken: list[tuple[float, bytes]], delay: float) -> None:
        self._taken, self._delay = taken, delay
        self._buffer = b""
        self._in_data = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(b"220 sink ready\r\n")

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while self._step():
            pass

    def _step(self) -> bool:
        """Answer one command, or take one mail, if it is all there."""
        if self._in_data:
            mail, found, rest = self._buffer.partition(b"\r\n.\r\n")
            if not found:
                return False
            self._buffer, self._in_data = rest, False
            named = MESSAGE_ID.search(mail)
            self._taken.append((time.time(), named[1] if named else b"?"))
            if self._delay:
                asyncio.get_running_loop().call_later(self._delay, self._transport.write, TAKEN)
            else:
                self._transport.write(TAKEN)
            return True
        line, found, rest = self._buffer.partition(b"\r\n")
        if not found:
            return False
        self._buffer = rest
        self._answer(line[:4].upper())
        return True

    def _answer(self, verb: bytes) -> None:
        if verb == b"EHLO":
            self._transport.write(b"250-sink\r\n250-PIPELINING\r\n250-ENHANCEDSTATUSCODES\r\n250 SMTPUTF8\r\n")
        elif verb == b"DATA":
            self._in_data = True
            self._transport.write(b"354 go on\r\n")
        elif verb == b"QUIT":
            self._transport.write(b"221 bye\r\n")
            self._transport.close()
        else:
            self._transport.write(b"250 2.0.0 ok\r\n")


async def serve(port: int, out: Path, protocol: Callable[[list[tuple[float, bytes]]], asyncio.Protocol]) -> None:
    """Listen until SIGTERM; write what was taken a few times a second."""
    taken: list[tuple[float, bytes]] = []
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: protocol(taken), "127.0.0.1", port)
    stopped = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    with out.open("ab", buffering=0) as file:
        while not stopped.is_set():
            await asyncio.sleep(FLUSH_SECONDS)
            batch, taken[:] = list(taken), []
            file.write(b"".join(b"%.6f %s\n" % mail for mail in batch))
    server.close()


def main() -> None:
    """What `python -m bench.sink PORT FILE` does."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("out", type=Path)
    parser.add_argument("--protocol", choices=["smtp", "fcm"], default="smtp")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds between taking a mail and saying so")
    arguments = parser.parse_args()
    speak = FcmSink if arguments.protocol == "fcm" else partial(SmtpSink, delay=arguments.delay)
    asyncio.run(serve(arguments.port, arguments.out, speak))


if __name__ == "__main__":
    main()
