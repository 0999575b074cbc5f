"""The door between the wings: what is written is what is read, and nothing damaged passes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lentigo.bundle import FORMAT, Bundle, ClassSpec, InputSpec, NetworkSpec, OutputSpec, Provenance, Spec, write_bundle
from lentigo.errors import BundleError, OutputError

FILES = {"model.onnx": b"graph", "MODEL_CARD.md": b"# Karte\n", "golden.json": b'{"format": 1, "cases": []}'}


def spec() -> Spec:
    return Spec(
        name="two",
        title="Two classes",
        classes=(
            ClassSpec(code="nv", en="nevus", zh="痣", malignant=False),
            ClassSpec(code="mel", en="melanoma", zh="黑色素瘤", malignant=True),
        ),
        input=InputSpec(size=32, mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2)),
        outputs=OutputSpec(embedding=8, cam=(2, 2)),
        network=NetworkSpec(name="none", parameters=10),
        provenance=Provenance(
            command="none", recipe={}, data="none", fingerprint="0", protocol="lesion", split_seed=0, seed=0,
            hardware="none", wall_seconds=0.0, created="2026-01-01T00:00:00Z", lentigo="0.1.0",
        ),
        licence="Apache-2.0",
        data_licence="none",
    )  # fmt: skip


def test_round_trip(tmp_path: Path) -> None:
    written = write_bundle(tmp_path / "b", spec(), FILES)
    read = Bundle.open(tmp_path / "b")
    assert read.spec == written.spec
    assert read.spec.labels.codes == ("nv", "mel")
    assert read.spec.labels.classes[1].zh == "黑色素瘤"
    assert read.card == "# Karte\n"
    assert read.model.read_bytes() == b"graph"
    assert [p.name for p in tmp_path.iterdir()] == ["b"]  # no staging left behind


def test_a_run_folder_opens_as_its_bundle(tmp_path: Path) -> None:
    write_bundle(tmp_path / "run" / "bundle", spec(), FILES)
    assert Bundle.open(tmp_path / "run").path == tmp_path / "run" / "bundle"


@pytest.mark.parametrize("name", sorted(FILES))
def test_one_flipped_byte_is_refused(tmp_path: Path, name: str) -> None:
    write_bundle(tmp_path / "b", spec(), FILES)
    target = tmp_path / "b" / name
    content = bytearray(target.read_bytes())
    content[0] ^= 1
    target.write_bytes(content)
    with pytest.raises(BundleError, match=f"{name}: damaged"):
        Bundle.open(tmp_path / "b")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"format": FORMAT + 1}, "newer than this lentigo reads"),
        ({"format": None}, "no format number"),
        ({"surprise": 1}, "invalid at surprise"),
        ({"temperature": 0}, "invalid at temperature"),
        ({"files": {}}, "names no checksum"),
        ({"files": {"../x": "0", **dict.fromkeys(FILES, "0")}}, "leads outside"),
    ],
)
def test_a_spec_that_is_wrong_is_refused(tmp_path: Path, change: dict[str, object], says: str) -> None:
    write_bundle(tmp_path / "b", spec(), FILES)
    path = tmp_path / "b" / "spec.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | change), encoding="utf-8")
    with pytest.raises(BundleError, match=says):
        Bundle.open(tmp_path / "b")


def test_missing_pieces_are_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no bundle here"):
        Bundle.open(tmp_path)
    write_bundle(tmp_path / "b", spec(), FILES)
    (tmp_path / "b" / "model.onnx").unlink()
    with pytest.raises(BundleError, match=r"model\.onnx: missing"):
        Bundle.open(tmp_path / "b")
    (tmp_path / "b" / "spec.json").write_text("{", encoding="utf-8")
    with pytest.raises(BundleError, match="cannot be read as JSON"):
        Bundle.open(tmp_path / "b")


def test_writing_replaces_a_bundle_but_nothing_else(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b", spec(), FILES)
    write_bundle(tmp_path / "b", spec(), {**FILES, "model.onnx": b"other"})
    assert Bundle.open(tmp_path / "b").model.read_bytes() == b"other"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    with pytest.raises(BundleError, match="is not a bundle"):
        write_bundle(tmp_path / "mine", spec(), FILES)
    assert (tmp_path / "mine" / "notes.txt").read_text() == "keep"
    with pytest.raises(BundleError, match=r"needs golden\.json"):
        write_bundle(tmp_path / "c", spec(), {k: v for k, v in FILES.items() if k != "golden.json"})


def test_a_disk_that_refuses_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write the bundle"):
        write_bundle(tmp_path / "file" / "b", spec(), FILES)
