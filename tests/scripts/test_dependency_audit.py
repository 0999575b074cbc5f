"""The audit of dependencies: what makes it fail, and what does not."""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts/audit.py"


@pytest.fixture(scope="module")
def audit() -> ModuleType:
    spec = importlib.util.spec_from_file_location("audit", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def flawed(name: str, fixed: list[str]) -> dict[str, Any]:
    return {"name": name, "version": "1.0", "vulns": [{"id": "CVE-1", "fix_versions": fixed}]}


def test_it_knows_what_is_shipped(audit: ModuleType) -> None:
    ours = audit.shipped()
    assert {"pillow", "onnxruntime", "fastapi", "starlette", "h11", "python-multipart"} <= ours
    assert not {"torch", "pandas", "pytest", "matplotlib"} & ours


@pytest.mark.parametrize(
    ("name", "fixed", "bad"),
    [("Pillow", ["1.1"], True), ("python_multipart", ["2"], True), ("pillow", [], False), ("torch", ["3"], False)],
)
def test_only_what_is_shipped_and_can_be_mended_fails(
    audit: ModuleType, name: str, fixed: list[str], bad: bool
) -> None:
    lines, must_be_mended, known = audit.assess(
        [flawed(name, fixed), {"name": "x", "skip_reason": "unknown"}], audit.shipped()
    )
    assert must_be_mended is bad
    assert known == 1
    assert len(lines) == 1
    assert name in lines[0]


def test_no_register_is_said_and_is_no_failure(
    audit: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "pip_audit").mkdir()
    monkeypatch.setattr(audit, "TOOL", tmp_path)

    def slow(*args: Any, **options: Any) -> None:
        raise subprocess.TimeoutExpired("pip-audit", options["timeout"])

    monkeypatch.setattr(audit.subprocess, "run", slow)
    assert audit.main() == 0
    assert capsys.readouterr().out.count("not audited") == 2
    monkeypatch.setattr(audit, "TOOL", tmp_path / "missing")
    assert audit.main() == 0
    assert "cannot be installed" in capsys.readouterr().out
