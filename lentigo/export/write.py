"""Turn a finished run into a bundle: fit on validation, measure on test, write, and check the outputs."""

from __future__ import annotations

import re
import tempfile
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np

from lentigo.bundle import CARD, GOLDEN, MODALITY, MODEL, Abstention, Bundle, Metadata, write_bundle
from lentigo.data.samples import split_key
from lentigo.errors import BundleError, did_you_mean
from lentigo.evaluation import calibrate, evaluate_predictions
from lentigo.evaluation.conformal import measure_coverage
from lentigo.evaluation.intervals import RESAMPLES
from lentigo.evaluation.metadata import fit_metadata, measure_metadata, with_metadata
from lentigo.evaluation.runfiles import read_run
from lentigo.export.abstention import SMALLEST, add_abstention, collect_features
from lentigo.export.card import write_card
from lentigo.export.golden import make_golden
from lentigo.export.graph import describe_graph, export_graph, output_shapes
from lentigo.export.images import RunImages, read_images
from lentigo.export.mobile import check_formats, convert
from lentigo.export.modality import OTHER, Kind
from lentigo.export.parity import ParityReport, check_parity
from lentigo.export.provenance import (
    DATA,
    MODALITY_DATA,
    data_domain,
    data_facts,
    model_name,
    other_notes,
    training_data_facts,
)
from lentigo.export.quantize import Variant, Weights, check_drop, measure_variant, quantise_int8, store_float16
from lentigo.export.session import Session
from lentigo.export.spec import make_spec
from lentigo.export.stages import About, Figures, Graph, Source
from lentigo.inference import softmax
from lentigo.progress import shown
from lentigo.training import Run, load_run

# Predictions on a GPU in bfloat16 differ from float32 on a CPU by up to a few hundredths, those of another checkpoint
# by far more.
_ON_FILE_TOLERANCE = 0.05
_ON_FILE_IMAGES = 32


def export_run(
    run_folder: str | Path,
    out: str | Path | None = None,
    *,
    about: About | None = None,
    weights: str = "fp32",
    compare: bool = False,
    also: Sequence[str] = (),
    data: str | Path | None = None,
    cache: str | Path | None = None,
    resamples: int = RESAMPLES,
    progress: bool = False,
) -> Bundle:
    """Write the bundle of a finished run.

    Temperature, operating points and prediction sets are fitted on the run's validation predictions; figures and
    intervals are measured on its test predictions. If the images are available, the graph also gets an OOD score.

    The bundle replaces ``out`` only after it reproduces its golden vectors in every available runtime. If a step fails,
    ``out`` is not changed.

    Args:
        run_folder: a finished run.
        out: the bundle folder; None for ``bundle`` in the run folder. An existing bundle is replaced.
        about: name, title and licence of the bundle; None for the defaults from the run.
        weights: ``fp32``; ``fp16`` (half the size) or ``int8``, both refused if they lose more than half a point of
            balanced accuracy on validation. These two need the images.
        compare: whether to measure float16 and int8 weights for the card, whichever are exported. Needs the images.
        also: additional formats, keys of :data:`lentigo.export.mobile.FILES`: ``litert``, ``executorch``, ``coreml``;
            always in float32, without the OOD score.
        data: the data set of the run; None for the folder in the run's record. Without it the bundle cannot abstain,
            and a warning is given.
        cache: folder of decoded images; None for the user's cache folder.
        resamples: number of bootstrap resamples for each interval.
        progress: whether to show a bar while images are decoded.

    Returns:
        The bundle, opened and verified.

    Raises:
        TrainingError: the folder is not a run folder, or its checkpoint is damaged.
        DataError: the predictions cannot be used, or the data are not the run's.
        BundleError: the run is not finished, the network cannot be exported, the weights lose too much accuracy, or the
            bundle does not reproduce its golden vectors.
        MissingExtraError: the converter of an additional format is not installed.
        OutputError: the bundle cannot be written.
    """
    chosen, about, formats = _weights(weights), about or About(), check_formats(also)
    run = load_run(run_folder)
    _check_name(about.name or model_name(run))
    source = read_source(run, data, needed=chosen != "fp32" or compare, cache=cache, progress=progress)
    if source.images is None:
        warnings.warn(
            f"{run.folder}: without the images of the run the bundle cannot abstain; say where they are (--data)",
            stacklevel=2,
        )
    domain = about.domain or data_domain(source.facts, run)
    graph = build_graph(source, chosen, compare=compare, kind=domain if domain in OTHER else None, progress=progress)
    notes = [_data_note(source), *other_notes(run)]
    if MODALITY in output_shapes(graph.content):  # a further graph, with the licences of its own training data
        source = replace(source, training_data=[*source.training_data, *MODALITY_DATA])
        known = ", ".join(facts.title for facts in MODALITY_DATA)
        notes.append(f"The graph that separates kinds of pictures was trained on images of {known}.")
    figures = measure(source, resamples)
    spec = make_spec(source, graph, figures, about)
    mobile = tuple(convert(graph.network, spec.input.size, form) for form in formats)
    graph = replace(graph, content=describe_graph(graph.content, spec), mobile=mobile)
    card = write_card(spec, source, graph, figures, " ".join(filter(None, notes)))
    parts = {MODEL: graph.content, CARD: card.encode("utf-8"), GOLDEN: make_golden(graph.content, spec)}
    parts |= {one.file: one.content for one in mobile}
    with tempfile.TemporaryDirectory(prefix="lentigo-") as staging:
        report = check_parity(write_bundle(Path(staging) / "bundle", spec, parts), graph.network)
        _refuse_differences(report, run)
    return write_bundle(Path(out) if out is not None else run.folder / "bundle", spec, parts)


def read_source(run: Run, data: str | Path | None, *, needed: bool, cache: str | Path | None, progress: bool) -> Source:
    """Read a run's predictions and images, and fit on its validation part; the arguments are those of `read_images`.

    Raises:
        BundleError: the run is not finished, has no validation predictions, or lacks images that are needed.
        DataError: the predictions cannot be used, or the data are not the run's.
    """
    if not run.finished:
        done, epochs = run.record.get("epochs_done", 0), run.recipe.epochs
        raise BundleError(
            f"{run.folder}: the run is not finished ({done} of {epochs} epochs); go on with lentigo train --resume,"
            " then export"
        )
    files = read_run(run.folder)
    if files.validation is None:
        raise BundleError(
            f"{run.folder}: predictions/val.csv is missing; the temperature is fitted on it: train with a validation"
            " part"
        )
    images = read_images(run, data, needed=needed, cache=cache, progress=progress)
    facts = data_facts(run, files.test)
    return Source(
        run,
        files.validation,
        files.test,
        images,
        facts,
        training_data_facts(run, facts),
        calibrate(files),
        _metadata(run, images),
    )


def _metadata(run: Run, images: RunImages | None) -> Metadata | None:
    """Fit the recipe's metadata on the training part.

    Raises:
        BundleError: the images' table is not available, or has none of the fields.
    """
    fields = run.recipe.metadata
    if not fields:
        return None
    if images is None:
        raise BundleError(f"{run.folder}: metadata are fitted on the table of the data: say where they are (--data)")
    rows = images.rows("train")
    frame = images.samples.frame.iloc[rows]
    found = fit_metadata(frame, images.samples.targets[rows], list(frame["group"]), len(run.labels), fields)
    if found is None:
        raise BundleError(f"{run.folder}: metadata: the data have no values of {', '.join(fields)}")
    return found


def build_graph(source: Source, weights: Weights, *, compare: bool, kind: Kind | None = None, progress: bool) -> Graph:
    """Export the trained network, store its weights as requested, and append the OOD score.

    Args:
        source: the run.
        weights: kind of stored weights.
        compare: whether to measure the other kinds too.
        kind: kind of pictures that the model is for, to append the modality graph; None for no such graph.
        progress: whether to show a bar.

    Raises:
        BundleError: the network cannot be exported, differs from the saved predictions, or loses too much accuracy.
    """
    images, network = source.images, source.run.network()
    content = export_graph(network, source.run.recipe.final_size)
    if images is None:
        return Graph(network, content, weights, None, ())
    _check_on_file(content, source, images)
    variants = _variants(content, images, weights, compare=compare)
    if weights != "fp32":
        check_drop(variants["fp32"], variants[weights])
        content = variants[weights].content
    abstention = None
    if len(images.rows("val")) >= SMALLEST:
        content, abstention = _abstention(content, source, images, kind, progress=progress)
    return Graph(network, content, weights, abstention, tuple(variants.values()))


def measure(source: Source, resamples: int) -> Figures:
    """Measure the calibrated model on the test predictions."""
    calibration, test, labels = source.calibration, source.test, source.run.labels
    assert calibration.conformal is not None  # fitted on validation
    metrics = evaluate_predictions(
        test,
        labels,
        resamples=resamples,
        temperature=calibration.temperature,
        thresholds=dict(calibration.thresholds or {}),
    )
    probabilities = calibration.apply(test.probabilities)
    coverage = measure_coverage(
        probabilities, test.targets, test.groups, calibration.conformal, labels.codes, resamples=resamples
    )
    effect = None
    if source.metadata is not None:
        calibrated = test.with_probabilities(probabilities)
        both = with_metadata(calibrated, source.metadata)
        effect = measure_metadata(calibrated, both, labels, resamples=resamples)
    return Figures(metrics, coverage, effect)


def _weights(weights: str) -> Weights:
    for known in get_args(Weights):
        if weights == known:
            return known  # type: ignore[no-any-return]
    raise BundleError(f"unknown weights {weights!r}{did_you_mean(weights, get_args(Weights))}")


def _check_name(name: str) -> None:
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", name):
        raise BundleError(
            f"{name!r} cannot name a bundle: use lower-case letters, digits, '.', '_' and '-', and begin with a letter"
            " or digit"
        )


def _abstention(
    content: bytes, source: Source, images: RunImages, kind: Kind | None, *, progress: bool
) -> tuple[bytes, Abstention]:
    """Append the OOD score to the graph, and return the graph and the entry of the specification."""
    phantoms = source.run.labels.codes if source.facts is DATA["phantoms"] else ()
    rows = images.rows("train")
    with shown(progress, "reading the training images", len(rows)) as tick:
        train = collect_features(Session(content), images.batches(rows), lambda done: tick(done, len(rows)))
    validation = list(images.batches(images.rows("val")))
    size = images.pixels.shape[1]
    return add_abstention(
        content, train, images.samples.targets[rows], validation, phantoms=phantoms, size=size, kind=kind
    )


def _check_on_file(content: bytes, source: Source, images: RunImages) -> None:
    """Check that the graph reproduces the saved predictions: the same checkpoint, size and normalisation.

    Raises:
        BundleError: it does not.
    """
    on_file = dict(zip(source.validation.images.tolist(), source.validation.probabilities, strict=True))
    rows = images.rows("val")[:_ON_FILE_IMAGES]
    expected = np.stack([on_file[str(image)] for image in images.samples.frame["image"].iloc[rows]])
    session = Session(content)
    found = np.concatenate([softmax(session(batch)["logits"]) for batch in images.batches(rows)])
    difference = float(np.abs(found - expected).max())
    if difference > _ON_FILE_TOLERANCE:
        raise BundleError(
            "the exported network answers otherwise than predictions/val.csv (probabilities differ by up to"
            f" {difference:.3f}): the checkpoint and the predictions are not of one run; train again"
        )


def _variants(content: bytes, images: RunImages, chosen: Weights, *, compare: bool) -> dict[Weights, Variant]:
    wanted: tuple[Weights, ...] = get_args(Weights) if compare else ("fp32", chosen)
    if not compare and chosen == "fp32":
        return {}
    rows = images.rows("val")
    targets = images.samples.targets[rows]
    stored: dict[Weights, bytes] = {"fp32": content}
    if "fp16" in wanted:
        stored["fp16"] = store_float16(content)
    if "int8" in wanted:
        try:
            stored["int8"] = quantise_int8(content, list(images.batches(images.spread())))
        except BundleError:
            if chosen == "int8":
                raise  # otherwise the card's comparison omits int8
    return {kind: measure_variant(kind, graph, images.batches(rows), targets) for kind, graph in stored.items()}


def _data_note(source: Source) -> str:
    """Return a sentence on images that were not the published files."""
    facts, images = source.facts, source.images
    if facts is None or facts.original is None:
        return ""
    suffix, original = facts.original
    found = {Path(split_key(path)[0]).suffix.lower() for path in source.test.frame["path"]}
    if found <= {suffix}:
        return ""
    sizes = ""
    if images is not None:
        rows = np.linspace(0, len(images.samples) - 1, num=min(32, len(images.samples)), dtype=int)
        (width, height), _ = Counter(images.samples.read(int(row)).size for row in rows).most_common(1)[0]
        sizes = f", mostly {width} x {height} px"
    kinds = ", ".join(sorted(s.lstrip(".").upper() for s in found))
    return (
        f"The images were re-encoded copies ({kinds}{sizes}) of the originals ({original}): compare the figures with"
        " those of models trained and tested on the same copies, not with results on the originals."
    )


def _refuse_differences(report: ParityReport, run: Run) -> None:
    if report.passed:
        return
    worst = max(report.failures, key=lambda d: d.difference)
    raise BundleError(
        f"{run.folder}: the bundle does not give its golden answers and is not written: {len(report.failures)} of"
        f" {len(report.differences)} comparisons fail, the worst {worst.quantity} of {worst.case!r} in {worst.runtime}"
        f" by {worst.difference:.3g} (allowed {worst.tolerance:.3g})"
    )
