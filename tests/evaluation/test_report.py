from __future__ import annotations

import json
import math
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from evaluation_tables import run_folder, table, write_table
from PIL import Image

from lentigo.bundle import OperatingPoint
from lentigo.errors import DataError, OutputError
from lentigo.evaluation import (
    Calibration,
    evaluate_predictions,
    fit_temperature,
    maps_path,
    read_predictions,
    read_run,
    write_report,
)
from lentigo.evaluation import plots as drawing
from lentigo.evaluation.report import _cautions, _reassurance
from lentigo.labels import HAM10000


class Page(HTMLParser):
    """What matters of a page: tags, ids, links, pictures and text."""

    VOID = frozenset({"meta", "br", "img", "hr", "input", "link"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: Counter[str] = Counter()
        self.ids: Counter[str] = Counter()
        self.attributes: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        assert self.open == [], f"left open: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes.append((tag, dict(attrs)))
        if dict(attrs).get("id"):
            self.ids[str(dict(attrs)["id"])] += 1
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = run_folder(tmp_path_factory.mktemp("runs") / "caco")
    write_report(run, resamples=200, gallery=4)
    return run


@pytest.fixture(scope="module")
def page(folder: Path) -> Page:
    return Page((folder / "report" / "index.html").read_text(encoding="utf-8"))


def test_the_page_is_whole_and_asks_for_nothing(folder: Path, page: Page) -> None:
    text = (folder / "report" / "index.html").read_text(encoding="utf-8")
    assert max(page.ids.values()) == 1  # also over all plots
    for tag, attributes in page.attributes:
        for name in ("src", "srcset", "data", "action"):
            assert (attributes.get(name) or "data:").startswith("data:"), (tag, attributes)
        target = attributes.get("href") or attributes.get("xlink:href") or "#"
        assert tag != "link"
        if target.startswith("#"):
            assert target == "#" or page.ids[target[1:]] == 1, target
        else:
            assert (folder / "report" / target).is_file(), target  # a file beside the page, opened by hand only
    assert "script" not in page.tags
    assert "@import" not in text
    assert re.findall(r"url\((?!#)", text) == []


def test_the_page_says_what_it_must(page: Page) -> None:
    for words in (
        "Research use only, not a medical device",
        "mobilenetv3_small_caco",
        "1,271,958",
        "0123456789abcdef",
        "1:01:02",
        "a processor, 2 cores",
        "lentigo train caco --data data",
        "no lesion evaluated here was seen in training",
        "Malignant against benign",
        "Sensitivity for malignant, threshold 0.",
        "PPV, %",
        "NPV, %",
        "Thresholds chosen beforehand, on validation images",
        "The worst errors",
        "Reading guide",
        "melanocytic nevus",
        "under 30",
        " lesions by lesion_id",
    ):
        assert words in page.text, words
    assert "a class without images" not in page.text


def test_the_page_can_be_used_without_seeing_it(page: Page) -> None:
    for tag, attributes in page.attributes:
        if tag == "img":
            assert attributes.get("alt")
        if tag == "svg":
            assert attributes.get("role") == "img"
            assert attributes.get("aria-label")
        if tag == "th":
            assert attributes.get("scope") in ("col", "row", "rowgroup")
        if tag == "html":
            assert attributes.get("lang") == "en"
    assert page.tags["main"] == page.tags["h1"] == 1


def test_metrics_json_names_everything_a_result_needs(folder: Path) -> None:
    summary = json.loads((folder / "report" / "metrics.json").read_text(encoding="utf-8"))
    for key in ("protocol", "split", "split_seed", "seed", "command", "fingerprint", "hardware", "wall_seconds"):
        assert summary[key] is not None, key
    assert "data_root" not in summary
    test, val = (read_predictions(folder / "predictions" / f"{name}.csv") for name in ("test", "val"))
    temperature = fit_temperature(val.probabilities, val.targets)
    expected = evaluate_predictions(test, HAM10000, resamples=200, temperature=temperature)
    found = summary["metrics"]
    assert found["temperature"] == pytest.approx(temperature)
    assert found["overall"] == json.loads(json.dumps(expected.to_dict()["overall"]))
    assert found["malignant"]["thresholds_chosen_on"] == "validation"
    accuracy = found["overall"]["accuracy"]
    assert accuracy["low"] < accuracy["value"] < accuracy["high"]
    assert {s["attribute"] for s in summary["subgroups"]} == {"age", "sex", "site"}


def test_plots_lie_beside_the_page(folder: Path) -> None:
    names = (
        "confusion",
        "roc",
        "precision_recall",
        "reliability",
        "risk_coverage",
        "malignant",
        "training",
        "selective",
    )
    assert {p.name for p in (folder / "report" / "plots").iterdir()} == {
        f"{n}.{s}" for n in names for s in ("png", "svg")
    }
    for name in names:
        with Image.open(folder / "report" / "plots" / f"{name}.png") as image:
            assert min(image.size) > 500
            assert len(image.convert("RGB").getcolors(1 << 24) or []) > 20  # something is drawn
        root = ElementTree.parse(folder / "report" / "plots" / f"{name}.svg").getroot()
        assert root.tag.endswith("svg")


def test_the_gallery_shows_the_worst_errors_with_maps(folder: Path, page: Page) -> None:
    run = read_run(folder)
    said = run.test.probabilities.argmax(axis=1)
    wrong = said != run.test.targets
    pictures = [a for tag, a in page.attributes if tag == "img"]
    assert len(pictures) == 8  # four errors, each plain and with its map
    given = run.test.probabilities[np.arange(len(run.test)), run.test.targets]
    worst = run.test.images[np.flatnonzero(wrong)[given[wrong].argmin()]]
    assert str(pictures[0]["alt"]).startswith(f"{worst}: ")
    assert pictures[0]["src"] != pictures[1]["src"]
    assert f"of {wrong.sum()} wrong answers" in page.text


def test_predictions_alone_make_a_report(tmp_path: Path) -> None:
    path = write_table(tmp_path / "predictions.csv", table(120, 8))
    index = write_report(path, tmp_path / "out", resamples=100).index
    page = Page(index.read_text(encoding="utf-8"))
    assert "No picture: " in page.text
    assert "Thresholds chosen on these same images: optimistic" in page.text
    assert "no temperature was applied here" in page.text
    assert "training" not in page.ids
    assert json.loads((tmp_path / "out" / "metrics.json").read_text(encoding="utf-8"))["protocol"] is None
    assert "img" not in page.tags


def test_a_bundle_on_other_data_brings_its_own_facts(tmp_path: Path) -> None:
    path = write_table(tmp_path / "predictions" / "test.csv", table(120, 8))
    point = OperatingPoint(name="sensitivity_90", threshold=0.2, sensitivity=0.9, specificity=0.5)
    index = write_report(
        tmp_path,
        resamples=100,
        title="my-bundle <b>",
        record={"protocol": "image", "network": "a & b"},
        calibration=Calibration(points=(point,)),
    ).index
    text = index.read_text(encoding="utf-8")
    assert index == tmp_path / "report" / "index.html"
    assert "my-bundle &lt;b&gt;" in text
    assert "a &amp; b" in text
    assert "Patients unknown." in text
    assert "0.200" in text
    assert path.is_file()


LESIONS, PATIENTS = {"kind": "layout", "name": "lesion_id"}, {"kind": "column", "name": "patient"}


@pytest.mark.parametrize(
    ("split", "facts", "expected"),
    [
        ("test", {"protocol": "lesion", "groups": LESIONS}, "no lesion evaluated here was seen in training"),
        ("test", {"protocol": "patient", "groups": LESIONS}, "no lesion evaluated here was seen in training"),
        (
            "test",
            {"protocol": "patient", "trained_on": 0, "groups": PATIENTS},
            "no patient evaluated here was seen in training",
        ),
        # Of before groups were kept.
        ("test", {"protocol": "lesion", "data": "ham10000"}, "no lesion evaluated here was seen in training"),
        ("test", {"protocol": "lesion"}, "leak between the parts of the split cannot be excluded"),
        ("test", {"protocol": "patient", "groups": {"kind": "unknown", "name": ""}}, "Patients unknown."),
        ("test", {"protocol": "patient", "groups": PATIENTS | {"blank": 3}}, "Patients unknown."),
        ("test", {"protocol": "official"}, "Patients unknown."),
        ("test", {"protocol": "lesion", "trained_on": 12}, "12 of these images were in its training"),
        ("test", {"protocol": "lesion", "trained_on": None}, None),
        ("test", {"protocol": "image", "groups": LESIONS}, "Split by image."),
        ("test", {"protocol": "image"}, "--group-by"),
        ("train", {"protocol": "lesion"}, "Evaluated on its own training images."),
        ("val", {"protocol": "official"}, "optimistic"),
        ("test", {"counts": {"val": {"a": 4, "b": 1}, "test": {"a": 1}}}, "one test image only of a"),
        ("test", {"counts": {"val": {"a": 4, "b": 1}}}, "come from 5 validation images"),
        ("all", {"protocol": "all images", "trained_on": None}, None),
    ],
)
def test_the_page_says_how_far_its_figures_hold(split: str, facts: dict[str, object], expected: str | None) -> None:
    said = [" ".join(pair) for pair in _cautions(split, facts)] + [_reassurance(split, facts)]
    text = " ".join(said).strip()
    assert text == "" if expected is None else expected in text
    if "was seen in training" in text:
        assert not _cautions(split, facts)


def test_few_classes_unknown_classes_and_no_errors(tmp_path: Path) -> None:
    ids = [f"i{k}" for k in range(8)]
    pd.DataFrame(
        {"image": ids, "path": ids, "group": ids, "target": ["x", "y"] * 4, "x": [0.9, 0.1] * 4, "y": [0.1, 0.9] * 4}
    ).to_csv(tmp_path / "p.csv", index=False)  # fmt: skip
    page = Page(write_report(tmp_path / "p.csv", resamples=50).index.read_text(encoding="utf-8"))
    assert "errors" not in page.ids
    assert "malignant" not in page.ids
    assert "subgroups" not in page.ids
    assert "images count as independent" in page.text


def test_one_class_only_still_makes_a_report(tmp_path: Path) -> None:
    made = table(120, 8)
    path = write_table(tmp_path / "nevi.csv", made.subset(made.targets == 5))
    page = Page(write_report(path, resamples=50).index.read_text(encoding="utf-8"))
    assert "nevi" in page.text
    assert "a class without images counts as 0 where it was answered" in page.text


def test_a_missing_or_damaged_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such run folder"):
        write_report(tmp_path / "none")
    with pytest.raises(DataError, match=r"no predictions/test\.csv.*train to the end"):
        write_report(tmp_path)
    run = tmp_path / "run"
    write_table(run / "predictions" / "val.csv", table(60, 8))
    with pytest.raises(DataError, match="it has val"):
        write_report(run)
    assert "optimistic" in write_report(run, split="val", resamples=50).index.read_text(encoding="utf-8")
    (run / "run.json").write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match=r"run\.json: cannot be read as JSON"):
        write_report(run, split="val")
    (run / "run.json").write_text('{"labels": [{"code": "x"}]}', encoding="utf-8")
    with pytest.raises(DataError, match=r"run\.json: labels must be"):
        write_report(run, split="val")
    (run / "run.json").write_text("{}", encoding="utf-8")
    (run / "log.csv").write_text("step,loss\n1,2\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"log\.csv: no column epoch"):
        write_report(run, split="val")
    (run / "log.csv").unlink()
    maps_path(run / "predictions" / "val.csv").write_bytes(b"no maps")
    with pytest.raises(DataError, match="cannot be read as maps"):
        write_report(run, split="val")


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    path = write_table(tmp_path / "p.csv", table(60, 8))
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        write_report(path, tmp_path / "file" / "report", resamples=20)


def test_the_same_files_give_the_same_report(tmp_path: Path) -> None:
    path = write_table(tmp_path / "p.csv", table(60, 8))
    first = write_report(path, tmp_path / "a", resamples=50).index.read_bytes()
    assert first == write_report(path, tmp_path / "b", resamples=50).index.read_bytes()
    assert (tmp_path / "a" / "plots" / "roc.svg").read_bytes() == (tmp_path / "b" / "plots" / "roc.svg").read_bytes()


def test_images_inside_an_array_are_shown(tmp_path: Path) -> None:
    made = table(60, 8)
    np.savez(
        tmp_path / "set.npz", test_images=np.random.default_rng(0).integers(0, 255, (60, 28, 28, 3), dtype=np.uint8)
    )
    frame = made.frame.assign(path=[f"set.npz#test_images/{i}" for i in range(60)])
    frame.to_csv(tmp_path / "p.csv", index=False)
    page = Page(
        write_report(tmp_path / "p.csv", resamples=20, data_root=tmp_path / "set.npz").index.read_text(encoding="utf-8")
    )
    assert page.tags["img"] > 0
    assert "No picture" not in page.text


def test_drawing_leaves_no_trace_behind() -> None:
    before = dict(mpl.rcParams)
    figure = drawing.risk_coverage_plot(np.array([[0.9, 0.1], [0.4, 0.6]]), np.array([0, 0]))
    assert len(figure.axes) == 1
    assert dict(mpl.rcParams) == before


def test_curves_of_several_runs_are_labelled_once_each() -> None:
    log = pd.DataFrame({"epoch": [0, 1, 2], "val_loss": [1.0, 0.6, 0.5], "val_accuracy": [0.5, 0.7, 0.8]})
    figure = drawing.training_curves(
        {"caco": log, "se": log.assign(val_loss=[1.0, 0.6, math.nan]), "bare": log[["epoch"]]}
    )
    for axes in figure.axes:
        assert sorted(t.get_text() for t in axes.texts) == ["caco", "se"]
        heights = [t.xy[1] for t in axes.texts]  # type: ignore[attr-defined]
        assert heights[0] != heights[1]  # the same end, moved apart


def test_more_classes_than_colours() -> None:
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(12), 60)
    codes = [f"a_rather_long_class_{k}" for k in range(12)]
    targets = rng.integers(0, 12, 60)
    figure = drawing.roc_plot(probabilities, targets, codes, dict.fromkeys(codes, 0.5))
    styles = {(line.get_color(), line.get_linestyle()) for line in figure.axes[0].lines[1:]}
    assert len(styles) >= 9
    drawing.confusion_plot(np.eye(12, dtype=np.int64), codes)
    svg = drawing.inline_svg(figure, "roc", 'a "quoted" <text> & more')
    ElementTree.fromstring(svg)
    assert "var(--series-0)" in svg
