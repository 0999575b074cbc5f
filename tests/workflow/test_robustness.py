"""Degraded images and deleted parts: what is written, the figures made of it, and a network whose maps are known to be
right or wrong."""

from __future__ import annotations

import json
import shutil
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from evaluation_tables import table, write_table
from PIL import Image
from tiny_bundle import blob_image, tiny_bundle

from lentigo.cli import main
from lentigo.data import read_samples
from lentigo.errors import DataError
from lentigo.evaluation import read_predictions, read_run, subgroup_metrics
from lentigo.evaluation.perturbation import measure_perturbations
from lentigo.evaluation.robustness import (
    AREA,
    SCORES,
    occlusion_check,
    read_robustness,
    robustness_curves,
    robustness_folder,
    robustness_markdown,
    with_skin,
)
from lentigo.inference import Classifier, softmax
from lentigo.labels import HAM10000
from lentigo.pixels.corruptions import CORRUPTIONS, corrupt
from lentigo.pixels.drawing import add_vignette
from lentigo.pixels.perturbations import PERTURBATIONS, hide_lesion, hide_surroundings, perturb
from lentigo.pixels.segmentation import segment_lesion
from lentigo.synthetic import render_phantom
from lentigo.workflow import evaluate
from lentigo.workflow.robustness import STRENGTHS, choose_areas, delete, run_robustness


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    return Classifier(
        tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny", labels=HAM10000, temperature=2.0), threads=1
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "own"
    for code in ("mel", "nv"):
        (root / code).mkdir(parents=True)
        for seed in range(5):
            render_phantom(code, seed, 48).save(root / code / f"{code}{seed}.png")
    return root


@pytest.fixture(scope="module")
def evaluated(classifier: Classifier, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with predictions, robustness files and report."""
    out = tmp_path_factory.mktemp("judged") / "out"
    with pytest.raises(SystemExit) as stopped:
        main(["evaluate", str(classifier.bundle.path), "--data", str(data), "--out", str(out), "--robustness"])
    assert not stopped.value.code
    return out


# Running the network


def test_every_image_is_answered_in_every_strength(evaluated: Path, classifier: Classifier, data: Path) -> None:
    folder = robustness_folder(evaluated / "predictions" / "test.csv")
    rows = pd.read_csv(folder / "robustness.csv")
    assert len(rows) == 10 * len(STRENGTHS) == 10 * 30
    samples = read_samples(data)
    pixels = np.asarray(Image.open(samples.file(0)).resize((64, 64), Image.Resampling.BILINEAR))
    image = samples.frame["image"].iloc[0]
    row = rows[(rows["corruption"] == "brightness") & (rows["strength"] == 0.6) & (rows["image"] == image)].iloc[0]
    logits = classifier.run(corrupt(pixels, "brightness", 0.6)[None]).logits
    # Before the temperature.
    np.testing.assert_allclose(row[list(HAM10000.codes)].to_numpy(float), softmax(logits)[0], atol=1e-4)
    record = json.loads((folder / "record.json").read_text())
    assert record["images"] == 10
    assert record["bundle"]["model_sha256"] == classifier.spec.files["model.onnx"]
    skin = pd.read_csv(folder / "skin.csv")
    assert sorted(skin["image"]) == sorted(samples.frame["image"])


def test_the_report_shows_it_and_knows_all_figures(evaluated: Path) -> None:
    metrics = json.loads((evaluated / "report" / "metrics.json").read_text())
    assert [curve["corruption"] for curve in metrics["robustness"]["curves"]] == list(CORRUPTIONS)
    assert metrics["robustness"]["occlusion"]["images"] == 10
    page = (evaluated / "report" / "index.html").read_text(encoding="utf-8")
    assert 'id="robustness"' in page
    assert page.count('id="robustness_') >= len(CORRUPTIONS)
    assert "Occlusion test of the maps" in page
    assert (evaluated / "report" / "plots" / "robustness_hair.svg").is_file()
    table = (evaluated / "report" / "robustness.md").read_text(encoding="utf-8")
    assert metrics["robustness"]["record"]["bundle"]["model_sha256"] in table
    assert "not a medical device" in table
    assert all(curve["title"] in table for curve in metrics["robustness"]["curves"])
    assert any(
        line.startswith(f"| {row['value']} | {row['images']} |")
        for row in metrics["subgroups"]
        for line in table.splitlines()
    )


def test_the_same_images_give_the_same_files_in_any_company(
    classifier: Classifier, data: Path, evaluated: Path, tmp_path: Path
) -> None:
    run_robustness(classifier, read_samples(data), tmp_path / "some.csv", limit=3, progress=False)
    some, every = (
        pd.read_csv(folder / "robustness.csv")
        for folder in (tmp_path / "some_robustness", evaluated / "predictions" / "test_robustness")
    )
    chosen = some["image"].unique()
    assert len(chosen) == 3
    same = every[every["image"].isin(chosen)].sort_values(["corruption", "strength", "image"])
    ours = some.sort_values(["corruption", "strength", "image"])
    np.testing.assert_allclose(ours[list(HAM10000.codes)], same[list(HAM10000.codes)], atol=1e-5)
    with pytest.raises(DataError, match="at least 1"):
        run_robustness(classifier, read_samples(data), tmp_path / "none.csv", limit=0, progress=False)


def test_another_model_does_not_inherit_the_figures(evaluated: Path, data: Path, tmp_path: Path) -> None:
    out = shutil.copytree(evaluated, tmp_path / "out")
    same = tiny_bundle(tmp_path / "same", labels=HAM10000, temperature=2.0)
    evaluate(same.path, data=data, out=out, progress=False)
    assert "robustness" in json.loads((out / "report" / "metrics.json").read_text())
    assert (out / "predictions" / "test_robustness" / "robustness.csv").is_file()
    other = tiny_bundle(tmp_path / "other", labels=HAM10000, seed=9)
    evaluate(other.path, data=data, out=out, progress=False)
    assert json.loads((out / "report" / "metrics.json").read_text())["robustness"] is None
    assert [p.name for p in (out / "predictions" / "test_robustness").iterdir()] == ["skin.csv"]


def test_a_run_is_degraded_by_its_own_bundle(evaluated: Path, classifier: Classifier, tmp_path: Path) -> None:
    run = shutil.copytree(evaluated, tmp_path / "run")
    shutil.rmtree(run / "predictions" / "test_robustness")
    with pytest.raises(DataError, match="write it first: lentigo export"):
        evaluate(run, robustness=True, progress=False)
    shutil.copytree(classifier.bundle.path, run / "bundle")
    result = evaluate(run, robustness=True, limit=4, progress=False)
    assert result.metrics["robustness"]["curves"][0]["images"] == 4
    assert result.metrics["robustness"]["record"]["drawn"] is True


# Areas


def test_areas_have_the_size_asked_for_and_lie_where_they_should() -> None:
    y, x = np.mgrid[:100, :100]
    heat = np.exp(-((x - 20) ** 2 + (y - 30) ** 2) / 300).astype(np.float32)
    marked, elsewhere, least = choose_areas(heat, np.random.default_rng(0))
    assert marked.sum() == elsewhere.sum() == least.sum() == AREA * 10_000
    assert heat[marked].min() >= heat[~marked].max() - 1e-5
    assert heat[least].max() <= heat[~least].min() + 1e-5
    assert (marked & elsewhere).sum() < 0.2 * marked.sum()
    assert not (marked & least).any()
    pixels = np.asarray(blob_image(0, 100, 100))
    changed = np.abs(delete(pixels, marked).astype(int) - pixels).max(axis=2)
    assert changed[marked].mean() > 20 * changed[80:, 80:].mean()


# Figures


def degraded(made, strengths: dict[str, list[float]], wrong: dict[tuple[str, float], float]) -> pd.DataFrame:  # type: ignore[no-untyped-def]
    """Rows of robustness.csv with a given share of the answers changed to the next class."""
    blocks = []
    for name, values in strengths.items():
        for strength in values:
            answers = made.probabilities.copy()
            changed = np.arange(len(made)) < wrong.get((name, strength), 0) * len(made)
            answers[changed] = np.roll(answers[changed], 1, axis=1)
            block = pd.DataFrame(answers, columns=list(made.codes))
            block[["corruption", "strength"]] = name, strength
            blocks.append(block.assign(image=made.images))
    return pd.concat(blocks, ignore_index=True).sample(frac=1, random_state=0)  # the order of rows does not matter


def test_curves_are_the_metrics_of_the_changed_answers() -> None:
    made = table(200)
    curves = robustness_curves(
        made, degraded(made, {"jpeg": [75, 7], "brightness": [0.6, 1.4]}, {("jpeg", 7): 0.5}), resamples=200
    )
    assert [c.corruption.name for c in curves] == ["jpeg", "brightness"]
    jpeg, brightness = curves
    assert [p.strength for p in jpeg.points] == [100, 75, 7]
    assert [p.strength for p in brightness.points] == [0.6, 1, 1.4]
    clean = float((made.probabilities.argmax(axis=1) == made.targets).mean())
    assert jpeg.points[0].accuracy.value == pytest.approx(clean)
    assert jpeg.points[1].accuracy.value == pytest.approx(clean)
    assert jpeg.points[1].change.value == 0
    half = made.probabilities.argmax(axis=1)
    half[:100] = (half[:100] + 1) % 7
    assert jpeg.points[2].accuracy.value == pytest.approx(float((half == made.targets).mean()))
    assert jpeg.points[2].change.high is not None
    assert jpeg.points[2].change.high < 0
    assert jpeg.worst.strength == 7


def test_some_images_are_compared_with_themselves() -> None:
    made = table(200)
    part = made.subset(np.arange(200) < 60)
    (curve,) = robustness_curves(made, degraded(part, {"noise": [10]}, {}), resamples=50)
    assert curve.images == 60
    assert curve.points[0].accuracy.value == pytest.approx(
        float((part.probabilities.argmax(axis=1) == part.targets).mean())
    )
    assert curve.points[1].change.value == 0


def test_bad_files_are_told(tmp_path: Path) -> None:
    made = table(30)
    rows = degraded(made, {"blur": [1, 2]}, {})
    with pytest.raises(DataError, match=r"robustness\.csv: unknown corruption 'fog'"):
        robustness_curves(made, rows.replace({"corruption": {"blur": "fog"}}))
    with pytest.raises(DataError, match="no column strength"):
        robustness_curves(made, rows.drop(columns="strength"))
    with pytest.raises(DataError, match=r"blur [12] has other images than the rest"):
        robustness_curves(made, rows.iloc[1:])
    with pytest.raises(DataError, match="not in the table of predictions, the first 'strange'"):
        robustness_curves(made, rows.replace({"image": {"image_0003": "strange"}}))
    with pytest.raises(DataError, match="no column least"):
        occlusion_check(made, pd.DataFrame({"image": made.images, "score": 1.0, "marked": 0.0, "elsewhere": 0.5}))
    path = write_table(tmp_path / "predictions" / "test.csv", made)
    robustness_folder(path).mkdir()
    (robustness_folder(path) / "skin.csv").write_text("image,angle\n")
    with pytest.raises(DataError, match="image and ita are needed"):
        with_skin(read_predictions(path))


def occluded(made, marked: float, elsewhere: float, spread: float = 0.05) -> pd.DataFrame:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(0)
    scores = {
        name: 0.9 - loss + rng.normal(0, spread, len(made))
        for name, loss in zip(SCORES, (0, marked, elsewhere, 0.05), strict=True)
    }
    return pd.DataFrame({"image": made.images, **scores})


def test_the_occlusion_check_passes_only_beyond_chance() -> None:
    made = table(120)
    good = occlusion_check(made, occluded(made, 0.4, 0.1), resamples=300)
    assert good.passed
    assert good.more["elsewhere"].value == pytest.approx(0.3, abs=0.03)
    assert good.holds["elsewhere"].value > 0.95
    assert good.drops["marked"].value == pytest.approx(good.drops["elsewhere"].value + good.more["elsewhere"].value)
    assert not occlusion_check(made, occluded(made, 0.1, 0.1), resamples=300).passed
    assert not occlusion_check(made, occluded(made, 0.05, 0.3), resamples=300).passed
    text = robustness_markdown(replace(read_robustness(made), occlusion=good))
    assert "what the map marks most" in text


def test_estimated_skin_tone_divides_the_table(tmp_path: Path) -> None:
    made = table(120)
    path = write_table(tmp_path / "predictions" / "test.csv", made)
    angles = np.tile([60.0, 50.0, 35.0, 20.0, 0.0, -40.0, np.nan, 60.0], 15)
    robustness_folder(path).mkdir()
    pd.DataFrame({"image": made.images, "ita": angles}).to_csv(robustness_folder(path) / "skin.csv", index=False)
    rows = subgroup_metrics(with_skin(read_run(tmp_path).test), HAM10000, resamples=50)
    found = {row.value: row.images for row in rows if "estimated" in row.attribute}
    assert found == {
        "dark": 15,
        "brown": 15,
        "tan": 15,
        "intermediate": 15,
        "light": 15,
        "very light": 30,
        "not known": 15,
    }
    assert [row.small for row in rows if row.value == "dark"] == [True]


# Perturbation tests


def test_what_is_hidden_is_gone_and_the_rest_is_as_it_was() -> None:
    y, x = np.mgrid[-1:1:112j, -1:1:112j]
    inside = np.hypot(x, y) < 0.4
    skin = np.array([215, 165, 150]) + np.random.default_rng(0).normal(0, 2, (112, 112, 3))
    pixels = np.where(inside[..., None], 70, skin).astype(np.uint8)
    lesion = segment_lesion(pixels)
    assert not lesion.doubt
    without, alone = hide_lesion(pixels, lesion).astype(float), hide_surroundings(pixels, lesion).astype(float)
    far, near = np.hypot(x, y) > 0.75, np.hypot(x, y) < 0.35
    assert np.abs(without[near] - [215, 165, 150]).max() < 6
    assert np.array_equal(without[far], pixels[far])
    assert np.array_equal(alone[near], pixels[near])
    assert np.abs(alone[far] - lesion.skin).max() <= 1


def test_artifacts_are_added_where_they_are_not() -> None:
    y, x = np.mgrid[-1:1:112j, -1:1:112j]
    pixels = np.where((np.hypot(x, y) < 0.4)[..., None], 70, [215, 165, 150]).astype(np.uint8)
    assert list(perturb(pixels, 0)) == list(PERTURBATIONS)
    assert set(PERTURBATIONS) - set(perturb(add_vignette(pixels, 0), 0)) == {"vignette"}
    assert set(perturb(np.full_like(pixels, 200), 0)) == {"vignette", "ruler", "ink", "hair"}  # no lesion to hide


def test_the_files_and_the_report_say_what_the_perturbations_change(
    evaluated: Path, classifier: Classifier, data: Path
) -> None:
    rows = pd.read_csv(robustness_folder(evaluated / "predictions" / "test.csv") / "perturbations.csv")
    assert set(rows["change"]) <= set(PERTURBATIONS)
    row = rows[rows["change"] == "hair"].iloc[0]
    samples = read_samples(data)
    at = samples.frame["image"].tolist().index(row["image"])
    pixels = np.asarray(Image.open(samples.file(at)).resize((64, 64), Image.Resampling.BILINEAR))
    own = zlib.crc32(f"0/{row['image']}".encode())
    expected = softmax(classifier.run(perturb(pixels, own)["hair"][None]).logits)[0]
    np.testing.assert_allclose(row[list(HAM10000.codes)].to_numpy(float), expected, atol=1e-4)
    found = json.loads((evaluated / "report" / "metrics.json").read_text())["robustness"]["perturbations"]
    assert [r["change"] for r in found] == [c for c in PERTURBATIONS if c in set(rows["change"])]
    page = (evaluated / "report" / "index.html").read_text(encoding="utf-8")
    assert "Perturbation tests" in page
    assert 'id="perturbations' in page


def test_the_names_of_the_release_before_are_read(evaluated: Path, tmp_path: Path) -> None:
    run = shutil.copytree(evaluated, tmp_path / "run")
    folder = run / "predictions" / "test_robustness"
    (folder / "perturbations.csv").rename(folder / "reliance.csv")
    folder.rename(run / "predictions" / "test_stress")
    metrics = evaluate(run, progress=False).metrics
    assert metrics["robustness"] == json.loads((evaluated / "report" / "metrics.json").read_text())["robustness"]
    assert metrics["stress"]["reliance"] == metrics["robustness"]["perturbations"] != []
    assert metrics["trust"] == metrics["selective"]


def test_a_perturbation_is_the_difference_of_the_metrics() -> None:
    made = table(200)
    worse = made.probabilities.copy()
    worse[:50] = np.eye(7)[0] * 0.94 + 0.01  # a quarter is said to be the first class
    frame = pd.DataFrame(np.concatenate([worse, made.probabilities[:80]]), columns=list(made.codes))
    frame = frame.assign(change=["ink"] * 200 + ["lesion"] * 80, image=[*made.images, *made.images[:80]])
    lesion, ink = measure_perturbations(made, frame.sample(frac=1, random_state=0), HAM10000, resamples=200)
    assert (lesion.change.name, lesion.images, lesion.flipped.value, lesion.destination) == ("lesion", 80, 0, "")
    assert lesion.difference.value == 0
    was = made.probabilities.argmax(axis=1)
    assert ink.flipped.value == pytest.approx(float((was[:50] != 0).mean() / 4))
    assert ink.towards[made.codes[0]] == pytest.approx(ink.flipped.value)
    assert ink.away[made.codes[0]] == 0
    assert ink.destination == f"{made.codes[0]} (100 % of them)"
    assert ink.difference.value == pytest.approx(ink.after.value - ink.before.value)
    assert ink.difference.high is not None
    assert ink.difference.high < 0
    assert ink.malignant_difference is not None
    assert ink.malignant_difference.value < 0
    assert measure_perturbations(made, frame, resamples=0)[0].malignant_before is None
    assert "| pen marks added | 200 |" in robustness_markdown(
        replace(read_robustness(made), perturbations=(lesion, ink))
    )
    with pytest.raises(DataError, match=r"unknown change 'inks'; did you mean 'ink'|unknown change 'inks'"):
        measure_perturbations(made, frame.replace({"change": {"ink": "inks"}}))
    with pytest.raises(DataError, match="twice"):
        measure_perturbations(made, pd.concat([frame, frame[:1]]))
    with pytest.raises(DataError, match="not in the table of predictions, the first 'strange'"):
        measure_perturbations(made, frame.replace({"image": {"image_0003": "strange"}}))
