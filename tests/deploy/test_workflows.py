"""The workflows: valid, with no more rights than they need, and a release that agrees with itself."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.files import ROOT, read
from tests.deploy.schemas import check

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
NOTES = ROOT / ".github/release_notes.py"
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def jobs(path: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = read(path)["jobs"]
    return found


def name(path: Path) -> str:
    return path.name


def test_github_takes_them() -> None:
    check("github-workflows", *WORKFLOWS)


@pytest.mark.parametrize("path", WORKFLOWS, ids=name)
def test_by_default_they_may_only_read(path: Path) -> None:
    assert read(path)["permissions"] == {"contents": "read"}


def test_who_may_write_says_so() -> None:
    writes = {
        f"{path.stem}.{job}": sorted(scope for scope, right in body.get("permissions", {}).items() if right == "write")
        for path in WORKFLOWS
        for job, body in jobs(path).items()
    }
    assert {job: scopes for job, scopes in writes.items() if scopes} == {
        "ci.image": ["packages"],
        "release.image": ["attestations", "id-token", "packages"],
        "release.release": ["contents"],
    }


@pytest.mark.parametrize("path", WORKFLOWS, ids=name)
def test_every_action_has_its_version_and_every_job_its_time(path: Path) -> None:
    for body in jobs(path).values():
        assert body["timeout-minutes"] <= 60
        used = [step["uses"] for step in body["steps"] if "uses" in step]
        assert [action for action in used if not re.fullmatch(r"[\w-]+/[\w-]+@v\d+", action)] == []


def test_nothing_of_a_pull_request_is_pushed() -> None:
    for step in jobs(ROOT / ".github/workflows/ci.yml")["image"]["steps"]:
        if step.get("with", {}).get("push") or "login" in step.get("uses", ""):
            assert step["if"] == "github.event_name == 'push'"


def test_a_release_has_the_notes_of_its_version(tmp_path: Path) -> None:
    assert notes(VERSION, ROOT).stdout.startswith("### ")
    assert "## [" not in re.sub(r"^### ", "", notes(VERSION, ROOT).stdout, flags=re.MULTILINE)


def test_a_tag_that_is_not_the_version_makes_no_release() -> None:
    done = notes("999.0.0", ROOT)
    assert (done.returncode, done.stdout) == (1, "")


def test_a_version_without_notes_makes_no_release(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "1.2.3"\n')
    (tmp_path / "CHANGELOG.md").write_text("## [1.2.3]\n\n## [1.2.2]\n\n- Something.\n")
    assert notes("1.2.3", tmp_path).returncode == 1


def notes(version: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(NOTES), version]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=30, check=False)
