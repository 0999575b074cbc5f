"""Trust: scores against slow versions, the graph against numpy, sets that cover, quality with reasons, and "can't tell"
on the screen."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter
from tiny_bundle import blob_image, tiny_bundle
from tiny_run import tiny_data, tiny_export, tiny_graph

from lentigo.bundle import Abstention, Bundle, Conformal, OperatingPoint
from lentigo.cli.app import main
from lentigo.errors import BundleError, DataError
from lentigo.evaluation import ood
from lentigo.evaluation.conformal import fit_conformal, measure_coverage
from lentigo.evaluation.intervals import Resampling
from lentigo.evaluation.selective import measure_selective
from lentigo.export.ood_score import append_atypicality
from lentigo.export.session import Session
from lentigo.inference import Classifier, predict_paths
from lentigo.inference.quality import HINTS, REASONS, assess_quality, measure_quality
from lentigo.labels import HAM10000
from lentigo.resampler import resize
from lentigo.synthetic.phantom import render_phantom
from lentigo.synthetic.textures import BLANKS, TEXTURES, render_texture
from lentigo.workflow import evaluate, measure_ood

CODES = ("a", "b", "c")


@pytest.fixture(scope="module")
def points() -> tuple[np.ndarray, np.ndarray]:
    """Embeddings of three classes in 12 dimensions, most of whose spread lies in a few of them."""
    rng = np.random.default_rng(0)
    targets = np.repeat(np.arange(3), 100)
    spread = rng.normal(size=(300, 12)) * np.geomspace(2, 0.05, 12)
    return 3 + spread + 2 * rng.normal(size=(3, 12))[targets] * np.geomspace(1, 0.05, 12), targets


def features(embedding: np.ndarray, logits: np.ndarray | None = None) -> ood.Features:
    return ood.Features(np.zeros((len(embedding), 3)) if logits is None else logits, embedding)


def test_scores_of_logits() -> None:
    logits = np.random.default_rng(0).normal(0, 3, (20, 4))
    given = features(np.zeros((20, 2)), logits)
    for i, row in enumerate(logits):
        total = sum(np.exp(value) for value in row)
        assert ood.energy(given)[i] == pytest.approx(-np.log(total))
        assert ood.max_softmax(given)[i] == pytest.approx(-max(np.exp(value) / total for value in row))


@pytest.mark.parametrize("normalised", [True, False])
def test_gaussians_of_full_rank_are_mahalanobis_distances(
    points: tuple[np.ndarray, np.ndarray], normalised: bool
) -> None:
    embedding, targets = points
    fitted = ood.fit_gaussians(embedding, targets, rank=11, normalised=normalised, rest=False, unit=False)
    used = embedding / np.linalg.norm(embedding, axis=1, keepdims=True) if normalised else embedding
    axes = np.linalg.svd(used - used.mean(axis=0), full_matrices=False)[2][:11]  # without the least axis
    inner = used @ axes.T
    means = np.stack([inner[targets == k].mean(axis=0) for k in range(3)])
    inverse = np.linalg.inv(
        sum((inner[i] - means[k])[:, None] * (inner[i] - means[k]) for i, k in enumerate(targets)) / len(targets)
    )
    found = fitted(features(embedding))
    for i in range(0, 300, 37):
        slow = min((inner[i] - mean) @ inverse @ (inner[i] - mean) for mean in means)
        assert found[i] == pytest.approx(np.sqrt(slow), rel=1e-6)


def test_the_rest_outside_the_axes_counts(points: tuple[np.ndarray, np.ndarray]) -> None:
    embedding, targets = points
    fitted = ood.fit_gaussians(embedding, targets, rank=4)
    found = fitted(features(embedding))
    assert np.median(found) == pytest.approx(1)
    unit = embedding / np.linalg.norm(embedding, axis=1, keepdims=True)
    shifted = unit - fitted.centre
    outside = shifted - shifted @ fitted.basis @ fitted.basis.T
    nearest = [min(sum(fitted.scale * (row - mean) ** 2) for mean in fitted.means) for row in shifted @ fitted.basis]
    np.testing.assert_allclose(found**2, np.array(nearest) + fitted.rest_scale * (outside**2).sum(axis=1), rtol=1e-9)
    np.testing.assert_allclose(fitted.basis.T @ fitted.basis, np.eye(4), atol=1e-9)
    away = embedding.copy()
    away[:, -1] += 3  # an axis that hardly varies in training
    assert np.median(fitted(features(away))) > np.quantile(found, 0.99)


def test_relative_mahalanobis_and_neighbours_against_slow_versions(points: tuple[np.ndarray, np.ndarray]) -> None:
    embedding, targets = points
    given = features(embedding[::29])
    classes = ood.fit_gaussians(embedding, targets, rank=5, normalised=False, rest=False, unit=False)
    whole = ood.fit_gaussians(embedding, np.zeros_like(targets), rank=5, normalised=False, rest=False, unit=False)
    expected = classes(given) ** 2 - whole(given) ** 2
    np.testing.assert_allclose(ood.relative_mahalanobis(embedding, targets, rank=5)(given), expected)
    unit = embedding / np.linalg.norm(embedding, axis=1, keepdims=True)
    slow = [sorted(np.linalg.norm(unit[i] - other) for other in unit)[9] for i in range(0, 300, 29)]
    np.testing.assert_allclose(ood.nearest_neighbours(embedding, block=4)(given), slow, atol=1e-7)


def test_separation_counts_pairs_and_passes() -> None:
    rng = np.random.default_rng(1)
    inside, outside = rng.normal(0, 1, 200).round(1), rng.normal(2, 1, 50).round(1)
    found = ood.separate(inside, outside)
    pairs = [(o > i) + 0.5 * (o == i) for o in outside for i in inside]
    threshold = ood.threshold_at(inside)
    assert np.mean(inside <= threshold) >= 0.95
    assert np.mean(inside < threshold) < 0.95
    assert (found.images, found.auroc) == (50, pytest.approx(np.mean(pairs)))
    assert found.fpr == np.mean(outside <= threshold)


def test_scores_refuse_too_little_data() -> None:
    with pytest.raises(DataError, match="needs 8 training images or more"):
        ood.fit_gaussians(np.ones((7, 3)), np.zeros(7, int))
    with pytest.raises(DataError, match="all the same"):
        ood.fit_gaussians(np.ones((9, 3)), np.zeros(9, int))
    with pytest.raises(DataError, match="there are none"):
        ood.threshold_at(np.array([]))


@pytest.mark.parametrize("normalised", [True, False])
def test_the_graph_gives_the_numbers_of_numpy(normalised: bool) -> None:
    content = tiny_graph()
    image = np.random.default_rng(0).normal(size=(40, 3, 64, 64)).astype(np.float32)
    before = Session(content)(image)
    targets = np.arange(40) % 3
    fitted = ood.fit_gaussians(before["embedding"].astype(np.float64), targets, normalised=normalised)
    after = Session(append_atypicality(content, fitted))(image)
    expected = fitted(features(before["embedding"].astype(np.float64)))
    assert after["atypicality"].shape == (40,)
    np.testing.assert_allclose(after["atypicality"], expected, rtol=5e-3)  # the basis is stored as float16
    for name, value in before.items():
        np.testing.assert_array_equal(after[name], value)
    with pytest.raises(BundleError, match="cannot take an atypicality"):
        append_atypicality(append_atypicality(content, fitted), fitted)


def draw(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities and classes drawn from them, so that calibration and test images are exchangeable; class c is
    rare."""
    targets = rng.choice(3, n, p=[0.6, 0.36, 0.04])
    logits = rng.normal(0, 1, (n, 3)) + 1.5 * np.eye(3)[targets]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return probabilities, targets


def test_prediction_sets_cover_exchangeable_images_in_every_class() -> None:
    rng = np.random.default_rng(0)
    covered: dict[int, list[float]] = {0: [], 1: [], 2: []}
    for _ in range(60):
        conformal = fit_conformal(*draw(rng, 800), CODES, coverage=0.9)
        probabilities, targets = draw(rng, 800)
        inside = conformal.contains(probabilities, CODES)[np.arange(800), targets]
        for k in range(3):
            covered[k].append(inside[targets == k].mean())
    for k, tolerance in ((0, 0.01), (1, 0.01), (2, 0.03)):
        assert np.mean(covered[k]) == pytest.approx(0.9, abs=tolerance)


def test_rare_classes_share_a_quantile() -> None:
    rng = np.random.default_rng(0)
    probabilities, targets = draw(rng, 500)
    rows = np.concatenate(
        [np.flatnonzero(targets == 0)[:100], np.flatnonzero(targets == 1)[:12], np.flatnonzero(targets == 2)[:12]]
    )
    probabilities, targets = probabilities[rows], targets[rows]
    conformal = fit_conformal(probabilities, targets, CODES)
    scores = 1 - probabilities[np.arange(len(targets)), targets]
    assert conformal.pooled == ("b", "c")
    # Ceil(25 * 0.9) = 23rd.
    assert conformal.quantiles["b"] == conformal.quantiles["c"] == pytest.approx(np.sort(scores[targets > 0])[22])
    assert conformal.quantiles["a"] == pytest.approx(np.sort(scores[targets == 0])[90])  # ceil(101 * 0.9) = 91st
    few = fit_conformal(probabilities[:5], targets[:5], CODES)
    assert set(few.quantiles.values()) == {1.0}  # too few to promise anything: every class is named
    assert few.contains(probabilities, CODES).all()
    with pytest.raises(DataError, match="above 0 and below 1"):
        fit_conformal(probabilities, targets, CODES, coverage=1.0)


def test_coverage_is_counted_by_class() -> None:
    probabilities = np.array([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.3, 0.3, 0.4], [0.05, 0.9, 0.05]])
    targets = np.array([0, 0, 1, 1])
    conformal = Conformal(coverage=0.9, quantiles={"a": 0.75, "b": 0.65, "c": 0.97})
    found = measure_coverage(probabilities, targets, ["p", "q", "r", "s"], conformal, CODES, resamples=50)
    assert found.overall.value == 0.5
    assert (found.per_class["a"].value, found.per_class["b"].value) == (0.5, 0.5)
    assert not found.per_class["c"].defined
    assert (found.size, found.single, found.empty) == (2.0, 0.0, 0.0)


def test_selective_accuracy_is_that_of_the_least_doubtful() -> None:
    doubt = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
    wrong = np.array([0, 0, 0, 0, 1, 0, 0, 1, 1, 1], bool)
    found = measure_selective("doubt", doubt, wrong, Resampling.of(np.arange(10), resamples=20))
    assert {share: e.value for share, e in found.accuracy.items()} == pytest.approx(
        {1.0: 0.6, 0.9: 6 / 9, 0.8: 0.75, 0.7: 6 / 7, 0.5: 0.8}
    )
    assert found.aurc.value == pytest.approx(np.mean(np.cumsum(wrong) / np.arange(1, 11)))


def square(image: Image.Image) -> np.ndarray:
    return resize(image, 224)


@pytest.mark.parametrize("code", ["mel", "nv", "bcc", "vasc", "vitiligo"])
def test_good_phantoms_have_no_fault(code: str) -> None:
    assert assess_quality(square(render_phantom(code, 1, 300))) == ((), ())


def test_spoilt_phantoms_are_refused_with_a_reason() -> None:
    good = square(render_phantom("mel", 1, 300))
    blurred = np.asarray(Image.fromarray(good).filter(ImageFilter.GaussianBlur(5)))
    cases = {
        "dark": (good * 0.2).astype(np.uint8),
        "bright": np.minimum(good * 4.0, 255).astype(np.uint8),
        "flat": np.full_like(good, 128),
        "blurred": blurred,
    }
    for fault, pixels in cases.items():
        assert assess_quality(pixels) == ((REASONS[fault],), ())


def test_mild_faults_are_hints() -> None:
    good = square(render_phantom("mel", 1, 300))
    dim = (good * (58 / measure_quality(good).brightness)).astype(np.uint8)
    assert assess_quality(dim) == ((), (HINTS["dark"],))


def test_measures_against_slow_versions() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (37, 37, 3), dtype=np.uint8)
    luma = [[(77 * int(r) + 150 * int(g) + 29 * int(b)) / 256 for r, g, b in row] for row in pixels]
    inner = [
        4 * luma[y][x] - luma[y - 1][x] - luma[y + 1][x] - luma[y][x - 1] - luma[y][x + 1]
        for y in range(1, 36)
        for x in range(1, 36)
    ]
    blocks = [
        [pixels[2 * r : 2 * r + 2, 2 * c : 2 * c + 2].reshape(4, 3).mean(axis=0) for c in range(14)] for r in range(14)
    ]
    means = np.array(blocks).reshape(-1, 3)
    axes = (means @ [77 / 256, 150 / 256, 29 / 256], means[:, 0] - means[:, 1], means[:, :2].mean(axis=1) - means[:, 2])
    found = measure_quality(pixels)
    assert found.brightness == pytest.approx(np.mean(luma))
    assert found.overexposed == np.mean(np.array(luma) >= 250)
    assert found.sharpness == pytest.approx(np.var(inner), rel=1e-5)
    assert found.structure == pytest.approx(np.sqrt(sum(np.var(axis) for axis in axes)))


@pytest.mark.parametrize("kind", [*TEXTURES, *BLANKS])
def test_textures_are_seeded_pictures(kind: str) -> None:
    first, again, other = (np.asarray(render_texture(kind, seed, 48)) for seed in (3, 3, 4))
    assert first.shape == (48, 48, 3)
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert (first.std(axis=(0, 1)).max() == 0) == (kind == "blank")


def test_unknown_textures_are_answered_with_the_nearest() -> None:
    with pytest.raises(DataError, match="did you mean 'marble'"):
        render_texture("marbel", 0, 64)
    with pytest.raises(DataError, match="16 to 4096"):
        render_texture("wood", 0, 8)


RULES = {
    "abstention": Abstention(score="energy", threshold=-1e9, accepted=0.95, images=20),
    "conformal": Conformal(coverage=0.9, quantiles=dict.fromkeys(HAM10000.codes, 0.0) | {"mel": 1.0, "nv": 1.0}),
    "operating_points": (OperatingPoint(name="sensitivity_90", threshold=0.0, sensitivity=0.9, specificity=0.5),),
}


@pytest.fixture(scope="module")
def wary(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle to which every image is unlike its training images."""
    return tiny_bundle(tmp_path_factory.mktemp("bundles") / "wary", name="wary", **RULES)  # type: ignore[arg-type]


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "picture.png"
    blob_image(3).save(path)
    return path


def test_a_prediction_carries_what_the_bundle_knows(wary: Bundle, picture: Path) -> None:
    answer = Classifier(wary).predict(picture)
    assert answer.abstained
    assert answer.reasons == ("the image is unlike those the model was trained on",)
    assert answer.prediction_set == tuple(label.code for label, _ in answer.top(7) if label.code in {"mel", "nv"})
    assert answer.operating_points == {"sensitivity_90": True}
    logits = answer.logits.astype(np.float64)
    assert answer.atypicality == pytest.approx(-np.log(np.exp(logits).sum()), abs=1e-4)
    plain = json.loads(answer.to_json())
    assert (plain["abstained"], plain["operating_points"]) == (True, {"sensitivity_90": True})
    assert plain["prediction_set"] == list(answer.prediction_set or ())
    assert plain["atypicality"] == answer.atypicality
    assert "can't tell: the image is unlike" in str(answer)


def test_rows_and_screen_say_that_it_cannot_tell(
    wary: Bundle, picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = []
    summary = predict_paths(Classifier(wary), picture, progress=False, on_row=rows.append)
    answer = Classifier(wary).predict(picture)
    assert summary.abstained == 1
    assert "can't tell 1" in str(summary)
    (row,) = rows
    assert (row.reasons, row.hints, row.prediction_set) == (answer.reasons, answer.hints, answer.prediction_set)
    assert row.atypicality == pytest.approx(answer.atypicality)
    assert row.malignant_share == pytest.approx(answer.malignant)
    assert row.flagged == ("sensitivity_90",)
    monkeypatch.setenv("COLUMNS", "300")
    with pytest.raises(SystemExit) as end:
        main(["predict", str(picture), "--model", str(wary.path)])
    assert end.value.code == 0
    assert "can't tell: the image is unlike those" in re.sub(r"\s+", " ", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("domain", "colour", "modality", "reason"),
    [
        ("dermoscopy", 0, "dermoscopy", "the image is unlike those the model was trained on"),
        ("dermoscopy", 1, "clinical", "the image looks like a plain photograph of a lesion, not like dermoscopy"),
        ("dermoscopy", 2, "other", "the image looks like another kind of picture, not like dermoscopy"),
        ("clinical", 0, "dermoscopy", "the image looks like dermoscopy, not like a plain photograph of a lesion"),
        ("phantom", 1, "clinical", "the image is unlike those the model was trained on"),
    ],
)
def test_a_picture_of_another_kind_is_named(
    tmp_path: Path, domain: str, colour: int, modality: str, reason: str
) -> None:
    written = tiny_bundle(tmp_path / "kinds", name="kinds", modality=True, **RULES)  # type: ignore[arg-type]
    spec = json.loads((written.path / "spec.json").read_text())
    (written.path / "spec.json").write_text(json.dumps(spec | {"domain": domain}))
    pixels = np.array(blob_image(3))
    pixels[..., [i for i in range(3) if i != colour]] //= 3
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    for maps in (True, False):
        classifier = Classifier(Bundle.open(written.path), maps=maps)
        answer = classifier.predict(tmp_path / "picture.png")
        assert (answer.modality, answer.to_dict()["modality"]) == (modality, modality)
        assert answer.reasons[-1] == reason
        rows = []
        predict_paths(classifier, tmp_path / "picture.png", progress=False, on_row=rows.append)
        assert rows[0].reasons == answer.reasons


@pytest.mark.parametrize(("colour", "offered"), [(1, True), (2, False)])
def test_the_command_line_names_the_model_that_fits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], colour: int, offered: bool
) -> None:
    written = tiny_bundle(tmp_path / "kinds", name="kinds", modality=True, **RULES)  # type: ignore[arg-type]
    spec = json.loads((written.path / "spec.json").read_text())
    (written.path / "spec.json").write_text(json.dumps(spec | {"domain": "dermoscopy"}))
    for seed in (3, 4):
        pixels = np.array(blob_image(seed))
        pixels[..., [i for i in range(3) if i != colour]] //= 3
        (tmp_path / "set").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "set" / f"{seed}.png")
    with pytest.raises(SystemExit):
        main(["predict", str(tmp_path / "set"), "--model", str(written.path), "--quiet"])
    out = " ".join(capsys.readouterr().out.split())
    assert "not like dermoscopy 2" in out
    assert ("for a plain photograph of a lesion: --model smartphone-6" in out) is offered


def test_a_blank_image_is_refused_by_any_bundle(tmp_path: Path) -> None:
    plain = Classifier(tiny_bundle(tmp_path / "plain"))
    answer = plain.predict(np.full((80, 80, 3), 150, np.uint8))
    assert answer.reasons == ("no lesion in the frame",)
    assert (answer.atypicality, answer.prediction_set) == (None, None)


def test_a_bundle_of_format_1_still_loads(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "old")
    path = bundle.path / "spec.json"
    spec = json.loads(path.read_text())
    assert spec.pop("format") == 2
    del spec["outputs"]["atypicality"]
    path.write_text(json.dumps({"format": 1, **spec}))
    answer = Classifier(Bundle.open(bundle.path)).predict(np.asarray(blob_image(3)))
    assert (answer.abstained, answer.atypicality) == (False, None)


def test_abstention_without_the_output_is_refused(wary: Bundle, tmp_path: Path) -> None:
    spec = json.loads((wary.path / "spec.json").read_text())
    spec["outputs"]["atypicality"] = False
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    with pytest.raises(BundleError, match="abstention needs the graph's output atypicality"):
        Bundle.open(tmp_path)


def test_export_fills_everything_in() -> None:
    bundle = tiny_export()
    spec = bundle.spec
    assert spec.format == 2
    assert spec.outputs.atypicality
    assert spec.abstention is not None
    assert spec.abstention.images == 21
    # Dermoscopy phantoms are its own kind.
    assert set(spec.abstention.measured) == {"clinical phantoms", "textures", "noise", "blank"}
    assert spec.conformal is not None
    assert spec.conformal.coverage == 0.9
    assert "coverage" in spec.metrics["test"]
    assert len(spec.operating_points) == 2
    for section in ("## Prediction sets", "## Abstention", "`atypicality` (N,)"):
        assert section in bundle.card


def test_the_study_measures_every_score_on_every_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lentigo.workflow.ood.SYNTHETIC_IMAGES", 10)
    others = tmp_path / "others"
    others.mkdir()
    for i in range(3):
        blob_image(i).save(others / f"{i}.png")
    measures, folder = measure_ood(
        tiny_export().path, tiny_data(), others={"blobs": others}, out=tmp_path / "out", resamples=20, progress=False
    )
    written = json.loads((folder / "ood.json").read_text())
    assert len(written["scores"]) == 8
    assert {"energy", ood.CARRIED, "the bundle's own output"} < set(written["scores"])
    for found in written["scores"].values():
        assert set(found["sets"]) == {"clinical phantoms", "textures", "noise", "blank", "blobs"}
        assert found["sets"]["blobs"]["images"] == 3
    means = {
        score: np.mean([one["fpr_at_95_tpr"] for one in found["sets"].values()])
        for score, found in written["scores"].items()
    }
    assert means[written["best"]] == min(
        means[score] for score in measures.separations if score != "the bundle's own output"
    )
    carried, own = written["scores"][ood.CARRIED]["sets"], written["scores"]["the bundle's own output"]["sets"]
    assert all(abs(carried[name]["auroc"] - own[name]["auroc"]) < 0.05 for name in carried)
    assert written["answered"]["blank"]["fraction"] == 0.0  # nothing stands out on a blank
    assert written["reasons"]["darkened copies"]["dark"] > 0.9
    text = (folder / "ood.md").read_text()
    assert "## Prediction sets on the test images" in text
    assert (folder / "ood.png").stat().st_size > 10_000
    with pytest.raises(DataError, match="not the data that"):
        measure_ood(tiny_export().path, other_data(tmp_path), out=tmp_path / "o", progress=False)


def other_data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    for code in ("mel", "nv"):
        (folder / code).mkdir(parents=True)
        for seed in range(3):
            render_phantom(code, seed, 48).save(folder / code / f"{code}{seed}.png")
    return folder


def test_the_report_shows_coverage_and_selective_accuracy(tmp_path: Path) -> None:
    result = evaluate(tiny_export().path, data=tiny_data(), out=tmp_path / "out", progress=False)
    selective = result.metrics["selective"]
    assert selective["coverage"]["aim"] == 0.9
    assert selective["coverage"]["overall"]["value"] == pytest.approx(
        tiny_export().spec.metrics["test"]["coverage"].value
    )
    assert [one["by"] for one in selective["selective"]] == ["confidence", "atypicality"]
    accuracy = result.metrics["metrics"]["overall"]["accuracy"]["value"]
    assert all(one["accuracy"]["1"]["value"] == pytest.approx(accuracy) for one in selective["selective"])
    assert selective["selective"][0]["aurc"]["value"] == pytest.approx(
        result.metrics["metrics"]["overall"]["aurc"]["value"]
    )
    page = result.index.read_text()
    assert 'id="selective"' in page
    assert "accuracy, by atypicality" in page
