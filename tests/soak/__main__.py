"""`python -m tests.soak`: soak the scaled-out system, print the table, fail on any breach."""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from tests.soak.run import Options, soak


def main() -> None:
    """What `make soak` does."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long the load lasts")
    parser.add_argument("--rate", type=float, default=20.0, help="notifications a second")
    parser.add_argument("--every", type=float, default=10.0, help="seconds between two faults")
    parser.add_argument("--seed", type=int, default=1, help="decides the order of the faults")
    given = parser.parse_args()
    options = Options(minutes=given.minutes, rate=given.rate, every=given.every, seed=given.seed)
    with tempfile.TemporaryDirectory(prefix="heliograph-soak-") as folder:
        result = asyncio.run(soak(Path(folder), options))
    print(result.text())
    sys.exit(bool(result.breaches))


if __name__ == "__main__":
    main()
