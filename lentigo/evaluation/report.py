"""The report of a run: one self-contained HTML page, its plots as files, and all figures as JSON.

The report is made from the files of the run folder; no network runs. The page loads no other file and no external
resource, so it can be mailed, archived or opened on a phone.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure
from PIL import Image

import lentigo
from lentigo.data.groups import ASK, LEAK, recorded_groups
from lentigo.data.samples import open_sample
from lentigo.data.shortfalls import MEND, recorded_shortfalls
from lentigo.errors import LentigoError
from lentigo.estimate import plain
from lentigo.evaluation import plots
from lentigo.evaluation.calibration import Calibration, calibrate
from lentigo.evaluation.fairness import SMALL, Subgroup, subgroup_metrics
from lentigo.evaluation.intervals import RESAMPLES
from lentigo.evaluation.metrics import PREVALENCE, Metrics, evaluate_predictions, malignant_score
from lentigo.evaluation.predictions import PredictionTable
from lentigo.evaluation.robustness import Robustness, read_robustness, robustness_page, with_skin
from lentigo.evaluation.robustness_plots import (
    degradation_plot,
    degradation_text,
    perturbation_plot,
    perturbation_text,
)
from lentigo.evaluation.runfiles import RunFiles, read_run
from lentigo.evaluation.selective import SelectiveSection, selective_plot, selective_section
from lentigo.files import write_json, write_text
from lentigo.inference.heatmap import overlay
from lentigo.labels import LabelSet
from lentigo.synthetic.phantom import all_rendered
from lentigo.tables import is_unknown
from lentigo.text import lines

# Keys copied from run.json to metrics.json; the data's local path is excluded.
FACTS = (
    *("recipe", "network", "parameters", "data", "fingerprint", "protocol", "split_seed", "seed"),
    *("command", "hardware", "wall_seconds", "created", "versions"),
)
TILE = 256  # longest side of a picture in the gallery, in pixels


@dataclass(frozen=True)
class Tile:
    """One wrong prediction in the gallery.

    Attributes:
        image: image id.
        true: code of the true class.
        predicted: code of the predicted class.
        confidence: probability of the predicted class.
        probability: probability of the true class.
        picture: the image as a data URI; None if it cannot be read.
        heat: the image with the predicted class's map as a data URI; None without a map.
        note: reason for a missing picture.
        about: age, sex and site as text.
    """

    image: str
    true: str
    predicted: str
    confidence: float
    probability: float
    picture: str | None
    heat: str | None
    note: str
    about: str


@dataclass(frozen=True)
class Report:
    """Paths and content of a written report.

    Attributes:
        index: path of ``index.html``.
        metrics: content of ``metrics.json``.
    """

    index: Path
    metrics: dict[str, Any]


# The page has the confusion matrix as a table, risk and coverage in another plot, and one plot per training curve.
_FILES_ONLY = ("confusion", "risk_coverage", "training")
_PAGE_ONLY = ("training_loss", "training_accuracy")


def write_report(
    source: str | Path,
    out: str | Path | None = None,
    *,
    split: str = "test",
    title: str | None = None,
    record: Mapping[str, Any] | None = None,
    data_root: str | Path | None = None,
    calibration: Calibration | None = None,
    resamples: int = RESAMPLES,
    gallery: int = 12,
    prevalence: float = PREVALENCE,
) -> Report:
    """Write ``index.html``, ``metrics.json``, ``plots/``, and ``robustness.md`` if there are robustness results.

    Args:
        source: a run folder, or a CSV of predictions.
        out: output folder; by default ``report/`` in the run folder.
        split: predictions to evaluate: ``predictions/<split>.csv``.
        title: heading of the page; by default the run's name.
        record: facts about the run that extend or replace ``run.json``.
        data_root: base folder of the image paths; by default the one in the record.
        calibration: temperature, operating points and prediction sets. By default they are fitted on
            ``predictions/val.csv``. Without that file, the temperature is the record's, thresholds are chosen on the
            evaluated images (which the report states), and there are no prediction sets.
        resamples: number of bootstrap resamples.
        gallery: maximum number of wrong predictions to show.
        prevalence: fraction of malignant lesions assumed for the predictive values.

    Raises:
        DataError: no predictions, or a damaged file.
        OutputError: a file cannot be written.
    """
    run = read_run(source, split=split)
    run = replace(run, test=with_skin(run.test))
    facts = dict(run.record) | dict(record or {})
    folder = Path(out) if out is not None else run.folder / "report"
    if calibration is None:
        calibration = calibrate(replace(run, record=facts))
    found = _measure(run, facts, title, calibration, resamples=resamples, prevalence=prevalence)
    root = Path(data_root if data_root is not None else str(facts.get("data_root") or "."))
    drawn, summary = _plots(found), _summary(found)
    page = _page(found, drawn, worst_errors(run, found.probabilities, root, gallery))
    for name, (figure, _) in drawn.items():
        if name not in _PAGE_ONLY:
            plots.save_plot(figure, folder / "plots" / name)
    write_json(folder / "metrics.json", summary)
    write_text(folder / "index.html", page)
    if found.robustness:
        write_text(folder / "robustness.md", robustness_page(summary, found.robustness))
    return Report(folder / "index.html", summary)


@dataclass(frozen=True)
class _Content:
    """Contents of a report; the probabilities are calibrated."""

    run: RunFiles
    facts: Mapping[str, Any]
    title: str
    probabilities: npt.NDArray[np.float64]
    metrics: Metrics
    subgroups: tuple[Subgroup, ...]
    selective: SelectiveSection
    robustness: Robustness


def _measure(
    run: RunFiles,
    facts: Mapping[str, Any],
    title: str | None,
    calibration: Calibration,
    *,
    resamples: int,
    prevalence: float,
) -> _Content:
    table, labels, temperature = run.test, run.labels, calibration.temperature
    thresholds, probabilities = calibration.thresholds, calibration.apply(table.probabilities)
    metrics = evaluate_predictions(
        table, labels, resamples=resamples, temperature=temperature, thresholds=thresholds, prevalence=prevalence
    )
    threshold = metrics.malignant.points[0].threshold if metrics.malignant and metrics.malignant.points else None
    heading = title or str(facts.get("name") or run.name)
    if all_rendered(table.images.tolist()):
        heading += " (rendered pictures, no photographs)"
        data = f"pictures rendered by a program, in the layout of {facts.get('data', 'a data set')}"
        facts = {**facts, "data_name": data, "rendered": True}
    return _Content(
        run,
        facts,
        heading,
        probabilities,
        metrics,
        subgroup_metrics(table, labels, temperature=temperature, threshold=threshold, resamples=resamples),
        selective_section(table, probabilities, conformal=calibration.conformal, resamples=resamples),
        read_robustness(table, labels, resamples=resamples),
    )


def _summary(found: _Content) -> dict[str, Any]:
    """Return the content of ``metrics.json``."""
    selective, robustness = plain(found.selective), found.robustness.to_dict() if found.robustness else None
    return {
        "format": 1,
        "title": found.title,
        "notice": lentigo.NOTICE,
        "split": found.run.split,
        **{key: found.facts.get(key) for key in FACTS},
        "lentigo": lentigo.__version__,
        "metrics": found.metrics.to_dict(),
        "subgroups": plain(found.subgroups),
        "selective": selective,
        "robustness": robustness,
        # Keys of the previous release, kept for one more release.
        "trust": selective,
        "stress": robustness
        and {**robustness, "robustness": robustness["curves"], "reliance": robustness["perturbations"]},
    }


def _page(found: _Content, drawn: Mapping[str, tuple[Figure, str]], tiles: list[Tile]) -> str:
    run, facts, subgroups = found.run, found.facts, found.subgroups
    shown = {name: drawing for name, drawing in drawn.items() if name not in _FILES_ONLY}
    return templates().get_template("report.html.j2").render(
        title=found.title,
        notice=lentigo.NOTICE,
        run=run,
        facts=_facts(run, facts),
        cautions=_cautions(run.split, facts),
        reassurance=_reassurance(run.split, facts),
        command=facts.get("command"),
        metrics=found.metrics,
        labels=run.labels,
        subgroups={attribute: list(same) for attribute, same in groupby(subgroups, attrgetter("attribute"))},
        different=[s for s in subgroups if s.differs],
        comparable=any(not s.small and s.images < len(run.test) for s in subgroups),
        small=SMALL,
        groups=recorded_groups(facts),
        selective=found.selective,
        robustness=found.robustness,
        svg={name: Markup(plots.inline_svg(figure, name, text)) for name, (figure, text) in shown.items()},
        tiles=tiles,
        wrong=int((found.probabilities.argmax(axis=1) != run.test.targets).sum()),
        version=lentigo.__version__,
    )  # fmt: skip


def worst_errors(run: RunFiles, probabilities: npt.NDArray[np.float64], root: Path, count: int) -> list[Tile]:
    """Return the wrong predictions with the lowest probability of the true class, at most one per lesion.

    Args:
        run: the run's files; its maps are drawn, if any.
        probabilities: (N, K) float64, calibrated.
        root: base folder of the paths, or a file in it.
        count: maximum number.
    """
    table = run.test
    predicted = probabilities.argmax(axis=1)
    given = probabilities[np.arange(len(table)), table.targets]
    maps = {} if run.maps is None else dict(zip(run.maps.images.tolist(), run.maps.predicted, strict=True))
    folder = root if root.is_dir() or not root.is_file() else root.parent
    tiles: list[Tile] = []
    seen: set[str] = set()
    for row in np.argsort(given, kind="stable"):
        if len(tiles) == count:
            break
        group = str(table.groups[row])
        if predicted[row] == table.targets[row] or group in seen:
            continue
        seen.add(group)
        image, path = str(table.frame["image"].iloc[row]), str(table.frame["path"].iloc[row])
        picture, heat, note = embedded_pictures(folder, path, maps.get(image))
        tiles.append(
            Tile(
                image=image,
                true=table.codes[table.targets[row]],
                predicted=table.codes[predicted[row]],
                confidence=float(probabilities[row, predicted[row]]),
                probability=float(given[row]),
                picture=picture,
                heat=heat,
                note=note,
                about=_about(table, int(row)),
            )
        )
    return tiles


def embedded_pictures(root: Path, path: str, cam: npt.NDArray[np.float16] | None) -> tuple[str | None, str | None, str]:
    """Return the image and its heat map as data URIs, or the reason for a failure."""
    try:
        image = open_sample(root, path)
    except LentigoError as error:
        return None, None, str(error)
    image.thumbnail((TILE, TILE))
    heat = None
    if cam is not None:
        heat = _data_uri(Image.fromarray(overlay(np.asarray(image), cam.astype(np.float32))))
    return _data_uri(image), heat, ""


def _data_uri(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=82)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _about(table: PredictionTable, row: int) -> str:
    words = []
    for column in ("age", "sex", "site"):
        value = table.frame[column].iloc[row] if column in table.frame else None
        text = f"{value:g}" if isinstance(value, float) else str(value).strip()
        if not is_unknown(text):
            words.append(f"age {text}" if column == "age" else text)
    return ", ".join(words)


def _plots(report: _Content) -> dict[str, tuple[Figure, str]]:
    """Return all plots with a text description each."""
    run, metrics, probabilities = report.run, report.metrics, report.probabilities
    table, codes = run.test, metrics.codes
    targets = table.targets
    aucs = {code: values["auc"].value for code, values in metrics.per_class.items()}
    areas = {code: values["average_precision"].value for code, values in metrics.per_class.items()}
    reliable = {"before temperature": table.probabilities} if metrics.temperature else {}
    after = f"after temperature {metrics.temperature:.2f}" if metrics.temperature else "as given"
    found: dict[str, tuple[Figure, str]] = {
        "confusion": (plots.confusion_plot(metrics.confusion, codes), "Confusion matrix, normalised by true class."),
        "roc": (
            plots.roc_plot(probabilities, targets, codes, aucs),
            "ROC curves of each class against the rest. " + _list("Area under the curve", aucs),
        ),
        "precision_recall": (
            plots.precision_recall_plot(probabilities, targets, codes, areas),
            "Precision-recall curves of each class against the rest. " + _list("Average precision", areas),
        ),
        "reliability": (
            plots.reliability_plot(reliable | {after: probabilities}, targets),
            "Reliability diagram: accuracy against confidence, in 15 bins. ECE"
            f" {metrics.overall['ece'].value * 100:.1f} %"
            + (
                f", before temperature scaling {metrics.before_temperature['ece'].value * 100:.1f} %."
                if reliable
                else "."
            ),
        ),
        "risk_coverage": (
            plots.risk_coverage_plot(probabilities, targets),
            "Error rate when only the most confident images are answered, from none to all.",
        ),
    }
    scored = malignant_score(probabilities, targets, run.labels)
    if metrics.malignant and metrics.malignant.auc.defined and scored:
        auc = metrics.malignant.auc.value
        found["malignant"] = (
            plots.malignant_plot(*scored, auc, metrics.malignant.points),
            f"ROC curve of malignant against benign, area {auc:.3f}, with the operating points marked.",
        )
    if run.log is not None and len(run.log):
        logs, epochs = {run.name: run.log}, f"over {len(run.log)} epochs."
        found["training"] = (plots.training_curves(logs), f"Loss and validation accuracy {epochs}")
        found["training_loss"] = (plots.training_curves(logs, ("loss",)), f"Training and validation loss {epochs}")
        found["training_accuracy"] = (
            plots.training_curves(logs, ("accuracy",)),
            f"Accuracy and balanced accuracy on validation {epochs}",
        )
    for curve in report.robustness.curves:
        found[f"robustness_{curve.corruption.name}"] = degradation_plot(curve), degradation_text(curve)
    if changes := report.robustness.perturbations:
        found["perturbations"] = perturbation_plot(changes), perturbation_text(changes)
    found["selective"] = (
        selective_plot(report.selective.selective),
        "Accuracy against coverage, the fraction of images that is answered.",
    )
    return found


def _list(what: str, values: Mapping[str, float]) -> str:
    return what + ": " + ", ".join(f"{code} {value:.3f}" for code, value in values.items() if np.isfinite(value)) + "."


_FACT_NAMES = {
    "recipe": "Recipe",
    "network": "Network",
    "parameters": "Parameters",
    "data": "Data",
    "protocol": "Split protocol",
    "split_seed": "Split seed",
    "seed": "Training seed",
    "fingerprint": "Data fingerprint",
    "hardware": "Hardware",
    "wall_seconds": "Wall time",
    "created": "Started",
}


def _facts(run: RunFiles, facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the known facts about the run for the head of the page."""
    said = []
    for key, name in _FACT_NAMES.items():
        value = facts.get(key)
        if value is None:
            continue
        match key, value:
            case "parameters", int():
                text = f"{value:,}"
            case "wall_seconds", int() | float():
                text = str(timedelta(seconds=round(value)))
            case "created", _:
                text = str(value).replace("T", " ").replace("+00:00", " UTC")
            case "data", _:
                text = str(facts.get("data_name") or value)
            case "fingerprint", _:
                text = str(value)[:16]
            case _:
                text = str(value)
        said.append((name, text))
    groups = len(np.unique(run.test.groups))
    evaluated = str(facts.get("evaluated_on") or facts.get("judged") or f"{run.split}: {len(run.test):,} images")
    source = recorded_groups(facts)
    said.append(
        ("Evaluated on", evaluated + (f"; {groups:,} {source.units}" if source.known or run.test.grouped else ""))
    )
    said.append(("Groups", f"{source.units} by {source}" if source.kind != "unknown" else "patients unknown"))
    return said


def _cautions(split: str, facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return cautions about optimistic figures, each with its bold heading."""
    return [*_data_cautions(facts).items(), *_training_cautions(split, facts).items()]


def _data_cautions(facts: Mapping[str, Any]) -> dict[str, str]:
    """Return cautions about the data set and its split."""
    said = {}
    if facts.get("rendered"):
        said["Rendered pictures."] = (
            "A program drew them for demonstration and tests: no figure here says anything about skin."
        )
    if few := recorded_shortfalls(facts) if facts.get("counts") else ():
        said["Few images."] = f"{_sentence('; '.join(few))} {_sentence(MEND)}"
    source = recorded_groups(facts)
    if not source.known and facts.get("trained_on", 0) == 0:
        said["Patients unknown."] = _sentence(f"{LEAK}, and the figures may be too high: {ASK}")
    elif facts.get("protocol") == "image":
        said["Split by image."] = (
            f"Other photographs of the same {source.units} may be in the training part, so these figures are higher"
            f" than new {source.units} would give. Compare them only with figures under the same protocol."
        )
    elif shared := facts.get("shared_groups"):
        said[f"{shared:,} {source.units} stand in more than one part of the split."] = (
            "Other photographs of theirs may be in the training part, so these figures are higher than new ones would"
            " give."
        )
    return said


def _training_cautions(split: str, facts: Mapping[str, Any]) -> dict[str, str]:
    """Return cautions about evaluated images that were used in training."""
    said = {}
    seen = facts.get("trained_on")  # number of these images; only bundles' records have it
    if isinstance(seen, int) and seen > 0:
        said[f"{seen:,} of these images were in its training."] = "The figures do not hold for new images."
    elif teacher := facts.get("teacher") or facts.get("taught_by"):
        said[f"Its teacher {teacher} was trained on this data set."] = "The figures do not hold for new images."
    elif split == "train":
        said["Evaluated on its own training images."] = "The figures do not hold for new images."
    if split == "val":
        said["Evaluated on the validation part."] = (
            "The best epoch was chosen on these images, so the figures are optimistic."
        )
    return said


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _reassurance(split: str, facts: Mapping[str, Any]) -> str:
    """Return a sentence that no evaluated image was used in training, if the facts say so."""
    source = recorded_groups(facts)
    grouped = facts.get("protocol") in ("lesion", "patient") and source.known
    if split not in ("test", "val") or not grouped or facts.get("trained_on", 0) != 0:
        return ""
    return f"Split by {source.unit} ({source}): no {source.unit} evaluated here was seen in training."


def templates() -> Environment:
    """Return the environment of the page templates, with shared filters and globals."""
    environment = Environment(
        loader=PackageLoader("lentigo.evaluation"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # Only plain str is untrusted; Markup, its subclass, stays as it is.
        finalize=lambda value: lines(value) if type(value) is str else value,
    )
    environment.filters["words"] = lambda code: str(code).replace("_", " ")
    environment.globals["name_of"] = _name_of
    return environment


def _name_of(labels: LabelSet, code: str) -> str:
    return labels.classes[labels.index(code)].en
