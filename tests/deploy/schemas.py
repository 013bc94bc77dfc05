"""The published schemas of the files that others' programs read."""

import subprocess
import sys
from pathlib import Path


def check(schema: str, *paths: Path) -> None:
    """Hold files against a schema that check-jsonschema brings along: `compose-spec`, `github-workflows`."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}", *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
