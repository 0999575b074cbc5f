"""Evaluate a run, or a bundle on any data set, and write the report.

Plots, statistics and inference are imported after the input has been checked.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lentigo.bundle import SPEC, Spec, as_name
from lentigo.data import Samples
from lentigo.data.groups import GroupSource
from lentigo.data.readers import Missing
from lentigo.errors import BundleError, DataError
from lentigo.evaluation.runfiles import read_run
from lentigo.inference import Classifier, find_bundle
from lentigo.progress import Progress
from lentigo.workflow.part import choose_part, read_evaluation_data
from lentigo.workflow.record import write_record

if TYPE_CHECKING:
    from lentigo.evaluation.report import Report


@dataclass(frozen=True)
class Evaluation:
    """Result of an evaluation.

    Attributes:
        title: names of the model and the data.
        folder: folder of the predictions: the run folder, or a new one for a bundle.
        index: path of the report's ``index.html``.
        metrics: the content of ``metrics.json``.
        headline: rows (measure, value, low, high) of the main metrics, as text.
        remarks: notes on the data set, such as skipped rows; for bundles only.
    """

    title: str
    folder: Path
    index: Path
    metrics: dict[str, Any]
    headline: list[tuple[str, str, str, str]]
    remarks: tuple[str, ...] = ()


def evaluate(
    target: str | Path,
    *,
    data: str | Path | None = None,
    out: str | Path | None = None,
    split: str = "test",
    split_file: str | Path | None = None,
    protocol: str | None = None,
    classes: Mapping[str, str] | None = None,
    robustness: bool = False,
    limit: int | None = None,
    prevalence: float = 0.02,
    group_by: str | None = None,
    missing: Missing = "error",
    progress: bool | Progress = True,
) -> Evaluation:
    """Evaluate a run's saved predictions, or a bundle on a labelled data set, and write the report.

    The images for a bundle are the first of these that applies: the part ``split`` in ``split_file``; the part by
    ``protocol``; the part of the original split, for the data set of the training (same fingerprint); all images
    outside the training, if it used some of them; all images. The title states the choice and, if known, the number
    of training images among them.

    Args:
        target: a run folder (without ``data``), or a bundle: a packaged name, its folder, or a run folder that has one.
        data: a data set in any layout that ``read_samples`` supports; ``target`` is then a bundle.
        out: the report's folder, by default ``report`` in the run folder. For a bundle the folder of
            ``predictions/``, ``run.json`` and ``report/``, by default ``runs/<bundle>-on-<data>``.
        split: ``test``, ``val``, ``train`` or, for a bundle, ``all``.
        split_file: for a bundle, a saved split: CSV with columns image and split.
        protocol: for a bundle, ``image``, ``lesion``, ``patient`` or ``official``, with its seed and fractions.
        classes: for a bundle, the data's class codes -> the bundle's; images of other classes are skipped.
        robustness: also classify degraded images and images with deleted parts, for the report's section on
            robustness; a run needs its bundle for this.
        limit: maximum number of images for ``robustness``, drawn at random.
        prevalence: fraction of malignant lesions assumed for the predictive values.
        group_by: for a bundle, a column or a pattern on file names that identifies the lesion. Lesions are then
            evaluated instead of images, by the mean probabilities of their images, as in ``lentigo predict
            --group-by``.
        missing: for a bundle, treatment of table rows without an image file: ``error`` or ``skip``.
        progress: whether to show a bar, or a function called with (done, total).

    Raises:
        DataError: neither a run with predictions nor a bundle with data, incompatible arguments, or data that are
            unreadable, have classes unknown to the bundle, or cannot be split this way.
        BundleError: no such bundle, or a damaged one.
        ImageError: an image cannot be read.
        OutputError: a file cannot be written.
    """
    if not 0 < prevalence < 1:
        raise DataError(f"a prevalence is above 0 and below 1, such as 0.02; not {prevalence:g}")
    if data is None:
        _check_run(Path(target), lesions=group_by is not None or missing != "error")
        if split_file is not None or protocol is not None or classes is not None:
            raise DataError(
                "a run has its own split and classes; split_file, protocol and classes are for a bundle on a data set"
                " (--data)"
            )
        if robustness:
            _degrade_run(Path(target), split, limit, progress)
        return _evaluate_run(Path(target), out, split, prevalence)
    started = time.monotonic()
    opened = find_bundle(target)
    spec = opened.spec
    if robustness and group_by is not None:
        raise DataError("--robustness needs single images: leave out --group-by, or evaluate robustness separately")
    evaluated = read_evaluation_data(Path(data), spec, classes, group_by, missing)
    samples = evaluated.samples
    part = choose_part(evaluated, spec, split=split, split_file=split_file, protocol=protocol)
    folder = Path(out) if out is not None else Path("runs") / f"{spec.name}-on-{as_name(samples.title) or samples.name}"
    from lentigo.evaluation.calibration import Calibration
    from lentigo.evaluation.report import write_report
    from lentigo.workflow.classify import predict_samples
    from lentigo.workflow.robustness import run_robustness

    classifier = Classifier(opened)
    # Other parts are written to their own table next to test.csv, as in a run.
    table = folder / "predictions" / f"{split}.csv"
    _clear_robustness(table, spec)
    predict_samples(classifier, part.samples, table, progress, evaluated.lesions)
    if robustness:
        run_robustness(classifier, part.samples, table, limit=limit, progress=progress)
    write_record(folder, spec, evaluated, part, Path(data), time.monotonic() - started)
    title = f"{spec.name} on {samples.title}: {part.description}"
    report = write_report(
        table, folder / "report", title=title, calibration=Calibration.of(spec), prevalence=prevalence
    )
    found = _result(title, folder, report, _challenge(part.samples) if classes is None else None)
    return replace(found, remarks=tuple(samples.remarks()))


def _check_run(target: Path, *, lesions: bool) -> None:
    """Check that a folder is a run, and that no lesion option is set, since these need the images."""
    if lesions:
        raise DataError(
            "a run's predictions are complete, with one row per image; --group-by and --missing need the images (--data"
            " DATA)"
        )
    if (target / SPEC).is_file() or not target.exists():
        raise DataError(
            f"{target}: {'a bundle' if target.exists() else 'no run folder'}; to evaluate a bundle, also give a"
            " data set (--data)"
        )


def _evaluate_run(run: Path, out: str | Path | None, split: str, prevalence: float) -> Evaluation:
    """Write the report of a run from its saved predictions."""
    read_run(run, split=split)  # reports missing files before slow imports
    from lentigo.evaluation.report import write_report

    report = write_report(run, out, split=split, prevalence=prevalence)
    return _result(f"{run.resolve().name}, {split}", run, report)


def _degrade_run(run: Path, split: str, limit: int | None, progress: bool | Progress) -> None:
    """Classify degraded images of a run's table with its bundle."""
    files = read_run(run, split=split)
    try:
        classifier = Classifier(find_bundle(run))
    except BundleError as error:
        raise DataError(
            f"{run}: degraded images are classified by the run's bundle ({error}); write it first: lentigo export {run}"
        ) from None
    table, root = files.test, files.record.get("data_root")
    if root is None:
        raise DataError(
            f"{run}: run.json does not say where the images are (data_root); evaluate the bundle on them instead"
            " (--data)"
        )
    frame = table.frame.rename(columns={"target": "label"}).assign(split=split, train_only=False)
    name, groups = str(files.record.get("data") or run.name), GroupSource.of(files.record.get("groups"))
    samples = Samples(name, Path(str(root)), classifier.labels, frame.drop(columns=list(table.codes)), groups)
    from lentigo.workflow.robustness import run_robustness

    run_robustness(classifier, samples, run / "predictions" / f"{split}.csv", limit=limit, progress=progress)


def _clear_robustness(table: Path, spec: Spec) -> None:
    """Delete the robustness results of another model, which would otherwise appear in this report."""
    from lentigo.evaluation.robustness import RECORD as ROBUSTNESS_RECORD
    from lentigo.evaluation.robustness import robustness_folder

    folder = robustness_folder(table)
    try:
        kept: Any = json.loads((folder / ROBUSTNESS_RECORD).read_text(encoding="utf-8"))["bundle"]["model_sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        kept = None
    if kept != spec.files["model.onnx"]:
        shutil.rmtree(folder, ignore_errors=True)


_HEADLINE = (
    ("accuracy", "accuracy", True),
    ("balanced_accuracy", "balanced accuracy (mean recall)", True),
    ("bacc_ovr", "BACC, each class against the rest", True),
    ("macro_f1", "macro F1", True),
    ("macro_auc", "macro AUC", False),
    ("ece", "expected calibration error", True),
)


def _challenge(samples: Samples) -> str | None:
    """Return the challenge whose test part holds all evaluated images; balanced accuracy is its score."""
    name = {"isic2018": "the ISIC 2018 challenge", "isic2019": "the ISIC 2019 challenge"}.get(samples.name)
    tested = "official_split" in samples.frame.columns and (samples.frame["official_split"] == "test").all()
    return name if tested else None


def _result(title: str, folder: Path, report: Report, challenge: str | None = None) -> Evaluation:
    found = report.metrics["metrics"]
    rows = [_row(name, found["overall"][key], percent) for key, name, percent in _HEADLINE]
    if challenge is not None:
        rows[1] = (f"{challenge}'s score: balanced accuracy", *rows[1][1:])
    if found["malignant"] is not None:
        rows.append(_row("AUC, malignant against benign", found["malignant"]["auc"], False))
        for specificity, value in found["malignant"]["sensitivity_at_specificity"].items():
            rows.append(_row(f"malignant sensitivity at {100 * float(specificity):g} % specificity", value, True))
    return Evaluation(title, folder, report.index, report.metrics, rows)


def _row(name: str, value: dict[str, float | None], percent: bool) -> tuple[str, str, str, str]:
    def show(number: float | None) -> str:
        if number is None:
            return "–"
        return f"{100 * number:.1f} %" if percent else f"{number:.3f}"

    return name, show(value["value"]), show(value["low"]), show(value["high"])
