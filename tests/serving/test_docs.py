"""The pages about the service are true: commands run, named tests exist, defaults are the code's."""

from __future__ import annotations

import ast
import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from serving_tools import Server, jpeg, running
from tiny_bundle import blob_image, tiny_bundle

from lentigo.bundle import Metadata
from lentigo.serving.config import ServeConfig
from lentigo.serving.problems import KINDS

ROOT = Path(__file__).resolve().parents[2]
SERVICE = (ROOT / "docs" / "service.md").read_text(encoding="utf-8")
SECURITY = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")


def curl_lines() -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", SERVICE, re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.startswith("curl ")]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("docs")
    ratios = Metadata(log_ratios={"age": {"70": (0.0,) * 7}, "site": {"nose": (0.0,) * 7}}, groups={})
    bundles = [
        tiny_bundle(folder / "dermoscopy", name="dermoscopy-7", size=32),
        tiny_bundle(folder / "smartphone", name="smartphone-6", size=32, metadata=ratios),
    ]
    for name in ("photo.jpg", "photo2.jpg"):
        (folder / name).write_bytes(jpeg(blob_image(len(name), 80, 60)))
    made = next(line for line in SERVICE.splitlines() if line.startswith("printf"))
    subprocess.run(["sh", "-c", made], cwd=folder, check=True)
    with running(folder, models=tuple(str(bundle.path) for bundle in bundles)) as started:
        yield started


def test_there_is_a_curl_line_for_each_call() -> None:
    paths = {
        "/v1/predict",
        "/v2/models/dermoscopy-7/infer",
        "/v1/models",
        "/v1/models/dermoscopy-7/card",
        "/healthz",
        "/readyz",
        "/metrics",
        "/openapi.json",
    }
    asked = {re.search(r"http://127\.0\.0\.1:8000([^?' ]*)", line)[1] for line in curl_lines()}  # type: ignore[index]
    assert asked == paths


@pytest.mark.parametrize("line", curl_lines())
def test_each_curl_line_runs(server: Server, line: str) -> None:
    command = shlex.split(line.replace("http://127.0.0.1:8000", server.url).replace("$LENTIGO_KEY", "any"))
    done = subprocess.run(
        [*command, "--silent", "--show-error", "--fail"], cwd=server.log.parent, capture_output=True, timeout=30
    )
    assert done.returncode == 0, done.stderr.decode()
    if "/card" in line:
        assert done.stdout.startswith(b"# ")
    elif "/metrics" in line:
        assert b"# TYPE lentigo_requests_total counter" in done.stdout
    else:
        json.loads(done.stdout)


def test_the_table_of_errors_is_complete() -> None:
    listed = {
        (int(status), kind)
        for status, kinds in re.findall(r"^\| (\d{3}) \| (.*) \|$", SERVICE, re.M)
        for kind in re.findall(r"`([a-z-]+)`", kinds)
    }
    assert listed == {(status, kind) for kind, (status, _) in KINDS.items()}


def defined_tests() -> set[str]:
    found = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found |= {
            node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
        }
    return found


def rows(title: str) -> list[list[str]]:
    section = SECURITY.partition(f"## {title}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


@pytest.mark.parametrize("title", ["Assets", "Entries", "Limits"])
def test_every_row_of_the_threat_model_names_tests_that_exist(title: str) -> None:
    existing = defined_tests()
    assert len(rows(title)) >= 8
    for row in rows(title):
        named = re.findall(r"`(test_\w+)`", row[-1])
        assert named, f"{title}: {row[0]}: no test"
        assert set(named) <= existing, f"{title}: {row[0]}: {set(named) - existing} do not exist"


def test_the_limits_are_those_of_the_code() -> None:
    listed = {row[0].strip("`"): float(row[1]) for row in rows("Limits")}
    config = ServeConfig()
    assert {name: getattr(config, name) for name in listed} == listed
    bounds = {
        name
        for name in vars(config)
        if name.startswith("max_") or name.endswith("_timeout_s") or name in ("queue", "deadline_s", "rate", "burst")
    }
    assert bounds - {"max_batch", "max_delay_ms"} <= set(listed), "a limit that the page does not name"
