"""Prints the changelog's section of a version: `python .github/release_notes.py 1.2.3`.

Fails where the version is not that of pyproject.toml, or has no section. Needs nothing but Python.
"""

import re
import sys
import tomllib
from pathlib import Path


def notes(version: str, changelog: str, project: str) -> str:
    """The section's text. Raises `ValueError` with what does not agree."""
    declared = tomllib.loads(project)["project"]["version"]
    if version != declared:
        raise ValueError(f"the tag says {version}, pyproject.toml says {declared}")
    found = re.search(rf"^## \[{re.escape(version)}\].*?\n(.*?)(?=^## \[|\Z)", changelog, re.DOTALL | re.MULTILINE)
    if found is None or not found[1].strip():
        raise ValueError(f"CHANGELOG.md says nothing of {version}")
    return found[1].strip() + "\n"


def main() -> int:
    """Print them; the exit status."""
    try:
        text = notes(sys.argv[1], Path("CHANGELOG.md").read_text(), Path("pyproject.toml").read_text())
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
