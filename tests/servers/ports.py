"""Free loopback ports that stay free while a server is down."""

import random
import socket
from contextlib import ExitStack, closing

# Below the range from which systems take the ports of outgoing connections (32768 and up on Linux, 49152 elsewhere).
# A port from that range can be taken while a killed server is away; worse, a client that keeps trying to reconnect can
# be given the very port it connects to, and then talks to itself.
_RANGE = range(20_000, 32_000)


def free_ports(count: int) -> list[int]:
    """`count` different ports that nothing listens on."""
    found: list[int] = []
    with ExitStack() as held:
        while len(found) < count:
            port = random.choice(_RANGE)
            listener = held.enter_context(closing(socket.socket()))
            # As servers do: connections of an earlier owner in TIME_WAIT are no obstacle.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
            found.append(port)
    return found


def talk(port: int, greeting: bytes) -> bytes:
    """What answers `greeting` on a loopback port; nothing if nobody does within a second."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0) as connection:
            connection.sendall(greeting)
            return connection.recv(4096)
    except OSError:
        return b""
