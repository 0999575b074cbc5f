"""A bundle evaluated on labelled images: the right images, the right classes, and figures that equal the run's own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tiny_bundle import tiny_bundle
from tiny_run import tiny_data, tiny_export, tiny_run

from lentigo.bundle import Bundle
from lentigo.data import read_samples
from lentigo.errors import BundleError, DataError, ImageError, LentigoError
from lentigo.evaluation import evaluate_predictions, maps_path, read_maps, read_predictions
from lentigo.evaluation.report import Report
from lentigo.evaluation.temperature import apply_temperature
from lentigo.files import write_text
from lentigo.inference import load, predict_paths, softmax
from lentigo.inference.lesions import group_key, merge_rows
from lentigo.inference.table import Row
from lentigo.labels import HAM10000, LabelSet
from lentigo.synthetic import render_phantom
from lentigo.workflow import evaluate


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return tiny_export()


@pytest.fixture
def plain_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the figures: drawing a report takes seconds, and these tests are about the images that are evaluated."""

    def write(source: Path, out: Path, **facts: object) -> Report:
        metrics = evaluate_predictions(read_predictions(source, codes=HAM10000.codes), resamples=0)
        write_text(out / "metrics.json", json.dumps({"metrics": metrics.to_dict()}))
        return Report(out / "index.html", {"metrics": metrics.to_dict()})

    monkeypatch.setattr("lentigo.evaluation.report.write_report", write)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Eight images of two classes, one folder a class."""
    for code in ("mel", "nv"):
        (tmp_path / "own" / code).mkdir(parents=True)
        for seed in range(4):
            render_phantom(code, seed, 40).save(tmp_path / "own" / code / f"{code}{seed}.png")
    return tmp_path / "own"


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A bundle of the seven classes that was trained elsewhere."""
    return tiny_bundle(tmp_path / "tiny", labels=HAM10000).path


def test_a_bundle_on_its_own_data_is_evaluated_on_its_own_test_part(bundle: Bundle, tmp_path: Path) -> None:
    result = evaluate(bundle.path, data=tiny_data(), out=tmp_path / "out", progress=False)
    table, ours = (
        read_predictions(tmp_path / "out" / "predictions" / "test.csv"),
        read_predictions(tiny_run() / "predictions" / "test.csv"),
    )
    assert table.images.tolist() == ours.images.tolist()
    assert table.codes == ours.codes
    np.testing.assert_allclose(table.probabilities, ours.probabilities, atol=1e-4)
    assert (table.groups == ours.groups).all()
    assert list(table.metadata.columns) == [*ours.metadata.columns, "atypicality"]
    mine, theirs = (read_maps(maps_path(t.source or "")) for t in (table, ours))
    np.testing.assert_allclose(mine.predicted, theirs.predicted, atol=2e-3 * max(1, float(theirs.predicted.max())))
    np.testing.assert_allclose(mine.target, theirs.target, atol=2e-3 * max(1, float(theirs.target.max())))
    assert f"{len(table)} test images (protocol lesion, as in training)" in result.title
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["protocol"] == "lesion"
    assert record["trained_on"] == 0
    assert record["bundle"]["model_sha256"] == bundle.spec.files["model.onnx"]
    # The report is the bundle's: its temperature and its thresholds.
    metrics = result.metrics["metrics"]
    assert metrics["temperature"] == bundle.spec.temperature
    assert metrics["malignant"]["thresholds_chosen_on"] == "validation"
    assert metrics["overall"]["accuracy"]["value"] == pytest.approx(
        bundle.spec.metrics["test"]["accuracy"].value, abs=1e-9
    )
    assert result.index == tmp_path / "out" / "report" / "index.html"
    assert result.index.is_file()
    assert result.headline[0][0] == "accuracy"
    assert "%" in result.headline[0][1]


def test_a_run_is_evaluated_by_its_files(tmp_path: Path) -> None:
    result = evaluate(tiny_run(), out=tmp_path / "report")
    assert result.index == tmp_path / "report" / "index.html"
    assert result.metrics["split"] == "test"


@pytest.mark.usefixtures("plain_report")
def test_training_images_among_the_evaluated_are_counted(bundle: Bundle, tmp_path: Path) -> None:
    everything = evaluate(bundle.path, data=tiny_data(), split="all", out=tmp_path / "all", progress=False)
    learnt = bundle.spec.provenance.counts["train"]
    assert f"all 84 images; {learnt} of them it was trained on" in everything.title
    assert len(read_predictions(tmp_path / "all" / "predictions" / "all.csv")) == 84
    mixed = evaluate(bundle.path, data=tiny_data(), protocol="image", out=tmp_path / "image", progress=False)
    assert "(protocol image)" in mixed.title
    assert "of them it was trained on" in mixed.title


@pytest.mark.usefixtures("plain_report")
def test_other_files_of_the_data_of_training_are_not_called_new(small: Path, folder: Path, tmp_path: Path) -> None:
    name = Bundle.open(small).spec.provenance.data
    result = evaluate(small, data=folder.rename(tmp_path / name), out=tmp_path / "out", progress=False)
    assert f"but of the same name, {name}: images of its training may be among these" in result.title


@pytest.mark.usefixtures("plain_report")
def test_other_data_are_evaluated_whole(small: Path, folder: Path, tmp_path: Path) -> None:
    result = evaluate(small, data=folder, out=tmp_path / "out", progress=False)
    assert result.title == "tiny on own: all 8 images (not the files of its training)"
    table = read_predictions(tmp_path / "out" / "predictions" / "test.csv", codes=HAM10000.codes)
    assert len(table) == 8
    # Two classes of seven are there; the columns are all seven of the bundle.
    assert set(table.frame["target"]) == {"mel", "nv"}
    assert [HAM10000.codes[t] for t in table.targets] == table.frame["target"].tolist()


def test_its_own_data_need_no_classes(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="was trained on this data set and has its classes"):
        evaluate(bundle.path, data=tiny_data(), classes={"mel": "mel"}, out=tmp_path / "out", progress=False)


@pytest.fixture
def visits(tmp_path: Path) -> Path:
    """A table of three patients' five lesions in two pictures each; one picture is black, which nobody can assess."""
    rows = []
    for n, (patient, code) in enumerate((("p1", "mel"), ("p1", "nv"), ("p2", "mel"), ("p2", "nv"), ("p3", "nv"))):
        for view in range(2):
            render_phantom(code, 10 * n + view, 64).save(tmp_path / f"{n}{view}.png")
            rows.append((f"{n}{view}.png", code, patient, f"spot{n}"))
    Image.new("RGB", (64, 64)).save(tmp_path / "21.png")
    pd.DataFrame(rows, columns=["path", "label", "patient", "lesion"]).to_csv(tmp_path / "visits.csv", index=False)
    return tmp_path / "visits.csv"


@pytest.mark.usefixtures("plain_report")
def test_lesions_are_evaluated_as_predict_answers_them(small: Path, visits: Path, tmp_path: Path) -> None:
    result = evaluate(small, data=visits, group_by="lesion", out=tmp_path / "out", progress=False)
    assert "all 10 images (not the files of its training), as 5 lesions" in result.title
    table = read_predictions(tmp_path / "out" / "predictions" / "test.csv", codes=HAM10000.codes)
    assert table.images.tolist() == [f"spot{n}" for n in range(5)]
    assert table.groups.tolist() == ["p1", "p1", "p2", "p2", "p3"]  # intervals still draw patients
    assert table.metadata["pictures"].tolist() == [2] * 5
    assert not maps_path(tmp_path / "out" / "predictions" / "test.csv").exists()

    rows: list[Row] = []
    classifier = load(small)
    predict_paths(classifier, [visits], on_row=rows.append, progress=False)
    merged = {row.path: row for row in merge_rows(rows, group_key("lesion", [str(visits)]), classifier.spec)}
    assert "left out" in " ".join(merged["spot2"].hints)
    expected = [merged[lesion].probabilities for lesion in table.images.tolist()]
    np.testing.assert_allclose(apply_temperature(table.probabilities, classifier.spec.temperature), expected, atol=1e-5)


@pytest.mark.usefixtures("plain_report")
def test_lesions_by_a_pattern_and_missing_pictures(small: Path, visits: Path, tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"2 groups hold pictures of different classes, the first 'p1' \(mel, nv\); name what tells the"
    ):
        evaluate(small, data=visits, group_by="patient", out=tmp_path / "out", progress=False)
    with pytest.raises(DataError, match="leave out --group-by"):
        evaluate(small, data=visits, group_by="lesion", robustness=True, out=tmp_path / "out", progress=False)
    with pytest.raises(DataError, match=r"need the images \(--data"):
        evaluate(tmp_path, group_by="lesion")
    (tmp_path / "10.png").unlink()
    with pytest.raises(DataError, match="1 of 10 images in the table are missing"):
        evaluate(small, data=visits, out=tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()
    result = evaluate(small, data=visits, group_by=r"^(\d)\d", missing="skip", out=tmp_path / "out", progress=False)
    assert "all 9 images" in result.title
    assert result.remarks == ("left out: 1 (in the table, but the file is missing), such as 10.png",)
    table = read_predictions(tmp_path / "out" / "predictions" / "test.csv", codes=HAM10000.codes)
    assert table.images.tolist() == list("01234")
    assert table.metadata["pictures"].tolist() == [2, 1, 2, 2, 2]


@pytest.mark.usefixtures("plain_report")
def test_a_saved_split_is_kept_to(small: Path, folder: Path, tmp_path: Path) -> None:
    images = read_samples(folder).frame["image"]
    split = pd.DataFrame({"image": images, "split": ["test" if "3" in i else "train" for i in images]})
    split.to_csv(tmp_path / "mine.csv", index=False)
    result = evaluate(small, data=folder, split_file=tmp_path / "mine.csv", out=tmp_path / "out", progress=False)
    assert "2 test images (by mine.csv)" in result.title
    assert {i for i in read_predictions(tmp_path / "out" / "predictions" / "test.csv").images if "3" not in i} == set()


@pytest.mark.usefixtures("plain_report")
def test_the_place_of_the_report_has_a_default(
    small: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert evaluate(small, data=folder, progress=False).folder == Path("runs/tiny-on-own")
    assert (tmp_path / "runs" / "tiny-on-own" / "report" / "metrics.json").is_file()


@pytest.mark.usefixtures("plain_report")
def test_more_images_than_one_chunk_come_in_order(small: Path, tmp_path: Path) -> None:
    for code in ("mel", "nv"):
        (tmp_path / "many" / code).mkdir(parents=True)
        for number in range(40):
            Image.new("RGB", (20, 20), (number * 6, 90, 0 if code == "nv" else 200)).save(
                tmp_path / "many" / code / f"{number:02}.png"
            )
    seen: list[tuple[int, int]] = []
    evaluate(
        small, data=tmp_path / "many", out=tmp_path / "out", progress=lambda done, total: seen.append((done, total))
    )
    assert seen == [(32, 80), (64, 80), (80, 80)]
    table = read_predictions(tmp_path / "out" / "predictions" / "test.csv")
    classifier = load(small)
    for row in (0, 31, 32, 79):
        answer = classifier.predict(tmp_path / "many" / table.frame["path"].iloc[row])
        np.testing.assert_allclose(table.probabilities[row], softmax(answer.logits), atol=1e-5)


def test_classes_that_do_not_fit_are_named(folder: Path, tmp_path: Path) -> None:
    (folder / "melanom").mkdir()
    render_phantom("mel", 9, 40).save(folder / "melanom" / "one.png")
    target = tiny_bundle(tmp_path / "b", labels=LabelSet("two", tuple(c for c in HAM10000 if c.code in ("mel", "nv"))))
    with pytest.raises(
        DataError,
        match=r"1 of 9 images are of classes that tiny does not have \(melanom; did you mean 'mel'\?\).*mel, nv",
    ):
        evaluate(target.path, data=folder, out=tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("plain_report")
def test_another_collection_is_evaluated_under_the_classes_that_agree(
    small: Path, folder: Path, tmp_path: Path
) -> None:
    (folder / "nv").rename(folder / "mole")
    (folder / "ruler").mkdir()
    render_phantom("nv", 9, 40).save(folder / "ruler" / "one.png")
    result = evaluate(small, data=folder, classes={"mel": "mel", "mole": "nv"}, out=tmp_path / "out", progress=False)
    assert result.title == "tiny on own: all 8 images (not the files of its training); 1 of other classes left out"
    table = read_predictions(tmp_path / "out" / "predictions" / "test.csv", codes=HAM10000.codes)
    assert table.frame["target"].value_counts().to_dict() == {"mel": 4, "nv": 4}


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"classes": {"moel": "nv"}}, DataError, "has no class 'moel'"),
        ({"classes": {"nv": "mole"}}, DataError, "class 'nv' cannot stand for 'mole'"),
        ({"split": "tests"}, DataError, "unknown split 'tests'; did you mean 'test'"),
        ({"protocol": "lesions"}, DataError, "unknown split protocol 'lesions'; did you mean 'lesion'"),
        ({"protocol": "lesion", "split_file": "x.csv"}, DataError, "exclude each other"),
        ({"split_file": "x.csv"}, DataError, r"x\.csv: no such file"),
    ],
)
def test_bad_arguments_get_one_clear_error(
    small: Path, folder: Path, tmp_path: Path, options: dict[str, str], error: type[LentigoError], says: str
) -> None:
    with pytest.raises(error, match=says):
        evaluate(small, data=folder, out=tmp_path / "out", progress=False, **options)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


def test_a_target_that_is_neither_run_nor_bundle(small: Path, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a bundle; to evaluate a bundle, also give a data set"):
        evaluate(small)
    with pytest.raises(DataError, match="no run folder"):
        evaluate(tmp_path / "gone")
    with pytest.raises(DataError, match="a run has its own split"):
        evaluate(tiny_run(), protocol="image")
    with pytest.raises(BundleError, match="no bundle here"):
        evaluate(tmp_path / "own", data=folder, progress=False)
    with pytest.raises(DataError, match="no such file or folder"):
        evaluate(small, data=tmp_path / "gone", progress=False)


def test_a_broken_image_stops_before_anything_is_written(small: Path, folder: Path, tmp_path: Path) -> None:
    (folder / "nv" / "nv3.png").write_bytes(b"no image")
    with pytest.raises(ImageError, match=r"nv3\.png"):
        evaluate(small, data=folder, out=tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("plain_report")
def test_a_run_folder_serves_as_its_bundle(bundle: Bundle, folder: Path, tmp_path: Path) -> None:
    run = shutil.copytree(tiny_run(), tmp_path / "run")
    shutil.copytree(bundle.path, run / "bundle")
    assert "tiny-phantoms on own" in evaluate(run, data=folder, out=tmp_path / "out", progress=False).title
