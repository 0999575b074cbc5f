"""The packaged models: whole, small, equal to their golden vectors, and as good as their cards say on images they never
saw."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from lentigo.bundle import Bundle
from lentigo.config import parse_recipe
from lentigo.config.recipe import recipe_names
from lentigo.data import Samples, read_samples, split_samples
from lentigo.export import check_parity
from lentigo.inference import DEFAULT, find_bundle, load, packaged_bundles, predict_paths
from lentigo.training.samples import prepare_samples

MODELS = {
    "dermoscopy-7": ("ham10000-400", ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")),
    "isic-3": ("isic2017-384", ("mel", "nv", "sk")),
    "smartphone-6": ("pad_ufes_20", ("ack", "bcc", "mel", "nev", "scc", "sek")),
}


@pytest.fixture(scope="module", params=list(MODELS))
def bundle(request: pytest.FixtureRequest) -> Bundle:
    return find_bundle(request.param)


def test_these_are_the_packaged_models() -> None:
    assert set(packaged_bundles()) == set(MODELS)
    assert DEFAULT == "dermoscopy-7"


def test_the_oldest_onnx_runtime_reads_it(bundle: Bundle) -> None:
    """ONNX Runtime 1.20, the least that pyproject.toml asks for, is built with ONNX 1.16.1 (its compatibility
    table)."""
    assert '"onnxruntime>=1.20"' in (Path(__file__).resolve().parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    ir_version, opset = next(row[1:3] for row in onnx.helper.VERSION_TABLE if row[0] == "1.16.1")
    model = onnx.load(bundle.model)
    assert model.ir_version <= ir_version
    assert {one.domain: one.version <= opset for one in model.opset_import} == {"": True}


def test_it_is_small_and_has_its_recipe(bundle: Bundle) -> None:
    spec = bundle.spec
    assert bundle.model.stat().st_size < 3_500_000  # 0.6 MB of them separate dermoscopy from photographs
    assert tuple(code.lower() for code in spec.codes) == MODELS[spec.name][1]
    assert spec.network.parameters < 1_300_000
    assert spec.name in recipe_names()
    assert spec.abstention is not None
    assert spec.conformal is not None
    assert spec.operating_points


def test_it_gives_its_golden_answers(bundle: Bundle) -> None:
    report = check_parity(bundle)
    assert report.passed, str(report)


def test_the_card_says_what_it_must(bundle: Bundle) -> None:
    for text in (
        "Not a medical device",
        bundle.spec.data_licence.split(";")[0],
        "Limitations",
        bundle.spec.provenance.fingerprint[:16],
    ):
        assert text in bundle.card


def _its_test_part(bundle: Bundle, shared_data: Path) -> Samples:
    place = shared_data / MODELS[bundle.spec.name][0]
    if read_samples(place).fingerprint != bundle.spec.provenance.fingerprint:
        pytest.skip("the data at hand are not those of the packaged model")
    return prepare_samples(parse_recipe(bundle.spec.provenance.recipe), place).subset("test")


def test_its_test_figures_can_be_measured_again(bundle: Bundle, shared_data: Path) -> None:
    spec = bundle.spec
    test = _its_test_part(bundle, shared_data)
    codes: list[str] = []
    files = [test.file(i) for i in range(len(test))]
    summary = predict_paths(load(spec.name), files, progress=False, on_row=lambda row: codes.append(row.label))
    assert summary.failed == 0
    right = np.asarray(codes) == test.frame["label"].to_numpy()
    recalls = [right[test.targets == k].mean() for k in range(len(test.labels))]
    figures = spec.metrics["test"]
    # Stored as float16: an image at a boundary may change sides.
    assert np.mean(right) == pytest.approx(figures["accuracy"].value, abs=0.005)
    assert np.mean(recalls) == pytest.approx(figures["balanced_accuracy"].value, abs=0.01)


@pytest.mark.parametrize("pictures", ["ham10000-400", "isic2017-384", "pad_ufes_20"])
def test_it_answers_pictures_of_its_own_kind_only(bundle: Bundle, pictures: str, shared_data: Path) -> None:
    samples = read_samples(shared_data / pictures)
    if pictures == "isic2017-384":  # the graph that separates the kinds was trained on the others
        samples = split_samples(samples, "official").subset("test")
    files = [samples.file(i) for i in range(0, len(samples), max(1, len(samples) // 100))]
    summary = predict_paths(load(bundle.spec.name), files, progress=False)
    answered = 1 - summary.abstained / len(files)
    own = (pictures == "pad_ufes_20") == (bundle.spec.name == "smartphone-6")
    assert answered >= 0.88 if own else answered <= 0.15
    if not own:  # and the reason names the kind
        kind = "a plain photograph of a lesion" if pictures == "pad_ufes_20" else "dermoscopy"
        named = sum(
            count for reason, count in summary.reasons.items() if reason.startswith(f"the image looks like {kind}")
        )
        assert named >= 0.85 * summary.abstained


def test_age_and_site_move_smartphone_6_as_its_card_says() -> None:
    classifier = load("smartphone-6", threads=1)
    card = classifier.bundle.read("MODEL_CARD.md").decode()
    assert "## Age, sex and site" in card
    assert "age (326 patients), site (326 patients)" in card
    image = Image.new("RGB", (64, 64), (200, 150, 130))
    alone, told = classifier.predict(image), classifier.predict(image, {"age": 25, "site": "foot"})
    nev, bcc = (classifier.labels.codes.index(code) for code in ("nev", "bcc"))
    odds = [one.probabilities[nev] / one.probabilities[bcc] for one in (alone, told)]
    assert odds[1] / odds[0] == pytest.approx(np.exp(0.6519 + 1.1513 + 0.673 + 1.1944), rel=1e-3)
    assert (classifier.predict(image, {"sex": "male"}).probabilities == alone.probabilities).all()
