"""The whole OpenAPI description against a real server: what is described is what happens, and nothing is a 5xx."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from serving_tools import jpeg, running
from tiny_bundle import blob_image, tiny_bundle

pytest.importorskip("schemathesis", reason="schemathesis is not installed (it comes with lentigo[dev])")

# What the description cannot say is that not all bytes are an image; other bytes are the fuzz tests' matter.
_HOOKS = """
from pathlib import Path
import schemathesis
from hypothesis import strategies

images = [path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.jpg"))]
for media in ("jpeg", "png", "webp", "bmp", "tiff", "gif"):  # by the content: the declared type does not count
    schemathesis.openapi.media_type(f"image/{media}", strategies.sampled_from(images))
schemathesis.openapi.media_type("application/octet-stream", strategies.sampled_from(images))
"""


def test_the_service_keeps_to_its_description(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "tiny", size=32)
    (tmp_path / "hooks.py").write_text(_HOOKS)
    for seed in range(3):
        (tmp_path / f"{seed}.jpg").write_bytes(jpeg(blob_image(seed, 40, 30)))
    with running(tmp_path, models=(str(bundle.path),), max_body_bytes=100_000, max_pixels=100_000) as server:
        command = [sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/openapi.json"]
        command += [
            "--phases",
            "examples,coverage,fuzzing",
            "--max-examples",
            "60",
            "--seed",
            "1",
            "--generation-database",
            "none",
        ]
        command += ["--request-timeout", "30", "--no-color"]
        environment = {**os.environ, "SCHEMATHESIS_HOOKS": "hooks", "PYTHONPATH": str(tmp_path)}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-1000:]
        assert "Tested: 6" in done.stdout, done.stdout
        asked = [line for line in server.events("request") if line["route"] == "/v1/predict"]
        assert {200, 422} <= {line["status"] for line in asked}
        loaded = next(i for i, line in enumerate(server.lines()) if line["event"] == "ready")
        assert not [line for line in server.lines()[loaded:] if line.get("status", 0) >= 500]
