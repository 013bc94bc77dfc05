"""From the words of a command line to the input of `send_notification` or `send_batch`.

What the words themselves get wrong is one line and the exit status 2; what they mean is for the gateway to judge.
"""

import re
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from api.cli.gateway import misused
from api.cli.times import duration

DEVICE = "device:"
_VARIABLE = re.compile(r"([^=:]+)(:?=)(.*)", re.DOTALL)


def order(
    *,
    to: Sequence[str],
    template: str,
    content: Mapping[str, str],
    variables: tuple[Sequence[str], str],
    times: Mapping[str, str],
    more: Mapping[str, Any],
) -> dict[str, Any]:
    """The input: with `recipient` for one, with `recipients` for several. What was left out is not in it."""
    words = {name: text for name, text in content.items() if text}
    if bool(template) is bool(words):
        misused("give --template, or a text of your own by --subject, --text, --html, --title and --body.")
    whole = {
        "template": _template(template) if template else None,
        "content": words,
        "variables": _variables(*variables),
        **{name: _time(name, text) for name, text in times.items()},
        **more,
    }
    given = {name: value for name, value in whole.items() if value}
    people = [_recipient(each) for each in to]
    if len(people) == 1:
        return {"recipient": people[0], **given}
    return {"recipients": [{"recipient": each} for each in people], **given}


def _recipient(text: str) -> dict[str, str]:
    if text.startswith(DEVICE):
        return {"device_token": text.removeprefix(DEVICE)}
    return {"email" if "@" in text else "user_id": text}


def _template(text: str) -> dict[str, Any]:
    key, at, version = text.partition("@")
    if at and not re.fullmatch(r"[0-9]{1,9}", version):
        misused("--template takes KEY or KEY@version, such as welcome@3.")
    return {"key": key, "version": int(version)} if at else {"key": key}


def _variables(pairs: Sequence[str], file: str) -> dict[str, Any]:
    """Those of the file, and over them those that were named one by one."""
    found = _file(file) if file else {}
    for pair in pairs:
        matched = _VARIABLE.fullmatch(pair)
        if matched is None:
            misused("--var takes name=text or name:=json, such as name=Ada or count:=3.")
        name, kind, text = matched.groups()
        found[name] = _json(f"--var {name}", text) if kind == ":=" else text
    return found


def _file(name: str) -> dict[str, Any]:
    try:
        content = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        misused(f"--vars: {name} cannot be read ({error.strerror}).")
    found = _json("--vars", content)
    if not isinstance(found, dict):
        misused(f"--vars: {name} holds no JSON object.")
    return found


def _json(what: str, content: str | bytes) -> Any:
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError as error:
        misused(f"{what}: that is no JSON ({error}).")


def _time(name: str, text: str) -> str | None:
    """A time, with its zone: that of this machine where none is said."""
    if not text:
        return None
    if (ahead := duration(text)) is not None:
        return (datetime.now(UTC) + ahead).isoformat()
    try:
        return datetime.fromisoformat(text).astimezone().isoformat()
    except (ValueError, OverflowError):
        misused(f"--{name.replace('_', '-')} takes a time such as 2030-01-31T09:00, or 15m, 2h, 7d from now.")
