"""The files for others' machines: Kubernetes against its schema, the conda recipe and the workflow against the
project."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
MANIFEST = list(yaml.safe_load_all((ROOT / "deploy/kubernetes.yaml").read_text(encoding="utf-8")))
OLDEST = "1.29"


def of_kind(kind: str) -> dict[str, Any]:
    (found,) = [one for one in MANIFEST if one["kind"] == kind]
    return found


@pytest.mark.parametrize("version", [OLDEST, kubernetes_validate.latest_version()])
@pytest.mark.parametrize("resource", MANIFEST, ids=lambda one: one["kind"])
def test_the_manifest_is_valid(resource: dict[str, Any], version: str) -> None:
    kubernetes_validate.validate(resource, version, strict=True)


def test_the_schema_finds_a_slip() -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "x"},
        "spec": {"containers": [{"name": "x", "livenesProbe": {}}]},
    }
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(pod, OLDEST, strict=True)


def test_pods_are_probed_bounded_and_without_rights() -> None:
    pod = of_kind("Deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    paths = {name: container[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "readiness", "liveness")}
    assert paths == {"startup": "/readyz", "readiness": "/readyz", "liveness": "/healthz"}
    assert {"cpu", "memory"} <= container["resources"]["limits"].keys()
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert not container["securityContext"]["allowPrivilegeEscalation"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert pod["securityContext"]["runAsNonRoot"]
    assert not pod["automountServiceAccountToken"]
    assert "egress" not in of_kind("NetworkPolicy")["spec"]
    assert "Egress" in of_kind("NetworkPolicy")["spec"]["policyTypes"]


def test_pods_agree_with_the_image_and_the_command() -> None:
    pod = of_kind("Deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert f"USER {pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}" in dockerfile
    assert f"EXPOSE {container['ports'][0]['containerPort']}" in dockerfile
    source = (ROOT / "lentigo/cli/use.py").read_text(encoding="utf-8")
    options = [
        argument.removeprefix("--").replace("-", "_") for argument in container["args"] if argument.startswith("--")
    ]
    assert [name for name in options if name != "model" and f"\n    {name}: Annotated[" not in source] == []
    assert pod["terminationGracePeriodSeconds"] > float(container["args"][container["args"].index("--drain") + 1])


def test_the_conda_recipe_needs_what_the_package_needs() -> None:
    recipe = yaml.safe_load((ROOT / "deploy/conda/recipe.yaml").read_text(encoding="utf-8"))
    wanted = {re.sub(r"\s*([><=]+.*)", r" \1", one) for one in PROJECT["dependencies"] if ";" not in one}
    assert wanted - {one.strip() for one in recipe["requirements"]["run"]} == set()
    assert f"python {PROJECT['requires-python']}" in recipe["requirements"]["run"]
    version = re.search(
        r'^__version__ = "(.+)"', (ROOT / "lentigo/__init__.py").read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    assert version is not None
    assert recipe["context"]["version"] == version[1]
    assert recipe["build"]["python"]["entry_points"] == [
        f"{name} = {target}" for name, target in PROJECT["scripts"].items()
    ]


def test_the_workflow_runs_every_check_on_every_python() -> None:
    (job,) = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text(encoding="utf-8"))["jobs"].values()
    assert {"run": "make test"} in job["steps"]
    stated = {
        one.rpartition(" ")[2]
        for one in PROJECT["classifiers"]
        if re.fullmatch(r"Programming Language :: Python :: 3\.\d+", one)
    }
    assert set(job["strategy"]["matrix"]["python"]) == stated
