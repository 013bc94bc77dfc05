"""`python -m bench.knock PORT`: ask over HTTP fifty times a second until SIGTERM; then print the median and the worst.

A process of its own: one that opens sockets by the thousand would wait for itself.
"""

import asyncio
import statistics
import sys
import time

import httpx

from api.server import until_signalled


async def knock(port: int, waits: list[float]) -> None:
    """Ask again and again; how long each took, in seconds."""
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as http:
        while True:
            begun = time.monotonic()
            await http.get("/health/live")
            waits.append(time.monotonic() - begun)
            await asyncio.sleep(0.02)


async def main(port: int) -> None:
    """Until SIGTERM."""
    waits: list[float] = []
    knocking = asyncio.create_task(knock(port, waits))
    await until_signalled()
    knocking.cancel()
    print(f"  HTTP meanwhile: median {statistics.median(waits) * 1000:.0f} ms, worst {max(waits) * 1000:.0f} ms")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
