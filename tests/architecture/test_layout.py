"""The code keeps its layout: who imports whom, what is where, how long things are, what is explained."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("api", "domain", "workers")
FILES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
DOMAIN = [path for path in FILES if path.is_relative_to(ROOT / "domain")]

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60

LAYOUT = {
    "domain": (
        "notification.py recipient.py template.py retry.py events.py errors.py ports.py telemetry.py "
        "send.py deliver.py track.py"
    ),
    "api": "cli/__init__.py bootstrap.py settings.py http.py security.py discovery.py",
    "api/gateway": "app.py tables.py repository.py feed.py guard.py migrations/__init__.py schema/__init__.py",
    "api/users": "app.py tables.py repository.py client.py migrations/__init__.py",
    "api/templates": "app.py tables.py repository.py client.py migrations/__init__.py",
    "workers": "consumer.py dispatcher.py relay.py resilience.py cache.py",
    "workers/broker": "topology.py rabbitmq.py memory.py",
    "workers/email": "service.py smtp.py",
    "workers/push": "service.py fcm.py",
}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def names(path: Path) -> str:
    return str(path.relative_to(ROOT))


def lines_of(node: Function) -> int:
    assert node.end_lineno is not None
    return node.end_lineno - node.lineno + 1


def public(node: ast.Module | ast.ClassDef, within: str = "") -> Iterator[tuple[str, ast.ClassDef | Function]]:
    """The public classes and functions of a module, and the public methods of those classes."""
    for child in node.body:
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not child.name.startswith("_"):
            yield within + child.name, child
            if isinstance(child, ast.ClassDef):
                yield from public(child, f"{within}{child.name}.")


def test_the_import_contracts_hold() -> None:
    program = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    done = subprocess.run(
        [sys.executable, "-c", program, "--no-cache", "--no-logo"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


@pytest.mark.parametrize("package", LAYOUT)
def test_each_package_has_the_files_of_its_layout(package: str) -> None:
    expected = [ROOT / package / "__init__.py", *(ROOT / package / name for name in LAYOUT[package].split())]
    assert [names(path) for path in expected if not path.is_file()] == []


@pytest.mark.parametrize("path", FILES, ids=names)
def test_files_and_functions_are_short(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= MAX_FILE_LINES
    functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, Function)]
    assert {node.name: lines_of(node) for node in functions if lines_of(node) > MAX_FUNCTION_LINES} == {}


def test_nothing_is_left_to_do() -> None:
    marks = re.compile(r"\b(?:TODO|FIXME)\b")
    assert [names(path) for path in FILES if marks.search(path.read_text())] == []


@pytest.mark.parametrize("path", DOMAIN, ids=names)
def test_the_domain_says_what_it_promises(path: Path) -> None:
    module = ast.parse(path.read_text())
    assert ast.get_docstring(module)
    assert [name for name, node in public(module) if not ast.get_docstring(node)] == []
