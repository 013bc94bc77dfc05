"""The files that deploy Heliograph, read."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
MONITORING = DOCKER / "monitoring"
KUBERNETES = DOCKER / "kubernetes"
DASHBOARD = MONITORING / "grafana/dashboards/heliograph.json"
ROLES = ("gateway", "users", "templates", "email", "push", "relay", "dispatch", "bounces")
"""What scales: every role but the sandbox."""

Document = dict[str, Any]
_METRIC = re.compile(r"\b(?:heliograph|process|python)_\w+")
_SUFFIX = re.compile(r"_(bucket|count|sum)$")


def read(path: Path) -> Any:
    """One YAML or JSON document."""
    return yaml.safe_load(path.read_text())


def compose() -> Document:
    """`compose.yml`, its anchors resolved and its variables not."""
    document: Document = read(ROOT / "compose.yml")
    return document


def rules() -> list[Document]:
    """The rules of `alerts.yml`."""
    return [rule for group in read(MONITORING / "alerts.yml")["groups"] for rule in group["rules"]]


def alerts() -> dict[str, Document]:
    """The alerts by name."""
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def panels() -> list[Document]:
    """The dashboard's panels, without its headings."""
    return [panel for panel in json.loads(DASHBOARD.read_text())["panels"] if panel["type"] != "row"]


def expressions(panel: Document) -> Iterator[str]:
    """What a panel asks Prometheus."""
    for target in panel["targets"]:
        yield target["expr"]


def metrics_in(expression: str) -> set[str]:
    """The metrics that an expression reads, histograms by their own name."""
    return {_SUFFIX.sub("", name) for name in _METRIC.findall(expression)}
