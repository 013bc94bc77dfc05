"""The README's table of settings, written from the settings themselves: `python -m api.settings_table --write`."""

import argparse
import re
import sys
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo

from api.settings import PREFIX, Settings

README = Path("README.md")
BEGIN, END = "<!-- settings: written by `python -m api.settings_table --write` -->", "<!-- end of settings -->"
_BETWEEN = re.compile(f"{re.escape(BEGIN)}\n.*?{re.escape(END)}", re.DOTALL)


def settings_table() -> str:
    """The table in Markdown: one row a setting, in the order of the class."""
    rows = [_row(name, field) for name, field in Settings.model_fields.items()]
    return "\n".join(["| variable | default | meaning |", "| --- | --- | --- |", *rows])


def with_table(page: str) -> str:
    """The page with the table of now between the two markers. Raises `ValueError` when it has no place for it."""
    found = _BETWEEN.findall(page)
    if len(found) != 1:
        raise ValueError(f"{README} needs the markers {BEGIN!r} and {END!r} once each")
    return page.replace(found[0], f"{BEGIN}\n\n{settings_table()}\n\n{END}")


def main() -> int:
    """Check or write the README in this folder; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m api.settings_table", description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--check", action="store_true", help=f"only say whether {README} has the table of now")
    what.add_argument("--write", action="store_true", help=f"write the table into {README}")
    given = parser.parse_args()
    page = README.read_text()
    fresh = with_table(page)
    if given.write:
        README.write_text(fresh)
    elif fresh != page:
        sys.stderr.write(f"{README} has an old table of settings: run `python -m api.settings_table --write`.\n")
        return 1
    return 0


def _row(name: str, field: FieldInfo) -> str:
    default = _text(field.default)
    return f"| `{PREFIX}{name.upper()}` | {f'`{default}`' if default else ''} | {field.description} |"


def _text(value: Any) -> str:
    """A default as the environment would give it; nothing for none."""
    if value is None or value == {}:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(map(_text, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    raise SystemExit(main())
