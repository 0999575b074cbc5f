"""The door between the wings: what is written is what is read, and nothing damaged passes."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from lentigo import bundle
from lentigo.bundle import FORMAT, Bundle, InputSpec, NetworkSpec, OutputSpec, Provenance, Spec, write_bundle
from lentigo.errors import BundleError, OutputError
from lentigo.labels import ClassLabel

FILES = {"model.onnx": b"graph", "MODEL_CARD.md": b"# Karte\n", "golden.json": b'{"format": 1, "cases": []}'}


def spec() -> Spec:
    return Spec(
        name="two",
        title="Two classes",
        classes=(
            ClassLabel(code="nv", en="nevus", zh="痣", malignant=False),
            ClassLabel(code="mel", en="melanoma", zh="黑色素瘤", malignant=True),
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


def test_names_in_other_languages_are_kept_and_written_only_where_there_are_some(tmp_path: Path) -> None:
    first, second = spec().classes
    named = spec().model_copy(update={"classes": (replace(first, names={"es": "nevo"}), second)})
    write_bundle(tmp_path / "b", named, FILES)
    labels = Bundle.open(tmp_path / "b").spec.labels
    assert labels.languages == ("en", "zh", "es")
    assert [c.name("es") for c in labels] == ["nevo", "melanoma"]
    written = json.loads((tmp_path / "b" / "spec.json").read_text(encoding="utf-8"))["classes"]
    assert [c.get("names") for c in written] == [{"es": "nevo"}, None]


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
        ({"files": {"../x": "0" * 64, **dict.fromkeys(FILES, "0" * 64)}}, "leads outside"),
    ],
)
def test_a_spec_that_is_wrong_is_refused(tmp_path: Path, change: dict[str, object], says: str) -> None:
    write_bundle(tmp_path / "b", spec(), FILES)
    path = tmp_path / "b" / "spec.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | change), encoding="utf-8")
    with pytest.raises(BundleError, match=says):
        Bundle.open(tmp_path / "b")


CLASSES = [asdict(c) for c in spec().classes]
POINT = {"name": "p", "threshold": 0.5, "sensitivity": 0.9, "specificity": 0.5}


@pytest.mark.parametrize(
    ("where", "value", "says"),
    [
        ("temperature", "NaN", "not a finite number"),
        ("temperature", "Infinity", "not a finite number"),
        ("temperature", "1e999", "not a finite number"),
        ("temperature", "1e-300", "invalid at temperature"),  # logits divided by it are infinite
        ("temperature", "9" * 5000, "cannot be read as JSON"),
        ("temperature", "9" * 400, "invalid at temperature"),
        ("input.std", "[0, 0.2, 0.2]", "invalid at input.std.0"),
        ("input.std", "[1e-40, 0.2, 0.2]", "invalid at input.std.0"),
        ("input.mean", "[1e300, 0.2, 0.2]", "invalid at input.mean.0"),
        ("outputs.embedding", "-1", "invalid at outputs.embedding"),
        ("outputs.cam", "[0, 1e30]", "invalid at outputs.cam.0"),
        ("network.parameters", "9" * 400, "invalid at network.parameters"),
        ("network.options", '{"a": 1e999}', "not a finite number"),
        ("provenance.seed", "9" * 400, "invalid at provenance.seed"),
        ("operating_points", json.dumps([POINT | {"threshold": -1}]), "invalid at operating_points.0.threshold"),
        ("operating_points", json.dumps([POINT, POINT]), "names of their own"),
        ("operating_points", json.dumps([POINT | {"threshold": 2.0}]).replace("2.0", "NaN"), "not a finite number"),
        ("classes", json.dumps([CLASSES[0], CLASSES[0]]), "class 'nv' is there twice"),
        ("classes", json.dumps([CLASSES[0], CLASSES[1] | {"code": "error"}]), "a class cannot be called 'error'"),
        ("classes", json.dumps([CLASSES[0], CLASSES[1] | {"code": ""}]), "invalid at classes.1.code"),
        ("classes", json.dumps([CLASSES[0], CLASSES[1] | {"en": "\x1b[2Jmelanoma"}]), "control characters"),
        ("title", json.dumps("benign \u202e"), "control characters"),
        ("title", json.dumps("x" * 5000), "invalid at title"),
        ("conformal", json.dumps({"coverage": 0.9, "quantiles": {"nv": 0.5, "other": 0.5}}), "conformal names 'other'"),
        ("conformal", '{"coverage": 0.9, "quantiles": {"nv": 1e9}}', "invalid at conformal.quantiles.nv"),
        ("network.options", '{"a": ' + "[" * 60 + "]" * 60 + "}", "nested more than"),
        ("network.options", '{"a": ' + "[" * 200_000 + "]" * 200_000 + "}", "nested too deeply"),
        ("files", json.dumps(dict.fromkeys(FILES, "0")), "invalid at files"),
    ],
)
def test_values_that_no_model_has_are_refused(tmp_path: Path, where: str, value: str, says: str) -> None:
    write_bundle(tmp_path / "b", spec(), FILES)
    path = tmp_path / "b" / "spec.json"
    raw: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    *sections, key = where.split(".")
    section = raw
    for name in sections:
        section = section[name]
    section[key] = "here"
    path.write_text(json.dumps(raw).replace('"here"', value), encoding="utf-8")
    with pytest.raises(BundleError, match=says):
        Bundle.open(tmp_path / "b")


@pytest.fixture
def impatient() -> Iterator[None]:
    """Ends what hangs."""

    def stop(*arguments: object) -> None:
        raise AssertionError("it hangs")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.skipif(sys.platform == "win32", reason="no pipes and devices as files there")
@pytest.mark.parametrize("name", [*FILES, "spec.json"])
@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
@pytest.mark.usefixtures("impatient")
def test_pipes_devices_and_folders_are_no_files_of_a_bundle(tmp_path: Path, name: str, kind: str) -> None:
    write_bundle(tmp_path / "b", spec(), FILES)
    target = tmp_path / "b" / name
    target.unlink()
    if kind == "pipe":
        os.mkfifo(target)
    elif kind == "device":
        target.symlink_to("/dev/zero")
    else:
        target.mkdir()
    with pytest.raises(BundleError, match="not a regular file"):
        Bundle.open(tmp_path / "b")


def test_files_of_any_size_are_not_read(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b", spec(), FILES)
    os.truncate(tmp_path / "b" / "golden.json", 2**40)  # sparse
    with pytest.raises(BundleError, match="more than 16 MiB"):
        Bundle.open(tmp_path / "b")


def test_a_file_that_changed_after_the_bundle_was_opened_is_refused(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "b", spec(), FILES)
    (tmp_path / "b" / "golden.json").write_text("[" * 100_000)
    with pytest.raises(BundleError, match="damaged"):
        _ = bundle.golden
    with pytest.raises(BundleError, match="has no other"):
        bundle.read("other")


def test_a_card_in_another_encoding_and_golden_vectors_that_are_none(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "b", spec(), {**FILES, "MODEL_CARD.md": b"caf\xe9", "golden.json": b"[]"})
    assert bundle.card == "caf\ufffd"
    with pytest.raises(BundleError, match="holds no golden vectors"):
        _ = bundle.golden


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


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on Windows")
@pytest.mark.parametrize("in_one_step", [True, False])
def test_a_bundle_is_there_when_its_writer_ends_at_any_moment(in_one_step: bool, tmp_path: Path) -> None:
    target = tmp_path / "b [1]"
    write_bundle(target, spec(), {**FILES, "MODEL_CARD.md": b"old"})
    child = os.fork()
    if not child:
        rename = Path.rename

        def rename_and_end(self: Path, other: Path) -> None:
            rename(self, other)
            os._exit(0)

        Path.rename = rename_and_end  # type: ignore[method-assign, assignment]
        bundle.shutil.rmtree = lambda *given, **more: os._exit(0)  # type: ignore[attr-defined]
        if not in_one_step:
            bundle._exchange = lambda *given: False
            bundle.shutil.rmtree = lambda *given, **more: None  # type: ignore[attr-defined]
        write_bundle(target, spec(), {**FILES, "MODEL_CARD.md": b"new"})
        os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    assert Bundle.open(target).card == ("new" if in_one_step else "old")
    assert target.exists() == in_one_step
    assert write_bundle(target, spec(), FILES).card == "# Karte\n"
    assert not list(tmp_path.glob(".b*.old-*"))


def test_a_disk_that_refuses_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write the bundle"):
        write_bundle(tmp_path / "file" / "b", spec(), FILES)
