"""What one command does across modules: judge a run, or a bundle on any data set, and write the report."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from lentigo.bundle import SPEC, Spec
from lentigo.data import Samples, kfold_samples, load_split, read_samples, split_samples
from lentigo.data.extra import extra_of, rename_classes
from lentigo.data.progress import Progress, shown
from lentigo.data.samples import COLUMNS, SPLITS
from lentigo.data.skin import estimate_angle
from lentigo.errors import BundleError, DataError, did_you_mean
from lentigo.evaluation import maps_path, read_run, write_maps, write_predictions
from lentigo.evaluation.intervals import RESAMPLES
from lentigo.evaluation.plots import save_plot
from lentigo.evaluation.report import write_report
from lentigo.evaluation.stress import RECORD as STRESS_RECORD
from lentigo.evaluation.stress import stress_folder
from lentigo.export.study import SPOILT, Study, look, spoil, study_trust
from lentigo.export.trust import made_sets
from lentigo.files import write_text
from lentigo.imaging import find_images, load
from lentigo.inference import Classifier, find_bundle, softmax
from lentigo.machine import available_cores
from lentigo.resampler import resize
from lentigo.stress import run_stress, write_skin
from lentigo.training.recipe import DataRecipe
from lentigo.training.record import command_line, hardware, versions

ALL = "all"
_CHUNK = 32
STUDY_PICTURES = 200
"""Pictures of each made set in a study."""
_OWN_LAYOUTS = ("folder", "csv")

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Evaluation:
    """A report that was written.

    Attributes:
        title: what was judged on what.
        folder: the folder with the predictions: the run folder, or a new one for a bundle.
        index: the report's ``index.html``.
        metrics: the content of ``metrics.json``.
        headline: rows (measure, value, low, high) of the main figures, as text.
    """

    title: str
    folder: Path
    index: Path
    metrics: dict[str, Any]
    headline: list[tuple[str, str, str, str]]


def evaluate(
    target: str | Path,
    *,
    data: str | Path | None = None,
    out: str | Path | None = None,
    split: str = "test",
    split_file: str | Path | None = None,
    protocol: str | None = None,
    classes: Mapping[str, str] | None = None,
    stress: bool = False,
    limit: int | None = None,
    progress: bool | Progress = True,
) -> Evaluation:
    """Judge a run by its predictions, or a bundle on a data set.

    Args:
        target: a run folder (without ``data``), or a bundle: a packaged name, its folder, or a run folder that has one.
        data: a data set, which makes a bundle of ``target``.
        out: where the report goes; see ``evaluate_run`` and ``evaluate_bundle``.
        split: ``test``, ``val``, ``train`` or, for a bundle, ``all``.
        split_file: for a bundle, a saved split.
        protocol: for a bundle, how the data is divided.
        classes: for a bundle, the data's class codes -> the bundle's.
        stress: also classify degraded images and images with parts deleted, for the report's robustness section; a run needs its
            bundle for that.
        limit: no more images than this for ``stress``, drawn at random.
        progress: where images are classified, show a bar, or a function called with (done, total).

    Raises:
        DataError: neither a run with predictions nor a bundle with data, or arguments that do not belong together.
        BundleError: no such bundle, or a damaged one.
    """
    if data is not None:
        return evaluate_bundle(
            target,
            data,
            split=split,
            split_file=split_file,
            protocol=protocol,
            classes=classes,
            out=out,
            stress=stress,
            limit=limit,
            progress=progress,
        )
    if (Path(target) / SPEC).is_file() or not Path(target).exists():
        raise DataError(
            f"{target}: {'a bundle' if Path(target).exists() else 'no run folder'}; to judge a bundle, give a data set too (--data)"
        )
    if split_file is not None or protocol is not None or classes is not None:
        raise DataError("a run has its own split and classes; split_file, protocol and classes are for a bundle on a data set (--data)")
    return evaluate_run(target, split=split, out=out, stress=stress, limit=limit, progress=progress)


def evaluate_run(
    run: str | Path,
    *,
    split: str = "test",
    out: str | Path | None = None,
    stress: bool = False,
    limit: int | None = None,
    progress: bool | Progress = True,
) -> Evaluation:
    """Write the report of a run from its predictions on file.

    Args:
        run: a run folder.
        split: which predictions to judge, ``predictions/<split>.csv``.
        out: the report's folder; ``report`` in the run folder when left out.
        stress: first classify degraded images with the run's bundle, see `evaluate`.
        limit: no more images than this for ``stress``.
        progress: for ``stress``, show a bar, or a function called with (done, total).

    Raises:
        DataError: no run folder, or no such predictions; for ``stress``, no bundle.
        ImageError: for ``stress``, an image that is not where the run says.
    """
    folder = Path(run)
    if stress:
        _stress_run(folder, split, limit, progress)
    index = write_report(folder, out, split=split)
    return _result(f"{folder.resolve().name}, {split}", folder, index)


def evaluate_bundle(
    bundle: str | Path,
    data: str | Path,
    *,
    split: str = "test",
    split_file: str | Path | None = None,
    protocol: str | None = None,
    classes: Mapping[str, str] | None = None,
    out: str | Path | None = None,
    stress: bool = False,
    limit: int | None = None,
    progress: bool | Progress = True,
) -> Evaluation:
    """Classify a labelled data set with a bundle, and write predictions and report.

    Which images are judged: those of ``split`` in ``split_file``; else by ``protocol``; else, where the data set is the one that the
    bundle was trained on (same fingerprint), by the very split of its training; else, where training saw images of it as well, all the
    others; else all of them. The title says which, and how many of the judged images the bundle was trained on where that is known.

    Args:
        bundle: a packaged bundle's name, a bundle folder, or a run folder that has one.
        data: the data set, in any layout that ``read_samples`` knows.
        split: ``test``, ``val``, ``train``, or ``all`` for every image.
        split_file: a saved split, CSV with columns image and split.
        protocol: ``image``, ``lesion``, ``patient`` or ``official``, with the bundle's seed and fractions.
        classes: for another collection: its class codes -> the bundle's; images of other classes are left out.
        out: the folder for ``predictions/``, ``run.json`` and ``report/``; ``runs/<bundle>-on-<data>`` when left out.
        stress: also classify degraded images, see `evaluate`.
        limit: no more images than this for ``stress``.
        progress: show a bar, or a function called with (done, total).

    Raises:
        BundleError: no such bundle, or a damaged one.
        DataError: the data cannot be read, hold classes the bundle does not know, or cannot be split so.
        ImageError: an image cannot be read.
        OutputError: the disk refuses.
    """
    started = time.monotonic()
    classifier = Classifier(find_bundle(bundle))
    spec = classifier.spec
    judged = _read(Path(data), spec, classes)
    samples = judged.samples
    part = _choose(judged, spec, split=split, split_file=split_file, protocol=protocol)
    folder = Path(out) if out is not None else Path("runs") / f"{spec.name}-on-{samples.name}"
    # A part of another name is a table of its own beside test.csv, as in a run.
    table = folder / "predictions" / f"{split}.csv"
    _clear_stress(table, spec)
    _predict(classifier, part.samples, table, progress)
    if stress:
        run_stress(classifier, part.samples, stress_folder(table), limit=limit, facts=_stress_facts(spec), progress=progress)
    _write_record(folder, spec, judged, part, Path(data), time.monotonic() - started)
    title = f"{spec.name} on {samples.name}: {part.description}"
    index = write_report(
        table,
        folder / "report",
        title=title,
        temperature=spec.temperature,
        thresholds={point.name: point.threshold for point in spec.operating_points},
        conformal=spec.conformal,
    )
    return _result(title, folder, index)


def _stress_run(run: Path, split: str, limit: int | None, progress: bool | Progress) -> None:
    """Degrade the very images of a run's table, and classify them with its bundle."""
    files = read_run(run, split=split)
    try:
        classifier = Classifier(find_bundle(run))
    except BundleError as error:
        raise DataError(
            f"{run}: degraded images are classified by the run's bundle ({error}); write it first: lentigo export {run}"
        ) from None
    table, root = files.test, files.record.get("data_root")
    if root is None:
        raise DataError(f"{run}: run.json does not say where the images are (data_root); judge the bundle on them instead (--data)")
    frame = table.frame.rename(columns={"target": "label"}).assign(split=split, train_only=False)
    samples = Samples(str(files.record.get("data") or run.name), Path(str(root)), classifier.labels, frame.drop(columns=list(table.codes)))
    predictions = run / "predictions" / f"{split}.csv"
    run_stress(classifier, samples, stress_folder(predictions), limit=limit, facts=_stress_facts(classifier.spec), progress=progress)


def _stress_facts(spec: Spec) -> dict[str, Any]:
    return {
        "command": command_line(),
        "bundle": {"name": spec.name, "version": spec.version, "weights": spec.weights, "model_sha256": spec.files["model.onnx"]},
        "hardware": hardware(torch.device("cpu"), 1),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _clear_stress(table: Path, spec: Spec) -> None:
    """Take away what another model answered to degraded images, which would stand in this one's report."""
    folder = stress_folder(table)
    try:
        kept: Any = json.loads((folder / STRESS_RECORD).read_text(encoding="utf-8"))["bundle"]["model_sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        kept = None
    if kept != spec.files["model.onnx"]:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class _Part:
    """The images to judge, and what is to be said of the choice."""

    samples: Samples
    protocol: str
    description: str
    trained_on: int | None


@dataclass(frozen=True)
class _Judged:
    """A data set under the bundle's classes.

    Attributes:
        samples: what may be judged.
        fingerprint: of the whole data set.
        learnt: ids of the images that training saw as those of another data set; None where it saw none of this one.
        left_out: images of classes that nobody asked for.
        classes: the data's class codes -> the bundle's, where they were given.
    """

    samples: Samples
    fingerprint: str
    learnt: frozenset[str] | None
    left_out: int
    classes: Mapping[str, str] | None


def _read(data: Path, spec: Spec, classes: Mapping[str, str] | None) -> _Judged:
    """The samples, their classes checked against the bundle's and put into its order.

    Raises:
        DataError: classes that the bundle does not know, or classes given for the data set that it was trained on.
    """
    samples = read_samples(data)
    fingerprint = samples.fingerprint
    learnt = None
    for seen, chosen in zip(spec.provenance.extra, _data_recipe(spec).extra, strict=False):
        if seen.fingerprint == fingerprint:
            learnt = frozenset(extra_of(samples, data, chosen.classes, spec.labels).samples.frame["image"])
    if classes is None:
        return _Judged(_known_classes(samples, data, spec), fingerprint, learnt, 0, None)
    if fingerprint == spec.provenance.fingerprint:
        raise DataError(f"{data}: {spec.name} was trained on this data set and knows its classes; leave out which stands for which")
    renamed = rename_classes(samples, data, classes, spec.labels)
    if not len(renamed):
        raise DataError(f"{data}: has no image of the classes {', '.join(classes)}")
    return _Judged(renamed, fingerprint, learnt, len(samples) - len(renamed), classes)


def _known_classes(samples: Samples, data: Path, spec: Spec) -> Samples:
    """The samples under the bundle's order of classes.

    Raises:
        DataError: classes that the bundle does not know.
    """
    present = [code for code in samples.labels.codes if (samples.frame["label"] == code).any()]
    foreign = [code for code in present if code not in spec.codes]
    if foreign:
        count = int(samples.frame["label"].isin(foreign).sum())
        raise DataError(
            f"{data}: {count:,} of {len(samples):,} images are of classes that {spec.name} does not know ({', '.join(foreign)}"
            f"{did_you_mean(foreign[0], spec.codes) if samples.name in _OWN_LAYOUTS else ''}); it knows {', '.join(spec.codes)}: "
            "say which class stands for which, which leaves the others out (--classes THEIRS=OURS,...), or rename them in a CSV with "
            "columns path and label"
        )
    return Samples(samples.name, samples.root, spec.labels, samples.frame)


def _choose(judged: _Judged, spec: Spec, *, split: str, split_file: str | Path | None, protocol: str | None) -> _Part:
    if split not in (*SPLITS, ALL):
        raise DataError(f"unknown split {split!r}{did_you_mean(split, (*SPLITS, ALL))}")
    if split_file is not None and protocol is not None:
        raise DataError("a saved split and a protocol exclude each other; give one of them")
    samples, learnt = judged.samples, judged.learnt
    trained = _split_of_training(samples, spec) if judged.fingerprint == spec.provenance.fingerprint else None
    if trained is not None:
        learnt = frozenset(trained.frame["image"][trained.frame["split"] == "train"])
    if split_file is not None:
        divided, named = load_split(samples, split_file), f"by {Path(split_file).name}"
    elif protocol is not None:
        divided, named = _divide(samples, spec, protocol), f"protocol {protocol}"
    elif trained is not None:
        divided, named = trained, f"protocol {spec.provenance.protocol}, as in training"
    elif learnt is None:
        divided, named, split = samples, "not the data of its training", ALL
    elif split == ALL:
        divided, named = samples, "training saw images of this data set as well"
    else:
        divided, named, split = samples.without(learnt), "that training has not seen", ALL
        if not len(divided):
            raise DataError(f"{samples.root}: {spec.name} was trained on all of these images; take others, or --split all")
    chosen = divided if split == ALL else divided.subset(split)
    overlap = None if learnt is None else int(chosen.frame["image"].isin(learnt).sum())
    text = f"all {len(chosen):,} images" if split == ALL else f"{len(chosen):,} {split} images"
    text += f" ({named})" if split != ALL or trained is None else ""
    text += f"; {judged.left_out:,} of other classes left out" if judged.left_out else ""
    if overlap:
        text += f"; {overlap:,} of them it was trained on, so that the figures do not hold for new images"
    used = "all images" if split == ALL else (protocol or ("saved split" if split_file is not None else spec.provenance.protocol))
    return _Part(chosen, used, text, overlap)


def _split_of_training(samples: Samples, spec: Spec) -> Samples:
    origin = spec.provenance
    divided = _divide(samples, spec, origin.protocol)
    chosen = _data_recipe(spec)
    if chosen.folds is not None:
        divided = kfold_samples(divided, origin.protocol, folds=chosen.folds, fold=chosen.fold, seed=origin.split_seed)
    return divided


def _divide(samples: Samples, spec: Spec, protocol: str) -> Samples:
    return split_samples(samples, protocol, fractions=_data_recipe(spec).fractions, seed=spec.provenance.split_seed)


def _data_recipe(spec: Spec) -> DataRecipe:
    """How the bundle's data were divided; only the keys known here, since another version may have written more."""
    stored = spec.provenance.recipe.get("data") or {}
    return DataRecipe.model_validate({key: stored[key] for key in ("fractions", "folds", "fold", "extra") if key in stored})


def _predict(classifier: Classifier, samples: Samples, table: Path, progress: bool | Progress) -> None:
    """Write the predictions and, where the graph has them, the maps of the predicted and the true class."""
    logits, predicted, target = [], [], []
    angles: list[float] = []
    atypicality: list[float] = []
    done = 0
    with shown(progress, f"classifying with {classifier.spec.name}", len(samples)) as tick:
        for pixels in _stream(samples, classifier.size):
            outputs = classifier.run(pixels)
            rows = np.arange(len(pixels))
            angles += [estimate_angle(one) for one in pixels]
            logits.append(outputs.logits)
            if outputs.atypicality is not None:
                atypicality += outputs.atypicality.tolist()
            if outputs.cam is not None:
                predicted.append(outputs.cam[rows, outputs.logits.argmax(axis=1)].astype(np.float16))
                target.append(outputs.cam[rows, samples.targets[done : done + len(pixels)]].astype(np.float16))
            done += len(pixels)
            tick(done, len(samples))
    frame = samples.frame
    images = frame["image"].tolist()
    taken = [*COLUMNS, *(c for c in frame.columns if c in classifier.labels.codes)]
    metadata = frame.drop(columns=taken)
    if atypicality:
        metadata = metadata.assign(atypicality=atypicality)
    write_predictions(
        table,
        images=images,
        paths=frame["path"].tolist(),
        groups=frame["group"].tolist(),
        targets=frame["label"].tolist(),
        probabilities=softmax(np.concatenate(logits)),  # before the temperature, as training writes them
        codes=classifier.labels.codes,
        metadata=metadata,
    )
    write_skin(stress_folder(table), images, angles)
    if predicted:
        write_maps(maps_path(table), images=images, predicted=np.concatenate(predicted), target=np.concatenate(target))


def _stream(samples: Samples, size: int) -> Iterator[Pixels]:
    """Decoded chunks (n, size, size, 3) in row order; the next chunk is decoded while one is classified, and no more than that."""
    chunks = [range(start, min(start + _CHUNK, len(samples))) for start in range(0, len(samples), _CHUNK)]
    with ThreadPoolExecutor(available_cores()) as pool:

        def begin(rows: range) -> list[Future[Pixels]]:
            return [pool.submit(lambda row=row: resize(samples.read(row), size)) for row in rows]  # type: ignore[misc]

        waiting = begin(chunks[0])
        try:
            for following in [*chunks[1:], range(0)]:
                current, waiting = waiting, begin(following)
                yield np.stack([future.result() for future in current])
        finally:
            for future in waiting:
                future.cancel()


def _write_record(folder: Path, spec: Spec, judged: _Judged, part: _Part, data: Path, seconds: float) -> None:
    record = {
        "name": spec.name,
        "command": command_line(),
        "recipe": spec.provenance.recipe.get("name", ""),
        "network": spec.network.name,
        "parameters": spec.network.parameters,
        "data": judged.samples.name,
        "data_root": str(data),
        "fingerprint": judged.fingerprint,
        "protocol": part.protocol,
        "split_seed": spec.provenance.split_seed,
        "seed": spec.provenance.seed,
        "hardware": hardware(torch.device("cpu"), 1),
        "wall_seconds": round(seconds, 1),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions(),
        "labels": [c.model_dump() for c in spec.classes],
        "temperature": spec.temperature,
        "bundle": {"name": spec.name, "version": spec.version, "weights": spec.weights, "model_sha256": spec.files["model.onnx"]},
        "judged": part.description,
        "trained_on": part.trained_on,
        **({} if judged.classes is None else {"classes": dict(judged.classes)}),
    }
    write_text(folder / "run.json", json.dumps(record, indent=2, ensure_ascii=False) + "\n")


def measure_trust(
    bundle: str | Path,
    data: str | Path,
    *,
    others: Mapping[str, str | Path] | None = None,
    out: str | Path | None = None,
    resamples: int = RESAMPLES,
    progress: bool | Progress = True,
) -> tuple[Study, Path]:
    """Measure how well a bundle knows what it cannot judge: every score on sets of other pictures, image quality, prediction sets.

    The scores are fitted to the training images and compared on the validation images, by the very split of the bundle's training; the
    test images are only reported on.

    Args:
        bundle: a packaged bundle's name, a bundle folder, or a run folder that has one.
        data: the data set that it was trained on.
        others: name -> folder with pictures of other things; sets made in code are always measured.
        out: folder of ``trust.json``, ``trust.md`` and ``trust.png`` and ``.svg``; ``runs/<bundle>-trust`` when left out.
        resamples: bootstrap resamples behind each interval of the coverage.
        progress: show bars, or a function called with (done, total).

    Returns:
        The figures, and the folder.

    Raises:
        BundleError: no such bundle, or a damaged one.
        DataError: not the data that it was trained on, a split without validation images, or a folder without images.
        ImageError: an image cannot be read.
        OutputError: the disk refuses.
    """
    started = time.monotonic()
    classifier = Classifier(find_bundle(bundle))
    spec = classifier.spec
    folders = {name: find_images(Path(folder)) for name, folder in (others or {}).items()}
    for name, images in folders.items():
        if not images:
            raise DataError(f"{name}: no images in {(others or {})[name]}")
    samples = _known_classes(read_samples(data), Path(data), spec)
    if samples.fingerprint != spec.provenance.fingerprint:
        raise DataError(
            f"{data}: not the data that {spec.name} was trained on (fingerprint {samples.fingerprint[:12]}…, "
            f"the bundle's is {spec.provenance.fingerprint[:12]}…): the scores are fitted to its training images"
        )
    divided = _split_of_training(samples, spec)
    parts = {split: divided.subset(split) for split in SPLITS}
    seen = {split: look(classifier, _counted(part, classifier.size, split, progress)) for split, part in parts.items()}
    phantoms = spec.codes if spec.domain == "phantom" else ()
    unlike = {name: look(classifier, [pixels]) for name, pixels in made_sets(phantoms, classifier.size, STUDY_PICTURES)}
    for name, images in folders.items():
        unlike[name] = look(classifier, (np.stack([load(path, classifier.size)]) for path in images))
    spoilt = {
        kind: look(classifier, (np.stack([spoil(kind, one) for one in chunk]) for chunk in _stream(parts["val"], classifier.size)))
        for kind in SPOILT
    }
    test = parts["test"]
    study = study_trust(
        classifier,
        seen["train"],
        parts["train"].targets,
        seen["val"],
        seen["test"],
        test.targets,
        test.frame["group"].to_numpy(),
        unlike,
        spoilt,
        resamples=resamples,
    )
    folder = Path(out) if out is not None else Path("runs") / f"{spec.name}-trust"
    facts = {
        "bundle": {"name": spec.name, "version": spec.version, "weights": spec.weights, "model_sha256": spec.files["model.onnx"]},
        "command": command_line(),
        "data": samples.name,
        "fingerprint": samples.fingerprint,
        "protocol": spec.provenance.protocol,
        "split_seed": spec.provenance.split_seed,
        "images": {split: len(part) for split, part in parts.items()},
        "hardware": hardware(torch.device("cpu"), 1),
        "wall_seconds": round(time.monotonic() - started, 1),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions(),
    }
    write_text(folder / "trust.json", json.dumps(facts | study.to_dict(), indent=2, ensure_ascii=False) + "\n")
    counted = ", ".join(f"{len(part):,} {split}" for split, part in parts.items())
    head = (
        f"# What {spec.name} knows that it cannot judge\n\n`{facts['command']}`; {samples.name} (fingerprint "
        f"`{samples.fingerprint[:16]}`), protocol {spec.provenance.protocol}, split seed "
        f"{spec.provenance.split_seed}: {counted} images; {facts['hardware']}; "
        f"{facts['wall_seconds']:.0f} s. Scores are fitted to training images and compared on validation images; test images are only "
        f"reported on. Lowest mean FPR: {study.chosen}.\n\n"
    )
    write_text(folder / "trust.md", head + study.markdown() + "\nResearch use only, not a medical device.\n")
    save_plot(study.figure(), folder / "trust")
    return study, folder


def _counted(samples: Samples, size: int, what: str, progress: bool | Progress) -> Iterator[Pixels]:
    with shown(progress, f"reading the {what} images", len(samples)) as tick:
        done = 0
        for pixels in _stream(samples, size):
            yield pixels
            done += len(pixels)
            tick(done, len(samples))


_HEADLINE = (
    ("accuracy", "accuracy", True),
    ("balanced_accuracy", "balanced accuracy (mean recall)", True),
    ("bacc_ovr", "BACC, each class against the rest", True),
    ("macro_f1", "macro F1", True),
    ("macro_auc", "macro AUC", False),
    ("ece", "expected calibration error", True),
)


def _result(title: str, folder: Path, index: Path) -> Evaluation:
    metrics: dict[str, Any] = json.loads((index.parent / "metrics.json").read_text(encoding="utf-8"))
    found = metrics["metrics"]
    rows = [_row(name, found["overall"][key], percent) for key, name, percent in _HEADLINE]
    if found["malignant"] is not None:
        rows.append(_row("AUC, malignant against benign", found["malignant"]["auc"], False))
        for specificity, value in found["malignant"]["sensitivity_at_specificity"].items():
            rows.append(_row(f"malignant sensitivity at {100 * float(specificity):g} % specificity", value, True))
    return Evaluation(title, folder, index, metrics, rows)


def _row(name: str, value: dict[str, float | None], percent: bool) -> tuple[str, str, str, str]:
    def show(number: float | None) -> str:
        if number is None:
            return "–"
        return f"{100 * number:.1f} %" if percent else f"{number:.3f}"

    return name, show(value["value"]), show(value["low"]), show(value["high"])
