"""The classifier, its predictions and their pictures."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from html import escape
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image
from tiny_bundle import blob_image, png_bytes, tiny_bundle

import lentigo
from lentigo.bundle import Bundle, Conformal, Metadata, OperatingPoint, write_bundle
from lentigo.errors import BundleError, DataError, ImageError, OutputError
from lentigo.imaging import load
from lentigo.inference import Classifier, Prediction, overlay, save_heatmap, softmax, upsample
from lentigo.inference.heatmap import colour_table
from lentigo.inference.lesions import merge_rows
from lentigo.inference.table import Row
from lentigo.labels import HAM10000


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny")


@pytest.fixture(scope="module")
def classifier(bundle: Bundle) -> Classifier:
    return Classifier(bundle, threads=1)


@pytest.fixture(scope="module")
def prediction(classifier: Classifier, tmp_path_factory: pytest.TempPathFactory) -> Prediction:
    path = tmp_path_factory.mktemp("images") / "blob.png"
    blob_image(3).save(path)
    return classifier.predict(path)


def test_golden_vectors_are_reproduced(classifier: Classifier, bundle: Bundle) -> None:
    import base64

    for case in bundle.golden["cases"]:
        found = classifier.predict(base64.b64decode(case["png"]))
        assert found.extent == (case["width"], case["height"])
        assert found.pixels[::16, ::16].ravel().tolist() == case["pixels"]["values"]
        np.testing.assert_allclose(found.probabilities, case["probabilities"], atol=1e-6)
        np.testing.assert_allclose(found.logits, case["logits"], atol=1e-5)
        np.testing.assert_allclose(found.embedding, case["embedding"], atol=1e-5)
        np.testing.assert_allclose(found.cam.ravel(), case["cam"]["values"], atol=1e-5)


def test_a_notebook_shows_pictures_and_every_class(prediction: Prediction) -> None:
    page = prediction._repr_html_()
    assert page.count("data:image/") == 2  # the picture and its heat map
    for label in prediction.labels:
        assert f"<td>{escape(label.en)}</td>" in page
    assert "not a medical device" in page


def test_outputs_of_a_batch(classifier: Classifier) -> None:
    pixels = np.stack([load(blob_image(i), classifier.size) for i in range(5)])
    outputs = classifier.run(pixels)
    assert outputs.logits.shape == (5, 7)
    assert outputs.probabilities.dtype == np.float64
    assert outputs.cam is not None
    assert outputs.cam.shape == (5, 7, 8, 8)
    np.testing.assert_allclose(outputs.probabilities, softmax(outputs.logits, 1.5))
    np.testing.assert_allclose(outputs.probabilities.sum(axis=1), 1.0)
    for i in range(5):
        np.testing.assert_allclose(
            classifier.run(pixels[i : i + 1]).probabilities[0], outputs.probabilities[i], atol=1e-6
        )


def test_softmax_is_stable_and_tempered() -> None:
    assert softmax(np.array([1e4, 0.0])).tolist() == [1.0, 0.0]
    np.testing.assert_allclose(softmax(np.array([2.0, 0.0]), 2.0), [np.e / (1 + np.e), 1 / (1 + np.e)])
    logits = np.array([[3.0, 1.0, 0.2]])
    np.testing.assert_allclose(np.log(softmax(logits)) - np.log(softmax(logits))[:, :1], logits - logits[:, :1])


def test_list_keeps_its_order_and_agrees_with_single_images(classifier: Classifier) -> None:
    images = [blob_image(i) for i in range(40)]  # more than one chunk
    together = classifier.predict(images)
    assert isinstance(together, list)
    for image, found in zip(images, together, strict=True):
        np.testing.assert_allclose(found.probabilities, classifier.predict(image).probabilities, atol=1e-6)
    assert classifier.predict([]) == []


def test_threads_may_share_a_classifier(classifier: Classifier) -> None:
    sources = [png_bytes(blob_image(i)) for i in range(16)]
    expected = [classifier.predict(source).probabilities for source in sources]
    with ThreadPoolExecutor(4) as pool:
        for found, wanted in zip(pool.map(classifier.predict, sources * 4), expected * 4, strict=True):
            np.testing.assert_allclose(found.probabilities, wanted, atol=1e-6)


def test_wrong_pixels_and_threads_are_refused(classifier: Classifier, bundle: Bundle) -> None:
    with pytest.raises(ValueError, match=r"\(N, 64, 64, 3\) uint8"):
        classifier.run(np.zeros((1, 32, 32, 3), np.uint8))
    with pytest.raises(ValueError, match=r"\(N, 64, 64, 3\) uint8"):
        classifier.run(np.zeros((0, 64, 64, 3), np.uint8))
    with pytest.raises(ValueError, match="threads"):
        Classifier(bundle, threads=0)
    with pytest.raises(ImageError):
        classifier.predict(b"no image")


def test_prediction_answers(prediction: Prediction) -> None:
    order = np.argsort(-prediction.probabilities)
    assert prediction.label == prediction.labels.codes[order[0]]
    assert prediction.confidence == prediction.probabilities.max()
    assert [label.code for label, _ in prediction.top(3)] == [prediction.labels.codes[i] for i in order[:3]]
    assert prediction.malignant == pytest.approx(sum(p for label, p in prediction.top(7) if label.malignant))
    assert not prediction.abstained
    text = str(prediction)
    assert all(code in text for code in prediction.labels.codes)
    assert "not a medical device" in text
    assert prediction.label in repr(prediction)


def test_malignancy_is_unknown_for_own_classes(tmp_path: Path) -> None:
    found = Classifier(tiny_bundle(tmp_path / "own", classes=3), threads=1).predict(blob_image(0))
    assert found.malignant is None
    assert found.to_dict()["malignant"] is None
    assert "malignant" not in str(found)
    assert found.plot().width > 500


def test_abstaining_is_said_first(prediction: Prediction) -> None:
    from dataclasses import replace

    unsure = replace(prediction, reasons=("the image is blurred",))
    assert unsure.abstained
    assert "can't tell: the image is blurred" in str(unsure).splitlines()[0]
    assert "can't tell" in repr(unsure)
    assert unsure.to_dict()["reasons"] == ["the image is blurred"]


def test_json_holds_the_whole_answer(prediction: Prediction, tmp_path: Path) -> None:
    saved = json.loads(prediction.save(tmp_path / "deep" / "answer.json").read_text(encoding="utf-8"))
    assert saved == json.loads(prediction.to_json())
    assert saved["label"] == prediction.label
    assert saved["probabilities"] == dict(zip(prediction.labels.codes, prediction.probabilities, strict=True))
    assert "not a medical device" in saved["notice"]
    full = json.loads(prediction.to_json(arrays=True))
    np.testing.assert_allclose(full["cam"], prediction.cam)
    np.testing.assert_allclose(full["embedding"], prediction.embedding)


def test_saved_figure(prediction: Prediction, tmp_path: Path) -> None:
    with Image.open(prediction.save(tmp_path / "figure.png")) as figure:
        assert figure.width > 1000
        assert len(figure.convert("RGB").getcolors(10**7)) > 1000
    with pytest.raises(OutputError, match=r"\.json"):
        prediction.save(tmp_path / "answer.txt")
    with pytest.raises(OutputError, match="suffix"):
        prediction.plot(tmp_path / "figure.txt")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        prediction.save(tmp_path / "file" / "answer.json")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["figure.png", "file"]


def test_pictures_without_the_original(classifier: Classifier, tmp_path: Path) -> None:
    path = tmp_path / "wide.png"
    blob_image(1, 1200, 400).save(path)
    found = classifier.predict(path)
    assert found.picture().size == (512, 171)
    assert np.abs(np.asarray(found.picture()).astype(int) - np.asarray(Image.open(path).resize((512, 171)))).mean() < 3
    path.unlink()
    assert found.overlay().size == (512, 171)


def test_heatmap_follows_the_class(prediction: Prediction) -> None:
    assert prediction.cam is not None
    code = prediction.labels.codes[int(prediction.cam.reshape(7, -1).max(axis=1).argmax())]
    heat = prediction.heatmap(code)
    assert heat.shape == (60, 80)
    assert heat.min() >= 0
    assert heat.max() <= 1
    assert heat.max() > 0.9
    assert prediction.heatmap(code, 33).shape == (33, 33)
    hottest = np.unravel_index(prediction.cam[prediction.labels.index(code)].argmax(), (8, 8))
    y, x = np.unravel_index(heat.argmax(), heat.shape)
    assert abs(y / 60 - (hottest[0] + 0.5) / 8) < 0.1
    assert abs(x / 80 - (hottest[1] + 0.5) / 8) < 0.1
    with pytest.raises(DataError, match="did you mean 'mel'"):
        prediction.heatmap("mell")


def test_a_network_without_maps_says_so(tmp_path: Path) -> None:
    classifier = Classifier(tiny_bundle(tmp_path / "b", cam=False), threads=1)
    assert classifier.run(np.zeros((2, 64, 64, 3), np.uint8)).cam is None
    found = classifier.predict(blob_image(0))
    assert found.cam is None
    with pytest.raises(BundleError, match="no class-activation maps"):
        found.overlay()
    assert found.plot().width < 1000
    assert found.to_dict(arrays=True)["cam"] is None


def test_upsample_scales_to_one_and_keeps_zero() -> None:
    cam = np.zeros((2, 2), np.float32)
    assert upsample(cam, 8).max() == 0
    cam[0, 1] = 4
    big = upsample(cam, (8, 6))
    assert big.shape == (6, 8)
    assert big[0, 7] == 1
    assert big[5, 0] == 0


def test_overlay_leaves_cold_places_alone(tmp_path: Path) -> None:
    pixels = np.asarray(blob_image(2, 64, 64))
    cam = np.zeros((4, 4), np.float32)
    cam[0, 0] = 1
    drawn = overlay(pixels, cam)
    assert np.array_equal(drawn[32:, 32:], pixels[32:, 32:])
    assert not np.array_equal(drawn[:8, :8], pixels[:8, :8])
    assert np.array_equal(overlay(pixels, cam, alpha=0.0), pixels)
    assert Image.open(save_heatmap(tmp_path / "maps" / "a.png", pixels, cam)).size == (64, 64)


def test_colour_table_is_inferno_and_grows_lighter() -> None:
    table = colour_table().astype(float)
    lightness = table @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(lightness) > -0.5).all()
    matplotlib = pytest.importorskip("matplotlib")
    assert np.abs(table / 255 - matplotlib.colormaps["inferno"](np.linspace(0, 1, 256))[:, :3]).max() < 0.05


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_a_network_that_answers_nan_is_refused(poison: float, tmp_path: Path) -> None:
    classifier = Classifier(tiny_bundle(tmp_path / "bad", poison=poison), threads=1)
    with pytest.raises(BundleError, match="NaN or infinity"):
        classifier.predict(blob_image(0))


def test_graph_and_specification_must_belong_together(bundle: Bundle, tmp_path: Path) -> None:
    def rewritten(name: str, model: bytes) -> Bundle:
        files = {n: (bundle.path / n).read_bytes() for n in bundle.spec.files} | {"model.onnx": model}
        return write_bundle(tmp_path / name, bundle.spec, files)

    graph = onnx.load(bundle.model)
    del graph.graph.output[:1]
    with pytest.raises(BundleError, match=r"has no 'logits'.*do not belong together"):
        Classifier(rewritten("no_logits", graph.SerializeToString()))
    other = tiny_bundle(tmp_path / "five", classes=5)
    with pytest.raises(BundleError, match=r"'logits' has shape .* says \['N', 7\]"):
        Classifier(rewritten("five_classes", other.model.read_bytes()))
    with pytest.raises(BundleError, match="not an ONNX model"):
        Classifier(rewritten("garbage", b"no graph"))


def test_a_flipped_byte_or_vanished_model_is_found(tmp_path: Path) -> None:
    folder = tiny_bundle(tmp_path / "b").path
    content = bytearray((folder / "model.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "model.onnx").write_bytes(bytes(content))
    with pytest.raises(BundleError, match=r"model\.onnx: damaged"):
        lentigo.load(folder)
    (folder / "model.onnx").unlink()
    with pytest.raises(BundleError, match="missing"):
        lentigo.load(folder)


def test_a_model_that_vanishes_after_checking(tmp_path: Path) -> None:
    opened = tiny_bundle(tmp_path / "b")
    opened.model.unlink()
    with pytest.raises(BundleError, match=r"model\.onnx: missing from the bundle"):
        Classifier(opened)


def test_load_by_path_run_folder_and_name(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "run"
    tiny_bundle(run / "bundle")
    for place in (bundle.path, str(bundle.path), bundle.path / "spec.json", run):
        assert lentigo.load(place, threads=1).labels.codes == bundle.spec.codes
    with pytest.raises(BundleError, match="no bundle here"):
        lentigo.load(tmp_path / "none")
    packaged = tmp_path / "packaged"
    tiny_bundle(packaged / "dermoscopy-7", name="dermoscopy-7")
    monkeypatch.setattr("lentigo.inference.classifier.PACKAGED", packaged)
    monkeypatch.chdir(tmp_path)
    assert "dermoscopy-7" in repr(lentigo.load())
    with pytest.raises(BundleError, match="did you mean 'dermoscopy-7'"):
        lentigo.load("dermoscopy7")


def test_importing_lentigo_is_instant_and_predicting_needs_no_torch(bundle: Bundle, tmp_path: Path) -> None:
    blob_image(0).save(tmp_path / "a.png")
    program = (
        "import sys, lentigo\nheavy = {'torch', 'pandas', 'scipy', 'sklearn', 'matplotlib', 'pyarrow'}\nassert not"
        " {'numpy', 'PIL', 'onnxruntime', 'pydantic'} & set(sys.modules), 'import lentigo must load"
        f" nothing'\nprint(lentigo.load({str(bundle.path)!r}).predict({str(tmp_path / 'a.png')!r}).label)\nassert not"
        " heavy & set(sys.modules), heavy & set(sys.modules)\nassert 'rich' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in bundle.spec.codes
    assert done.stderr == ""


def test_unknown_attribute_of_the_package() -> None:
    assert {"load", "Prediction", "Classifier"} <= set(dir(lentigo))
    with pytest.raises(AttributeError, match="lode"):
        lentigo.lode  # noqa: B018


def test_metadata_multiply_the_probabilities_and_the_verdict_follows(tmp_path: Path) -> None:
    ratios = {"80": (2.0, *[0.0] * 6)}
    known = Metadata(log_ratios={"age": ratios, "site": {"nose": (0.0, 1.0, *[0.0] * 5)}}, groups={"age": 9, "site": 9})
    points = (OperatingPoint(name="low", threshold=0.5, sensitivity=0.9, specificity=0.5),)
    classifier = Classifier(tiny_bundle(tmp_path / "a", metadata=known, operating_points=points), threads=1)
    image = blob_image(1)
    alone = classifier.predict(image)
    assert isinstance(alone, Prediction)
    for nothing in ({}, {"age": None, "site": "unknown"}, {"age": 20, "sex": "female"}):
        same = classifier.predict(image, nothing)
        assert (same.probabilities == alone.probabilities).all()
    expected = alone.probabilities * np.exp([2.0, 1.0, *[0.0] * 5])
    expected /= expected.sum()
    first, second = classifier.predict([image, image], [{"age": "84", "site": "Nose"}, {}])
    assert first.probabilities == pytest.approx(expected)
    assert (first.logits == alone.logits).all()
    assert first.malignant == pytest.approx(expected[[0, 1, 4]].sum())
    assert first.image_alone == pytest.approx(alone.probabilities)
    assert second.image_alone == ()
    assert (second.probabilities == alone.probabilities).all()
    with pytest.raises(DataError, match="site 'heel' is not known; known: nose"):
        classifier.predict(image, {"site": "heel"})
    with pytest.raises(ValueError, match="metadata of 1 images for 2"):
        classifier.predict([image, image], [{}])
    with pytest.raises(DataError, match="tiny answers from the image alone"):
        Classifier(tiny_bundle(tmp_path / "b"), threads=1).predict(image, {"age": 84})


@pytest.mark.parametrize(("ratio", "reached"), [(-3.0, [True, False]), (3.0, [True, True])])
def test_metadata_raise_concern_and_never_lower_it(tmp_path: Path, ratio: float, reached: list[bool]) -> None:
    """Lowered malignant probabilities leave what the image alone reaches; raised ones reach more."""
    ratios = tuple(ratio if code in (0, 1, 4) else 0.0 for code in range(7))
    known = Metadata(log_ratios={"age": {"80": ratios}}, groups={})
    image = blob_image(1)
    share = Classifier(tiny_bundle(tmp_path / "a", metadata=known), threads=1).predict(image).malignant
    assert share is not None
    points = tuple(
        OperatingPoint(name=name, threshold=share + step, sensitivity=0.9, specificity=0.5)
        for name, step in (("below", -0.01), ("above", 0.01))
    )
    conformal = Conformal(coverage=0.9, quantiles=dict.fromkeys(HAM10000.codes, 0.9))
    bundle = tiny_bundle(tmp_path / "b", metadata=known, operating_points=points, conformal=conformal)
    classifier = Classifier(bundle, threads=1)
    alone, told = classifier.predict(image), classifier.predict(image, {"age": 84})
    assert list(alone.operating_points.values()) == [True, False]
    assert list(told.operating_points.values()) == reached
    assert told.prediction_set == alone.prediction_set
    assert (told.malignant > share) == (ratio > 0)  # type: ignore[operator]
    # One row a lesion: the same, of the means.
    rows = [Row.of(name, one.probabilities.tolist(), one.label, one) for name, one in (("x", told), ("y", alone))]
    (merged,) = merge_rows(rows, lambda _: "lesion", bundle.spec)
    assert merged.flagged == tuple(name for name, hit in zip(("below", "above"), reached, strict=True) if hit)


def test_a_bundle_with_metadata_is_of_a_format_that_older_readers_refuse(tmp_path: Path) -> None:
    known = Metadata(log_ratios={"age": {"80": (0.0,) * 7}}, groups={"age": 9})
    written = [tiny_bundle(tmp_path / n, metadata=m).path / "spec.json" for n, m in (("a", known), ("b", None))]
    found = [json.loads(path.read_text()) for path in written]
    assert [one["format"] for one in found] == [3, 2]
    assert ["metadata" in one for one in found] == [True, False]
    found[0]["metadata"]["log_ratios"]["age"]["80"] = [0.0] * 6
    written[0].write_text(json.dumps(found[0]))
    with pytest.raises(BundleError, match="metadata needs one ratio a class"):
        Bundle.open(written[0].parent)
