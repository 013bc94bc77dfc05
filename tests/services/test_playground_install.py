"""GraphiQL's files: what npm delivers is what the page demands, and without npm things go on."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from api.gateway.playground.assets import ASSETS, HERE, are_installed, versions
from api.gateway.playground.install import LICENSES, InstallError, install, main
from tests.servers.install import NODE, programs


@pytest.fixture(scope="module")
def delivered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What npm delivers, installed."""
    programs(NODE)
    static = tmp_path_factory.mktemp("graphiql") / "static"
    install(static)
    return static


@pytest.fixture
def modules(delivered: Path, tmp_path: Path) -> Path:
    """A `node_modules` with the right files."""
    for asset in ASSETS:
        path = tmp_path / asset.package / asset.path
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(delivered / asset.name, path)
    return tmp_path


def test_what_npm_delivers_has_the_hashes_that_the_page_demands(delivered: Path) -> None:
    assert are_installed(delivered)
    assert [asset.name for asset in ASSETS if not asset.is_intact((delivered / asset.name).read_bytes())] == []


def test_the_licences_come_along(delivered: Path) -> None:
    text = (delivered / LICENSES).read_text()
    for package in {asset.package for asset in ASSETS}:
        assert f"{package}\n\n" in text
    assert text.count("Permission is hereby granted") == len({asset.package for asset in ASSETS})


def test_they_can_be_taken_from_elsewhere(modules: Path, tmp_path: Path) -> None:
    install(tmp_path / "static", modules)
    assert are_installed(tmp_path / "static")


def test_a_changed_file_is_refused_and_nothing_is_installed(modules: Path, tmp_path: Path) -> None:
    changed = ASSETS[0]
    with (modules / changed.package / changed.path).open("a") as file:
        file.write(" ")
    with pytest.raises(InstallError, match=changed.name):
        install(tmp_path / "static", modules)
    assert not (tmp_path / "static").exists()


def test_without_npm_one_line_says_what_becomes_of_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.argv", ["install"])
    assert main() == 1
    said = capsys.readouterr()
    assert said.err == "GraphiQL will come from a CDN, not from this machine: npm is not installed.\n"
    assert said.out == ""


def test_an_npm_that_fails_is_quoted_in_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\necho 'npm error code ENOTFOUND' >&2\necho 'npm error network' >&2\nexit 1\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(InstallError, match=r"^npm failed: npm error code ENOTFOUND$"):
        install(tmp_path / "static")


def locked() -> dict[str, dict[str, Any]]:
    """What the lock says of each package."""
    packages = json.loads((HERE / "package-lock.json").read_text())["packages"]
    return {path.removeprefix("node_modules/"): entry for path, entry in packages.items() if path}


def test_the_lock_has_a_hash_for_everything_and_names_no_address() -> None:
    assert {entry["integrity"][:7] for entry in locked().values()} == {"sha512-"}
    assert [name for name, entry in locked().items() if "resolved" in entry] == []


def test_the_lock_is_that_of_the_versions_asked_for() -> None:
    assert {name: locked()[name]["version"] for name in versions()} == versions()
    assert {asset.package for asset in ASSETS} == set(versions())
