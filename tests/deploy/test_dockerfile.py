"""The image: small, not root, the same each time; and its steps do what they say."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.settings import PREFIX, Settings
from tests.deploy.dockerfile import Act, context, pairs, stages
from tests.servers.install import NODE, programs
from tests.servers.roles import Process, free_port

*BEFORE, FINAL = stages()
KNOWN = {PREFIX + name.upper() for name in Settings.model_fields}


def test_every_base_has_a_version() -> None:
    bases = [stage.image for stage in stages()]
    assert all(re.fullmatch(r"[a-z]+:\d+(\.\d+)?-[a-z-]+", base) for base in bases), bases


def test_it_is_built_and_run_on_the_same_python() -> None:
    assert [stage.image for stage in BEFORE if stage.name == "build"] == [FINAL.image]


def test_it_does_not_run_as_root() -> None:
    assert FINAL.values("USER") == ["10001"]
    assert FINAL.steps.index(next(step for step in FINAL.steps if step.instruction == "USER")) > max(
        number for number, step in enumerate(FINAL.steps) if step.instruction in {"RUN", "COPY"}
    )


def test_nothing_but_what_was_built_is_in_it() -> None:
    assert FINAL.values("COPY") == ["--from=build /opt/heliograph /opt/heliograph"]
    assert all(command.startswith("useradd ") for command in FINAL.values("RUN"))


def test_everything_that_is_fetched_is_locked() -> None:
    fetching = [
        command for stage in BEFORE for command in stage.values("RUN") if "install " in command or "npm" in command
    ]
    loose = [
        command
        for command in fetching
        if not re.search(r"npm ci|--require-hashes|--no-deps --no-build-isolation|playground\.install", command)
    ]
    assert fetching
    assert loose == []


def test_every_setting_is_one() -> None:
    (environment,) = FINAL.values("ENV")
    ours = {name for name in pairs(environment) if name.startswith(PREFIX)}
    assert ours
    assert ours <= KNOWN


def test_every_source_exists_and_is_let_through() -> None:
    given = set(context())
    for stage in stages():
        for value in stage.values("COPY"):
            words = value.split()
            sources = [] if words[0].startswith("--from=") else words[:-1]
            assert [source for source in sources if source != "." and Path(source) not in given] == []
    assert [name for name in ("tests", ".git", "docs", ".env") if any(path.parts[0] == name for path in given)] == []


def test_it_says_how_it_does_and_stops_when_told() -> None:
    assert FINAL.values("HEALTHCHECK")
    assert FINAL.values("STOPSIGNAL") == ["SIGTERM"]
    # The form of a list: a shell in between would keep the signal to itself.
    assert json.loads(FINAL.values("ENTRYPOINT")[0]) == ["heliograph"]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The virtual environment that the last stage copies."""
    assert programs(NODE)
    act = Act(tmp_path_factory.mktemp("image"))
    for stage in BEFORE:
        act.play(stage)
    return act.root("build") / "opt/heliograph"


class TestSteps:
    """The steps of all stages but the last one, acted out on this machine."""

    @pytest.fixture
    def running(self, built: Path, tmp_path: Path) -> Iterator[Process]:
        """The image's command, with the environment that the image has."""
        port = free_port()
        own = pairs(FINAL.values("ENV")[0])
        own |= {
            "PATH": f"{built / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "HELIOGRAPH_HOST": "127.0.0.1",
            "HELIOGRAPH_PORT": str(port),
            "HELIOGRAPH_VAR_DIR": str(tmp_path / "var"),
        }
        (default,) = FINAL.values("CMD")
        process = Process("image", [str(built / "bin/heliograph"), *json.loads(default)], own, tmp_path / "log", port)
        yield process
        process.stop()

    @pytest.mark.timeout(600)
    def test_they_make_a_heliograph_that_runs_and_is_found_well(self, built: Path, running: Process) -> None:
        running.wait_ready()
        assert self.check(built, running.port) == 0
        running.kill()
        assert self.check(built, running.port) != 0

    @pytest.mark.timeout(600)
    def test_what_only_building_needs_is_gone(self, built: Path) -> None:
        names = {path.name for path in (built / "bin").iterdir()}
        assert "heliograph" in names
        assert [name for name in names if name.startswith(("pip", "hatch"))] == []

    def check(self, built: Path, port: int) -> int:
        """What the image's health check says; 0 is well."""
        (value,) = FINAL.values("HEALTHCHECK")
        command: list[str] = json.loads(value[value.index("[") :])
        environment = {**os.environ, "HELIOGRAPH_PORT": str(port)}
        done = subprocess.run(
            [str(built / "bin" / command[0]), *command[1:]],
            env=environment,
            capture_output=True,
            timeout=30,
            check=False,
        )
        return done.returncode
