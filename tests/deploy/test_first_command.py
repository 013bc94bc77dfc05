"""`make up` needs nothing but Docker: it makes its own secrets, and says where everything is."""

import stat
import subprocess
from pathlib import Path
from typing import Any

from api.bootstrap import SECRETS
from api.secrets_check import refuse_weak_secrets
from api.settings import PREFIX, Settings
from tests.deploy.files import DOCKER, ROOT


def run(script: str, file: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([DOCKER / script, file], capture_output=True, text=True, timeout=30, check=True)


def values(file: Path) -> dict[str, str]:
    lines = [line for line in file.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def test_every_secret_is_random_and_good_enough(tmp_path: Path) -> None:
    run("make-env", tmp_path / "one")
    run("make-env", tmp_path / "two")
    one, two = values(tmp_path / "one"), values(tmp_path / "two")
    assert {name for name in one if one[name] == two[name]} == {"PORT"}
    assert len(set(one.values())) == len(one)
    given: dict[str, Any] = {
        name.removeprefix(PREFIX).lower(): value for name, value in one.items() if name.startswith(PREFIX)
    }
    refuse_weak_secrets(Settings(**given), SECRETS["gateway"])


def test_nobody_else_may_read_them(tmp_path: Path) -> None:
    run("make-env", tmp_path / "env")
    assert stat.S_IMODE((tmp_path / "env").stat().st_mode) == 0o600


def test_what_is_there_stays(tmp_path: Path) -> None:
    (tmp_path / "env").write_text("POSTGRES_PASSWORD=mine\n")
    run("make-env", tmp_path / "env")
    assert values(tmp_path / "env") == {"POSTGRES_PASSWORD": "mine"}


def test_it_says_where_the_system_is_and_with_which_key(tmp_path: Path) -> None:
    run("make-env", tmp_path / "env")
    said = run("say-hello", tmp_path / "env").stdout
    assert "http://localhost:8000/graphql" in said
    assert values(tmp_path / "env")["HELIOGRAPH_API_KEY"] in said


def test_make_up_is_these_steps() -> None:
    done = subprocess.run(["make", "-n", "up"], cwd=ROOT, capture_output=True, text=True, timeout=30, check=True)
    steps = [line.strip() for line in done.stdout.splitlines()]
    assert steps == ["docker/make-env", "docker compose up --build --wait", "docker/say-hello"]


def test_what_is_secret_is_not_committed() -> None:
    paths = [".env", "settings.env", "docker/secrets/dkim.pem", "docker/kubernetes/secrets.env"]
    ignored = subprocess.run(
        ["git", "check-ignore", *paths], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False
    )
    assert ignored.stdout.split() == paths
