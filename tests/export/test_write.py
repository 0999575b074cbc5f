"""From a run folder to a bundle: complete, true to the run, or not there at all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from tiny_run import quick_int8, tiny_cache, tiny_data, tiny_export, tiny_graph, tiny_run

import lentigo.export.write as write
from lentigo.bundle import Bundle
from lentigo.data import Samples
from lentigo.errors import BundleError, DataError, LentigoError, OutputError
from lentigo.evaluation import apply_temperature, fit_temperature, read_predictions
from lentigo.export import About, abstention, check_parity, export_run
from lentigo.export.images import read_images
from lentigo.export.quantize import Variant, check_drop
from lentigo.imaging import load
from lentigo.inference import Classifier
from lentigo.training import load_run


@pytest.fixture(scope="module")
def run() -> Path:
    return tiny_run()


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return tiny_export()


@pytest.fixture(scope="module", autouse=True)
def trace_once() -> Iterator[None]:
    """Tracing a network takes seconds; the runs here differ in their files, never in their weights."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(write, "export_graph", lambda network, size: tiny_graph())
        patch.setattr(write, "quantise_int8", quick_int8)
        yield


def test_the_bundle_answers_as_the_run(run: Path, bundle: Bundle) -> None:
    table = read_predictions(run / "predictions" / "test.csv")
    classifier = Classifier(bundle)
    assert bundle.spec.codes == table.codes
    pixels = np.stack([load(tiny_data() / path, 64) for path in table.frame["path"]])
    calibrated = apply_temperature(table.probabilities, bundle.spec.temperature)
    np.testing.assert_allclose(classifier.run(pixels).probabilities, calibrated, atol=1e-4)
    prediction = classifier.predict(tiny_data() / table.frame["path"].iloc[0])
    assert prediction.cam is not None
    assert prediction.cam.shape == (7, 2, 2)


def test_the_specification_is_filled_from_the_run(run: Path, bundle: Bundle) -> None:
    spec, record = bundle.spec, load_run(run).record
    assert spec.name == "tiny-phantoms"
    assert spec.domain == "phantom"
    assert spec.input.size == 64
    assert (spec.outputs.embedding, spec.outputs.cam) == (1024, (2, 2))
    assert spec.network.parameters == record["parameters"] == 1_271_958
    assert spec.network.macs is not None
    assert spec.network.macs > 1e6
    origin = spec.provenance
    assert (origin.fingerprint, origin.protocol, origin.command) == (record["fingerprint"], "lesion", record["command"])
    assert origin.recipe["data"]["fractions"] == [0.5, 0.25, 0.25]
    assert sum(origin.counts.values()) == 84
    assert origin.wall_seconds > 0
    validation = read_predictions(run / "predictions" / "val.csv")
    assert spec.temperature == fit_temperature(validation.probabilities, validation.targets)
    assert [point.name for point in spec.operating_points] == ["sensitivity_90", "sensitivity_95"]
    calibrated = apply_temperature(validation.probabilities, spec.temperature)
    malignant = np.array([c.malignant for c in spec.classes])
    scores, positive = calibrated[:, malignant].sum(1), malignant[validation.targets]
    for point, wanted in zip(spec.operating_points, (0.90, 0.95), strict=True):
        assert (scores[positive] >= point.threshold).mean() == pytest.approx(point.sensitivity)
        assert point.sensitivity >= wanted
    test = read_predictions(run / "predictions" / "test.csv")
    right = (test.probabilities.argmax(1) == test.targets).mean()
    assert spec.metrics["test"]["accuracy"].value == pytest.approx(right)
    assert {"balanced_accuracy", "ece", "ece_before", "malignant_auc"} <= set(spec.metrics["test"])
    assert spec.metrics["test/mel"]["sensitivity"].low is not None


def test_the_card_tells_it_all(bundle: Bundle) -> None:
    card = bundle.card
    for text in (
        "Research use only. Not a medical device",
        "## Intended use",
        "## Limitations",
        "## Calibration",
        "## Operating points",
        "Test: PPV / NPV",
        "PPV and NPV are for a prevalence of 2 % malignant lesions",
        "## Stored weights",
        "## How it was made",
        "protocol `lesion`",
        "rendered phantoms",
        "its answers about a photograph mean nothing",
        bundle.spec.provenance.fingerprint[:16],
        "1,271,958 parameters",
    ):
        assert text in card, text
    counts = bundle.spec.provenance.counts
    assert f"| all | {counts['train']} | {counts['val']} | {counts['test']} |" in card
    assert "nan" not in card.lower().split()
    for weights in ("fp32", "fp16", "int8"):
        assert f"| {weights} |" in card


def test_the_graph_says_itself_how_it_is_fed(bundle: Bundle) -> None:
    found = onnxruntime.InferenceSession(bundle.read("model.onnx")).get_modelmeta().custom_metadata_map
    spec = bundle.spec
    assert "not a medical device" in found.pop("notice")
    assert {key: json.loads(value) for key, value in found.items()} == {
        "name": spec.name,
        "version": spec.version,
        "classes": list(spec.codes),
        "size": spec.input.size,
        "mean": list(spec.input.mean),
        "std": list(spec.input.std),
        "temperature": spec.temperature,
    }


def test_golden_vectors_are_in_the_form_of_the_contract(bundle: Bundle) -> None:
    golden = bundle.golden
    assert golden["format"] == 1
    assert golden["tolerance"] == {"pixels": 1, "probabilities": 1e-3}
    shapes = [(case["width"], case["height"]) for case in golden["cases"]]
    assert len(shapes) >= 4
    assert any(w > h > 64 for w, h in shapes)  # landscape
    assert any(h > w > 64 for w, h in shapes)  # portrait
    assert any(max(w, h) < 64 for w, h in shapes)  # must be enlarged
    assert any(min(w, h) > 120 for w, h in shapes)
    for case in golden["cases"]:
        outputs = {"logits", "probabilities", "embedding", "cam", "atypicality", "modality", "quality"}
        assert set(case) == {"name", "png", "width", "height", "pixels", *outputs}
        assert case["pixels"]["stride"] == 16
        assert len(case["pixels"]["values"]) == 4 * 4 * 3
        assert len(case["embedding"]) == 1024
        assert case["cam"]["shape"] == [7, 2, 2]
        assert len(case["cam"]["values"]) == 28
        assert sum(case["probabilities"]) == pytest.approx(1)


def test_parity_in_onnx_runtime_and_torch(run: Path, bundle: Bundle, tmp_path: Path) -> None:
    report = check_parity(bundle, load_run(run).network())
    assert report.passed
    assert {d.runtime for d in report.differences} == {"onnxruntime", "torch"}
    outputs = {"logits", "probabilities", "embedding", "cam", "atypicality"}
    assert {d.quantity for d in report.differences} == {"pixels", "quality", *outputs}
    assert "gives its golden answers" in str(report)
    assert "torch" in check_parity(bundle.path).skipped
    # A run folder brings its network along.
    shutil.copytree(run, tmp_path / "run")
    shutil.copytree(bundle.path, tmp_path / "run" / "bundle")
    assert "torch" not in check_parity(tmp_path / "run").skipped
    assert json.loads(json.dumps(report.to_dict()))["passed"] is True


def test_parity_finds_another_network(run: Path, bundle: Bundle) -> None:
    other = load_run(run).network()
    with torch.no_grad():
        assert other.head is not None
        other.head.output.weight.add_(0.05)
    report = check_parity(bundle, other)
    assert not report.passed
    assert {d.runtime for d in report.failures} == {"torch"}
    assert "FAILS" in str(report)


def change(bundle: Bundle, folder: Path, edit: Callable[[dict], None]) -> Bundle:  # type: ignore[type-arg]
    """A copy of a bundle with other golden vectors and a matching checksum."""
    golden = bundle.golden
    edit(golden)
    files = {name: (bundle.path / name).read_bytes() for name in bundle.spec.files}
    return write.write_bundle(folder, bundle.spec, files | {"golden.json": json.dumps(golden).encode()})


@pytest.mark.parametrize(
    ("quantity", "edit"),
    [
        ("pixels", lambda case: case["pixels"]["values"].__setitem__(5, case["pixels"]["values"][5] ^ 8)),
        ("logits", lambda case: case["logits"].__setitem__(0, case["logits"][0] + 1)),
        ("probabilities", lambda case: case["probabilities"].__setitem__(0, case["probabilities"][0] + 0.002)),
        ("embedding", lambda case: case["embedding"].pop()),
        ("cam", lambda case: case.__setitem__("cam", None)),
    ],
)
def test_parity_finds_every_kind_of_difference(
    bundle: Bundle, tmp_path: Path, quantity: str, edit: Callable[[dict], None]
) -> None:  # type: ignore[type-arg]
    changed = change(bundle, tmp_path / "b", lambda golden: edit(golden["cases"][1]))
    failures = check_parity(changed).failures
    assert {(d.case.removesuffix(" (batch)"), d.quantity) for d in failures} == {("portrait", quantity)}


def test_golden_vectors_of_another_form_are_refused(bundle: Bundle, tmp_path: Path) -> None:
    for number, (edit, says) in enumerate(
        [
            (lambda g: g.__setitem__("format", 9), "golden vectors of format 9"),
            (lambda g: g.__setitem__("cases", []), "has no cases"),
            (lambda g: g.pop("tolerance"), "not in the form"),
        ]
    ):
        with pytest.raises(BundleError, match=says):
            check_parity(change(bundle, tmp_path / str(number), edit))


def test_a_bundle_that_fails_its_golden_answers_is_not_written(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = write.make_golden

    def wrong(*args: object, **options: object) -> bytes:
        golden = json.loads(honest(*args, **options))  # type: ignore[arg-type]
        golden["cases"][0]["logits"][0] += 1
        return json.dumps(golden).encode()

    monkeypatch.setattr(write, "make_golden", wrong)
    with pytest.raises(
        BundleError,
        match=r"does not give its golden answers and is not written: 2 of .* the worst logits of 'landscape'",
    ):
        export_run(run, tmp_path / "out" / "bundle", resamples=0, cache=tiny_cache())
    assert not (tmp_path / "out").exists()


def test_the_licences_of_the_graph_that_separates_kinds_stand_in_the_bundle(
    run: Path, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(abstention, "MIN_ACCEPTED", 0.0)  # phantoms are no dermoscopy
    images = {"data": tiny_data(), "cache": tiny_cache()}
    both = export_run(run, tmp_path / "b", resamples=0, about=About(domain="dermoscopy"), **images)
    assert (bundle.spec.licence, both.spec.licence) == ("Apache-2.0", "CC BY-NC-SA 4.0 (as the data)")
    assert "Pacheco" in both.spec.data_licence
    assert "The graph that separates kinds of pictures was trained on images of HAM10000, ISIC 2017" in both.card
    assert "non-commercial use only" in both.card


@pytest.mark.parametrize("weights", ["fp16", "int8"])
def test_smaller_weights(
    run: Path, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weights: str
) -> None:
    # After one epoch on a few phantoms answers are near chance, and rounding moves some of 21 images either way.
    monkeypatch.setattr(write, "check_drop", partial(check_drop, max_drop=1.0))
    images = {"data": tiny_data(), "cache": tiny_cache()}
    small = export_run(
        run, tmp_path / "b", weights=weights, resamples=0, about=About(name="small", title="A small one"), **images
    )
    assert small.spec.weights == weights
    assert (small.spec.name, small.spec.title) == ("small", "A small one")
    assert small.model.stat().st_size < 0.56 * bundle.model.stat().st_size
    assert f"what {weights} weights change" in small.card
    assert check_parity(small).passed


def test_a_variant_that_loses_accuracy_is_refused(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    accuracies = {"fp32": 0.80, "int8": 0.79}
    monkeypatch.setattr(
        write,
        "measure_variant",
        lambda kind, content, batches, targets: Variant(kind, content, accuracies[kind], 1.0, 21),
    )
    with pytest.raises(BundleError, match=r"int8 weights are refused: .* from 80\.00% to 79\.00% \(1\.00 points"):
        export_run(run, tmp_path / "b", weights="int8", data=tiny_data(), cache=tiny_cache(), resamples=0)
    assert list(tmp_path.iterdir()) == []


def test_int8_is_calibrated_on_training_images_only(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = read_images(load_run(run), tiny_data(), needed=True, cache=tiny_cache(), progress=False)
    assert images is not None
    rows = images.spread()
    assert set(images.samples.frame["split"].iloc[rows]) == {"train"}
    assert len(set(rows.tolist())) == len(rows)
    assert set(images.samples.frame["label"].iloc[rows]) == set(images.samples.labels.codes)


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "run"))


def unfinished(folder: Path) -> None:
    record = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(record | {"finished": False, "epochs_done": 0}))


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda f: shutil.rmtree(f), "not a run folder"),
        (unfinished, r"the run is not finished \(0 of 1 epochs\)"),
        (lambda f: (f / "checkpoints" / "best.ckpt").unlink(), r"best\.ckpt: no such checkpoint"),
        (lambda f: (f / "checkpoints" / "best.ckpt").write_bytes(b"junk"), r"best\.ckpt: damaged"),
        (lambda f: (f / "predictions" / "test.csv").unlink(), r"no predictions/test\.csv"),
        (lambda f: (f / "predictions" / "val.csv").unlink(), r"predictions/val\.csv is missing"),
        (lambda f: (f / "recipe.yaml").write_text("epoch: 1\n"), "unknown key 'epoch'"),
    ],
)
def test_an_incomplete_run_gets_one_clear_error(copy: Path, damage: Callable[[Path], None], says: str) -> None:
    damage(copy)
    with pytest.raises(LentigoError, match=says):
        export_run(copy, resamples=0)
    assert not (copy / "bundle").exists()


def test_arguments_that_do_not_fit(run: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="unknown weights 'fp61'; did you mean 'fp16'"):
        export_run(run, tmp_path / "b", weights="fp61")
    with pytest.raises(BundleError, match="'My model' cannot name a bundle"):
        export_run(run, tmp_path / "b", about=About(name="My model"), resamples=0)
    with pytest.raises(BundleError, match=r"gone: the images of the run are not there"):
        export_run(run, tmp_path / "b", weights="fp16", data=tmp_path / "gone", resamples=0)
    other = shutil.copytree(tiny_data(), tmp_path / "other")
    next((other / "images").iterdir()).write_bytes(b"other content")
    with pytest.raises(DataError, match="not the data that"):
        export_run(run, tmp_path / "b", data=other, resamples=0)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write the bundle"):
        export_run(run, tmp_path / "file" / "b", resamples=0, cache=tiny_cache())
    assert not (tmp_path / "b").exists()


def test_predictions_of_another_checkpoint_are_found_out(copy: Path, tmp_path: Path) -> None:
    path = copy / "predictions" / "val.csv"
    lines = path.read_text().splitlines()
    first = lines[0].split(",").index("akiec")
    for number, line in enumerate(lines[1:], start=1):
        cells = line.split(",")
        cells[first : first + 7] = ["1", "0", "0", "0", "0", "0", "0"]
        lines[number] = ",".join(cells)
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(BundleError, match=r"answers otherwise than predictions/val\.csv"):
        export_run(copy, tmp_path / "b", data=tiny_data(), cache=tiny_cache(), resamples=0)


def test_exporting_again_replaces_the_bundle(copy: Path) -> None:
    first = export_run(copy, resamples=0, cache=tiny_cache())
    assert first.path == copy / "bundle"
    again = export_run(copy, resamples=0, cache=tiny_cache(), about=About(version="2", notes="exported twice"))
    assert again.path == first.path
    assert again.spec.version == "2"
    assert "exported twice" in again.card
    assert again.model.read_bytes() == (first.path / "model.onnx").read_bytes()


def test_a_published_data_set_brings_its_licence_and_its_caveats(copy: Path) -> None:
    for name in ("val", "test"):
        path = copy / "predictions" / f"{name}.csv"
        path.write_text(path.read_text().replace("PHANTOM_", "ISIC_").replace(".jpg", ".webp"))
    record = json.loads((copy / "run.json").read_text())
    (copy / "run.json").write_text(json.dumps(record | {"data_root": str(copy / "gone")}))
    with pytest.warns(UserWarning, match="without the images of the run the bundle cannot abstain"):
        bundle = export_run(copy, resamples=0)
    assert bundle.spec.abstention is None
    assert not bundle.spec.outputs.atypicality
    assert bundle.spec.conformal is not None
    assert bundle.spec.domain == "dermoscopy"
    assert bundle.spec.licence.startswith("CC BY-NC-SA 4.0")
    assert "10.7910/DVN/DBW86T" in bundle.spec.data_licence
    assert "re-encoded copies (WEBP) of the originals (JPEG of 600 x 450 px)" in bundle.card
    assert "non-commercial use only" in bundle.card
    assert "rendered phantoms" not in bundle.card


def test_metadata_are_fitted_on_the_training_part_where_the_recipe_names_them(run: Path) -> None:
    plain = load_run(run)
    wanted = replace(plain, recipe=plain.recipe.model_copy(update={"metadata": ("age",)}))
    images = read_images(plain, tiny_data(), needed=True, cache=tiny_cache(), progress=False)
    assert images is not None
    assert write._metadata(plain, images) is None
    with pytest.raises(BundleError, match="metadata are fitted on the table of the data: say where they are"):
        write._metadata(wanted, None)
    with pytest.raises(BundleError, match="metadata: the data have no values of age"):
        write._metadata(wanted, replace(images, samples=with_ages(images.samples, "")))
    rows = images.rows("train")
    found = write._metadata(wanted, replace(images, samples=with_ages(images.samples, "", rows, "44")))
    assert found is not None
    assert list(found.log_ratios["age"]) == ["40"]
    assert found.groups == {"age": images.samples.frame["group"].iloc[rows].nunique()}


def with_ages(samples: Samples, age: str, rows: Any = (), other: str = "") -> Samples:
    ages = np.full(len(samples), age, dtype=object)
    ages[rows] = other
    return replace(samples, frame=samples.frame.assign(age=ages))
