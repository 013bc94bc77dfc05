"""The manifests of `docker/kubernetes`, rendered as `kubectl apply --kustomize` would."""

import re
import shutil
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml

from tests.deploy.files import KUBERNETES, Document

_LINE = re.compile(r"^#?([A-Z]\w+)=(.*)$", re.MULTILINE)


@cache
def rendered() -> list[Document]:
    """Everything, the bounce listener too. Skips the test where nothing can render it."""
    with TemporaryDirectory() as folder:
        copy = Path(shutil.copytree(KUBERNETES, Path(folder) / "kubernetes"))
        kustomization = copy / "kustomization.yaml"
        text = kustomization.read_text()
        with_bounces = text.replace("# components: [bounces]", "components: [bounces]")
        assert with_bounces != text
        kustomization.write_text(with_bounces)
        done = subprocess.run([*_renderer(), copy], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def _renderer() -> list[str]:
    if shutil.which("kubectl"):
        return ["kubectl", "kustomize"]
    if shutil.which("kustomize"):
        return ["kustomize", "build"]
    pytest.skip("kubectl or kustomize renders the manifests, and neither is installed.")


def of_kind(kind: str) -> dict[str, Document]:
    """The objects of a kind by name."""
    return {document["metadata"]["name"]: document for document in rendered() if document["kind"] == kind}


def pod(document: Document) -> Document:
    """The pod of a Deployment or a Job."""
    spec: Document = document["spec"]["template"]["spec"]
    return spec


def container(document: Document) -> Document:
    """Its only container."""
    (found,) = pod(document)["containers"]
    assert isinstance(found, dict)
    return found


def secret_names() -> dict[str, str]:
    """The lines of the example of secrets, those too that are commented out: name and value."""
    return dict(_LINE.findall((KUBERNETES / "secrets.example.env").read_text()))


def environment(document: Document, secrets: Mapping[str, str]) -> dict[str, str]:
    """What the container gets, where the cluster has these secrets."""
    found: dict[str, str] = {}
    for source in container(document).get("envFrom", ()):
        found |= of_kind("ConfigMap")[source["configMapRef"]["name"]]["data"]
    for entry in container(document)["env"]:
        value = _value(entry, secrets)
        if value is not None:
            found[entry["name"]] = value
    return found


def _value(entry: Document, secrets: Mapping[str, str]) -> str | None:
    if "value" in entry:
        return str(entry["value"])
    reference: dict[str, Any] = entry["valueFrom"]["secretKeyRef"]
    assert reference["name"] == "heliograph"
    if reference.get("optional"):
        return secrets.get(reference["key"])
    return secrets[reference["key"]]
