"""`docker/Dockerfile`, read and acted out: its steps as processes on a folder in place of a file system."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from dockerfile_parse import DockerfileParser

from tests.deploy.files import DOCKER, ROOT

STEP_SECONDS = 300.0


class Step(msgspec.Struct, frozen=True):
    """One instruction of a stage."""

    instruction: str
    value: str

    @property
    def words(self) -> list[str]:
        """The words of the value, or the items of its JSON form."""
        return list(json.loads(self.value)) if self.value.startswith("[") else self.value.split()


class Stage(msgspec.Struct, frozen=True):
    """A stage: the image that it starts from, its name, and its steps."""

    image: str
    name: str
    steps: tuple[Step, ...]

    def values(self, instruction: str) -> list[str]:
        """What an instruction is given, each time."""
        return [step.value for step in self.steps if step.instruction == instruction]


def stages() -> list[Stage]:
    """The stages in order; the last one is the image."""
    parser = DockerfileParser(path=str(DOCKER / "Dockerfile"))
    structure: list[dict[str, Any]] = parser.structure
    found: list[tuple[str, list[Step]]] = []
    for entry in structure:
        if entry["instruction"] == "FROM":
            found.append((entry["value"], []))
        elif entry["instruction"] != "COMMENT":
            found[-1][1].append(Step(entry["instruction"], entry["value"]))
    return [Stage(head.split()[0], head.partition(" AS ")[2], tuple(steps)) for head, steps in found]


def pairs(value: str) -> dict[str, str]:
    """What ENV or LABEL sets."""
    return {name: text.strip('"') for name, text in re.findall(r'([\w.]+)=("[^"]*"|\S+)', value)}


def context() -> Iterator[Path]:
    """The files that the build is given, by their paths in the repository: those that .dockerignore lets through."""
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    patterns = [(rule.startswith("!"), _pattern(rule.removeprefix("!"))) for rule in rules]
    kept = [rule.removeprefix("!") for rule in rules if rule.startswith("!")]
    for top in kept:  # the first rule leaves everything out, so there is nothing beside them
        for path in [ROOT / top, *(ROOT / top).rglob("*")]:
            relative = path.relative_to(ROOT)
            if path.is_file() and not _ignored(relative, patterns):
                yield relative


def _pattern(rule: str) -> re.Pattern[str]:
    text = re.escape(rule).replace(r"\*\*/", "(.*/)?").replace(r"\*", "[^/]*")
    return re.compile(text + r"(/.*)?")


def _ignored(path: Path, patterns: list[tuple[bool, re.Pattern[str]]]) -> bool:
    """The last rule that speaks of a path decides."""
    decisions = [not kept for kept, pattern in patterns if pattern.fullmatch(path.as_posix())]
    return bool(decisions) and decisions[-1]


class Act:
    """The stages acted out in a folder, each with a root of its own; `/opt/…` is `<folder>/<stage>/opt/…`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        programs = folder / "programs"
        programs.mkdir()
        # The image's Python has nothing installed: neither has the one that made our virtual environment.
        base: str = getattr(sys, "_base_executable", sys.executable)
        (programs / "python").symlink_to(base)
        unwanted = {"VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME"}
        self._environment = {name: value for name, value in os.environ.items() if name not in unwanted}
        self._environment["PATH"] = f"{programs}{os.pathsep}{os.environ['PATH']}"

    def root(self, stage: str) -> Path:
        """What stands for `/` in a stage."""
        return self._folder / stage

    def play(self, stage: Stage) -> None:
        """Do what the stage says. Raises `AssertionError` with what a step said when it fails."""
        root = self.root(stage.name)
        here, environment = root, dict(self._environment)
        for step in stage.steps:
            if step.instruction == "WORKDIR":
                here = root / step.value.lstrip("/")
                here.mkdir(parents=True)
            elif step.instruction == "ENV":
                environment |= pairs(step.value)
            elif step.instruction == "COPY":
                self._copy(step.words, root, here)
            elif step.instruction == "RUN":
                self._run(step.value, root, here, environment)

    def _copy(self, words: list[str], root: Path, here: Path) -> None:
        *sources, target = [word for word in words if not word.startswith("--")]
        place = root / target.lstrip("/") if target.startswith("/") else here / target
        if (origin := words[0].removeprefix("--from=")) != words[0]:
            shutil.copytree(self.root(origin) / sources[0].lstrip("/"), place, symlinks=True)
            return
        given = list(context())
        for source in sources:
            found = [path for path in given if source == "." or path == Path(source)]
            assert found, f"COPY {source}: .dockerignore lets nothing of it through"
            for path in found:
                to = place / (path if source == "." else path.name)
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / path, to)

    def _run(self, command: str, root: Path, here: Path, environment: dict[str, str]) -> None:
        command = re.sub(r"(?<![\w.])/(opt|tmp)/", rf"{root}/\1/", command)
        done = subprocess.run(
            ["sh", "-euc", command],
            cwd=here,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=STEP_SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"RUN {command}\n{done.stdout}{done.stderr}"
