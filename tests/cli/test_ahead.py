"""``lentigo predict IMAGE`` opens the model's session ahead, once, and imports nothing that it does not need."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_bundle import blob_image, tiny_bundle

# Counts the sessions as the installed command would open them, with the command line in sys.argv from the start.
PROGRAM = """
import sys
import onnxruntime
opened = []
class Session(onnxruntime.InferenceSession):
    def __init__(self, *values, **more):
        opened.append(1)
        super().__init__(*values, **more)
onnxruntime.InferenceSession = Session
from lentigo.cli import main
from lentigo.inference import session
waiting = len(session._ahead)
try:
    main()
except SystemExit as stopped:
    code = stopped.code or 0
unwanted = [
    name
    for name in (
        *("rich", "importlib.metadata", "PIL.ImageDraw"),
        *("lentigo.inference.distributed", "lentigo.inference.isic"),
    )
    if name in sys.modules
]
print([waiting, len(opened), *unwanted], file=sys.stderr)
sys.exit(code)
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("ahead")
    tiny_bundle(root / "tiny", size=32)
    tiny_bundle(root / "run" / "bundle", size=32)
    blob_image(0).save(root / "a.png")
    (root / "images").mkdir()
    blob_image(1).save(root / "images" / "b.png")
    for name in ("damaged", "foreign"):
        tiny_bundle(root / name, size=32)
    graph = root / "damaged" / "model.onnx"
    graph.write_bytes(graph.read_bytes() + b"\\0")
    spec = root / "foreign" / "spec.json"
    spec.write_text(json.dumps(json.loads(spec.read_text(encoding="utf-8")) | {"temperature": -1}), encoding="utf-8")
    return root


@pytest.mark.parametrize(
    ("arguments", "waiting"),
    [
        ("a.png --model tiny", 1),
        ("--json -m run a.png", 1),
        ("--model=tiny a.png", 1),
        ("a.png", 1),
        ("a.png --model tiny --out out.csv", 0),
        ("images --model tiny --quiet", 0),
    ],
)
def test_one_session_is_opened(place: Path, arguments: str, waiting: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "predict", *arguments.split()],
        capture_output=True,
        text=True,
        cwd=place,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == f"[{waiting}, 1]"


@pytest.mark.parametrize(
    ("model", "waiting", "message"),
    [("damaged", 0, "damaged (SHA-256"), ("foreign", 1, "invalid at temperature"), ("none", 0, "no model")],
)
def test_the_bundle_is_checked_as_strictly(place: Path, model: str, waiting: int, message: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "predict", "a.png", "--model", model],
        capture_output=True,
        text=True,
        cwd=place,
        check=False,
    )
    assert done.returncode == 2
    assert message in done.stderr.splitlines()[0]
    assert done.stdout == ""
    assert done.stderr.splitlines()[-1].startswith(f"[{waiting}, ")
