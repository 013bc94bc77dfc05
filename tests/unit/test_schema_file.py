"""The schema never takes away from clients what a release gave them, and `--check` says so in CI."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from api.cli import app
from api.schema_file import breaking_changes, print_schema

ROOT = Path(__file__).parents[2]
RELEASED = "type Query { user(id: ID!, name: String): User } type User { id: ID! name: String! } enum Kind { A B }"


@pytest.mark.parametrize(
    ("present", "said"),
    [
        (RELEASED.replace(" name: String! ", " "), "User.name"),
        (RELEASED.replace("name: String!", "name: String"), "User.name"),
        (RELEASED.replace("name: String)", "name: String, age: Int!)"), "age"),
        (RELEASED.replace("A B", "A"), "B"),
    ],
)
def test_what_a_client_may_ask_for_stays(present: str, said: str) -> None:
    (change,) = breaking_changes(RELEASED, present)
    assert said in change


@pytest.mark.parametrize(
    "present",
    [
        RELEASED,
        RELEASED + " type New { id: ID! }",
        RELEASED.replace("name: String!", 'name: String! @deprecated(reason: "Use full_name.") full_name: String'),
        RELEASED.replace("name: String)", "name: String, age: Int = 5)"),
    ],
)
def test_adding_and_deprecating_break_nothing(present: str) -> None:
    assert breaking_changes(RELEASED, present) == []


def test_the_present_schema_breaks_no_client_of_the_last_release() -> None:
    assert breaking_changes((ROOT / "schema.released.graphql").read_text(), print_schema()) == []


def test_the_check_fails_where_it_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = CliRunner().invoke
    assert run(app, ["schema", "--check"]).exit_code == 1
    assert run(app, ["schema", "--release"]).exit_code == 0
    assert run(app, ["schema", "--check"]).exit_code == 0
    released = tmp_path / "schema.released.graphql"
    released.write_text(released.read_text() + "\ntype Gone { id: ID! }\n")
    failed = run(app, ["schema", "--check"])
    assert failed.exit_code == 1
    assert "Gone" in failed.stderr
    (tmp_path / "schema.graphql").write_text("type Query { a: Int }")
    assert "schema.graphql is not what the code says" in run(app, ["schema", "--check"]).stderr
