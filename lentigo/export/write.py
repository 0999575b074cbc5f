"""From a finished run to a bundle: fit what is fitted on validation, measure on test, write, and check the answers."""

from __future__ import annotations

import re
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from lentigo import __version__
from lentigo.bundle import (
    CARD,
    GOLDEN,
    MODEL,
    Abstention,
    Bundle,
    Conformal,
    InputSpec,
    LearntToo,
    NetworkSpec,
    OperatingPoint,
    OutputSpec,
    Provenance,
    Spec,
    Taught,
    write_bundle,
)
from lentigo.data import Samples, load_split, open_cache, read_samples
from lentigo.data.samples import split_key
from lentigo.errors import BundleError, DataError, did_you_mean
from lentigo.evaluation import (
    Metrics,
    PredictionTable,
    apply_temperature,
    evaluate_predictions,
    fit_temperature,
    malignant_score,
    operating_points,
)
from lentigo.evaluation.conformal import Coverage, fit_conformal, measure_coverage
from lentigo.evaluation.intervals import RESAMPLES, Estimate
from lentigo.evaluation.runfiles import RunFiles, read_run
from lentigo.export.abstention import SMALLEST, add_abstention, collect_features
from lentigo.export.card import write_card
from lentigo.export.golden import make_golden
from lentigo.export.graph import export_graph, output_shapes
from lentigo.export.parity import ParityReport, check_parity
from lentigo.export.provenance import (
    DATA,
    DataFacts,
    Domain,
    data_domain,
    data_facts,
    data_licence,
    learnt_facts,
    model_licence,
    model_title,
    other_notes,
)
from lentigo.export.quantize import Variant, Weights, check_drop, measure_variant, quantise_int8, store_float16
from lentigo.export.session import FloatArray, Session
from lentigo.imaging import IMAGENET_MEAN, IMAGENET_STD, normalise
from lentigo.inference import softmax
from lentigo.networks import Network, profile_network
from lentigo.progress import shown
from lentigo.training import Run, load_run

CALIBRATION_IMAGES = 256
"""Training images that int8 scales are measured on, spread evenly over the classes."""

# Predictions made on a GPU in bfloat16 differ from float32 on a CPU by up to a few hundredths; another checkpoint differs by far more.
_ON_FILE_TOLERANCE = 0.05
_ON_FILE_IMAGES = 32
_BATCH = 16


def export_run(
    run_folder: str | Path,
    out: str | Path | None = None,
    *,
    name: str | None = None,
    title: str | None = None,
    weights: str = "fp32",
    data: str | Path | None = None,
    version: str = "1",
    domain: Domain | None = None,
    licence: str | None = None,
    notes: str = "",
    compare: bool = False,
    resamples: int = RESAMPLES,
    cache: str | Path | None = None,
    progress: bool = False,
) -> Bundle:
    """Write the bundle of a finished run.

    Temperature, operating points and prediction sets are fitted on the run's validation predictions, figures and intervals measured on
    its test predictions. Where the images are at hand, the graph also gets a score of how unlike the training images an image is.

    The bundle appears only once it gives its golden answers in every runtime at hand; until then, and where anything fails, what was
    at ``out`` stays.

    Args:
        run_folder: a finished run.
        out: the bundle folder; ``bundle`` in the run folder when left out. A bundle that is there is replaced.
        name: the bundle's name, lower case; the recipe's when left out.
        title: one line for people.
        weights: ``fp32``; ``fp16`` (half the size) or ``int8``, both refused where they lose more than half a point of balanced
            accuracy on validation. These two need the images.
        data: the data set of the run; where the run says it was, when left out. Without it there is no abstention, and a warning.
        version: the bundle's version.
        domain: what kind of images; known for the published data sets and for phantoms, otherwise told from the classes.
        licence: of the model; by default that of the data where it binds, otherwise Apache-2.0.
        notes: a remark for the provenance and the card.
        compare: measure float16 and int8 weights too and put them in the card, whichever are exported. Needs the images.
        resamples: bootstrap resamples behind each interval.
        cache: folder of decoded images; the user's cache folder when left out.
        progress: show a bar while images are decoded.

    Returns:
        The bundle, opened and verified.

    Raises:
        TrainingError: no run folder, or its checkpoint is damaged.
        DataError: predictions that cannot be used, or data that are not the run's.
        BundleError: the run is not finished, the network cannot be exported, the variant loses too much, or the bundle does not
            give its golden answers.
        OutputError: the disk refuses.
    """
    chosen = _weights(weights)
    run = load_run(run_folder)
    files = _finished(run)
    target = Path(out) if out is not None else run.folder / "bundle"
    validation = files.validation
    if validation is None:
        raise BundleError(f"{run.folder}: predictions/val.csv is missing; the temperature is fitted on it: train with a validation part")
    named = _name(name or run.recipe.name)
    images = _images_of(run, data, needed=chosen != "fp32" or compare, cache=cache, progress=progress)
    if images is None:
        warnings.warn(f"{run.folder}: without the images of the run the bundle cannot abstain; say where they are (--data)", stacklevel=2)
    facts = data_facts(run, files.test)
    learnt = learnt_facts(run, facts)
    temperature = fit_temperature(validation.probabilities, validation.targets)
    points = _points(validation, temperature, run)
    conformal = fit_conformal(apply_temperature(validation.probabilities, temperature), validation.targets, run.labels.codes)
    metrics = evaluate_predictions(
        files.test, run.labels, resamples=resamples, temperature=temperature, thresholds={p.name: p.threshold for p in points}
    )
    network = run.network()
    size = run.recipe.final_size
    content = export_graph(network, size)
    if images is not None:
        _check_on_file(content, images, validation)
    variants = _variants(content, images, chosen, compare=compare) if images is not None else {}
    if chosen != "fp32":
        check_drop(variants["fp32"], variants[chosen])
        content = variants[chosen].content
    abstention = None
    if images is not None and len(images.rows("val")) >= SMALLEST:
        phantoms = run.labels.codes if facts is DATA["phantoms"] else ()
        content, abstention = _abstention(content, images, phantoms, progress=progress)
    spec = _spec(
        run,
        network,
        content,
        name=named,
        title=title or model_title(learnt, run),
        version=version,
        domain=domain or data_domain(facts, run),
        licence=licence or model_licence(learnt),
        data_licence=data_licence(learnt),
        notes=notes,
        weights=chosen,
        temperature=temperature,
        points=points,
        conformal=conformal,
        abstention=abstention,
        metrics=metrics,
    )
    coverage = measure_coverage(
        apply_temperature(files.test.probabilities, temperature),
        files.test.targets,
        files.test.groups,
        conformal,
        run.labels.codes,
        resamples=resamples,
    )
    spec = spec.model_copy(update={"metrics": spec.metrics | coverage_metrics(spec.metrics, coverage)})
    card = write_card(
        spec,
        metrics,
        counts=_class_counts(run.record),
        facts=facts,
        non_commercial=any(one is not None and one.non_commercial for one in learnt),
        data_note=" ".join(filter(None, (_data_note(facts, files.test, images), *other_notes(run)))),
        model_bytes=len(content),
        variants=tuple(variants.values()),
        coverage=coverage,
    )
    golden = make_golden(content, size=size, mean=spec.input.mean, std=spec.input.std, temperature=temperature, weights=chosen)
    parts = {MODEL: content, CARD: card.encode("utf-8"), GOLDEN: golden}
    with tempfile.TemporaryDirectory(prefix="lentigo-") as staging:
        report = check_parity(write_bundle(Path(staging) / "bundle", spec, parts), network)
        _refuse_differences(report, run)
    return write_bundle(target, spec, parts)


@dataclass(frozen=True)
class _Images:
    """The run's images, decoded at its final size, with its split."""

    samples: Samples
    pixels: npt.NDArray[np.uint8]

    def rows(self, split: str) -> npt.NDArray[np.intp]:
        return np.flatnonzero(self.samples.frame["split"].to_numpy() == split)

    def batches(self, rows: npt.NDArray[np.intp]) -> Iterator[FloatArray]:
        """Normalised batches (n, 3, S, S) of these rows, in order."""
        for start in range(0, len(rows), _BATCH):
            yield normalise(np.asarray(self.pixels[rows[start : start + _BATCH]]), IMAGENET_MEAN, IMAGENET_STD)


def _weights(weights: str) -> Weights:
    for known in get_args(Weights):
        if weights == known:
            return known  # type: ignore[no-any-return]
    raise BundleError(f"unknown weights {weights!r}{did_you_mean(weights, get_args(Weights))}")


def _name(name: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", name):
        raise BundleError(
            f"{name!r} cannot name a bundle: use lower-case letters, digits, '.', '_' and '-', and begin with a letter or digit"
        )
    return name


def _finished(run: Run) -> RunFiles:
    if not run.finished:
        done, epochs = run.record.get("epochs_done", 0), run.recipe.epochs
        raise BundleError(
            f"{run.folder}: the run is not finished ({done} of {epochs} epochs); go on with lentigo train --resume, then export"
        )
    return read_run(run.folder)


def _points(validation: PredictionTable, temperature: float, run: Run) -> tuple[OperatingPoint, ...]:
    scored = malignant_score(apply_temperature(validation.probabilities, temperature), validation.targets, run.labels)
    return () if scored is None else operating_points(*scored)


def _images_of(run: Run, data: str | Path | None, *, needed: bool, cache: str | Path | None, progress: bool) -> _Images | None:
    """The run's images where they are at hand.

    Raises:
        BundleError: they are needed and not there.
        DataError: they are not the run's.
    """
    recorded = str(run.record.get("data_root") or "")
    place = Path(data if data is not None else recorded)
    wanted = needed or data is not None
    if not wanted and not (recorded and place.exists()):
        return None
    if not place.exists():
        raise BundleError(
            f"{place}: the images of the run are not there; weights other than fp32 are judged on them: say where they are (--data)"
        )
    samples = read_samples(place)
    if samples.fingerprint != run.record["fingerprint"]:
        if not wanted:
            return None
        raise DataError(
            f"{place}: not the data that {run.folder} was trained on (fingerprint {samples.fingerprint[:12]}…, "
            f"the run's is {str(run.record['fingerprint'])[:12]}…)"
        )
    samples = load_split(samples, run.folder / "split.csv")
    return _Images(samples, open_cache(samples, run.recipe.final_size, cache, progress=progress).pixels)


def _abstention(content: bytes, images: _Images, phantoms: Sequence[str], *, progress: bool) -> tuple[bytes, Abstention]:
    """The graph with its score of how unlike the training images an image is, and the entry of the specification."""
    rows = images.rows("train")
    with shown(progress, "reading the training images", len(rows)) as tick:
        train = collect_features(Session(content), images.batches(rows), lambda done: tick(done, len(rows)))
    validation = images.batches(images.rows("val"))
    size = images.pixels.shape[1]
    return add_abstention(content, train, images.samples.targets[rows], validation, phantoms=phantoms, size=size)


def _check_on_file(content: bytes, images: _Images, validation: PredictionTable) -> None:
    """The graph must answer as the predictions on file say: the same checkpoint, size and normalisation.

    Raises:
        BundleError: it does not.
    """
    on_file = dict(zip(validation.images.tolist(), validation.probabilities, strict=True))
    rows = images.rows("val")[:_ON_FILE_IMAGES]
    expected = np.stack([on_file[str(image)] for image in images.samples.frame["image"].iloc[rows]])
    session = Session(content)
    found = np.concatenate([softmax(session(batch)["logits"]) for batch in images.batches(rows)])
    difference = float(np.abs(found - expected).max())
    if difference > _ON_FILE_TOLERANCE:
        raise BundleError(
            f"the exported network answers otherwise than predictions/val.csv (probabilities differ by up to {difference:.3f}): "
            "the checkpoint and the predictions are not of one run; train again"
        )


def _variants(content: bytes, images: _Images, chosen: Weights, *, compare: bool) -> dict[Weights, Variant]:
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
            stored["int8"] = quantise_int8(content, list(images.batches(_spread(images))))
        except BundleError:
            if chosen == "int8":
                raise  # otherwise the comparison in the card goes without it
    return {kind: measure_variant(kind, graph, images.batches(rows), targets) for kind, graph in stored.items()}


def _spread(images: _Images) -> npt.NDArray[np.intp]:
    """Training rows to calibrate on, the same number of every class as far as there are so many; never other rows."""
    rows = images.rows("train")
    targets = images.samples.targets[rows]
    share = -(-CALIBRATION_IMAGES // len(images.samples.labels))
    rng = np.random.default_rng(0)
    picked = [rng.permutation(rows[targets == k])[:share] for k in range(len(images.samples.labels))]
    return rng.permutation(np.concatenate(picked))


def _spec(
    run: Run,
    network: Network,
    content: bytes,
    *,
    name: str,
    title: str,
    version: str,
    domain: Domain,
    licence: str,
    data_licence: str,
    notes: str,
    weights: Weights,
    temperature: float,
    points: tuple[OperatingPoint, ...],
    conformal: Conformal,
    abstention: Abstention | None,
    metrics: Metrics,
) -> Spec:
    record, recipe = run.record, run.recipe
    shapes = output_shapes(content)
    cam = shapes.get("cam")
    profile = profile_network(network, recipe.final_size, repeats=1, warmup=0)
    return Spec(
        name=name,
        version=version,
        title=title,
        domain=domain,
        classes=run.labels.classes,
        input=InputSpec(size=recipe.final_size, mean=IMAGENET_MEAN, std=IMAGENET_STD),
        outputs=OutputSpec(
            embedding=shapes["embedding"][0], cam=None if cam is None else (cam[1], cam[2]), atypicality=abstention is not None
        ),
        network=NetworkSpec(name=recipe.network.name, options=recipe.network.options, parameters=profile.parameters, macs=profile.macs),
        weights=weights,
        temperature=temperature,
        abstention=abstention,
        conformal=conformal,
        operating_points=points,
        metrics=spec_metrics(metrics),
        provenance=Provenance(
            command=record["command"],
            recipe=recipe.model_dump(mode="json"),
            data=record["data"],
            fingerprint=record["fingerprint"],
            protocol=record["protocol"],
            split_seed=record["split_seed"],
            seed=record["seed"],
            counts={split: sum(column.values()) for split, column in _split_counts(record).items()},
            extra=tuple(LearntToo.model_validate(entry) for entry in record.get("extra", [])),
            taught=tuple(Taught.model_validate(entry) for entry in record.get("taught", [])),
            hardware=record["hardware"],
            wall_seconds=record["wall_seconds"],
            created=record["created"],
            lentigo=record.get("versions", {}).get("lentigo", __version__),
            notes=notes,
        ),
        licence=licence,
        data_licence=data_licence,
    )


def spec_metrics(metrics: Metrics) -> dict[str, dict[str, Estimate]]:
    """Metrics in the form of ``spec.json``: ``test``, and ``test/<code>`` for each class; undefined ones are left out.

    Besides the overall metrics, ``test`` holds ``ece_before``, ``log_loss_before`` and ``brier_before`` (without the temperature),
    ``malignant_auc`` and ``malignant_sensitivity_at_specificity_0.90`` and its like.
    """
    overall = dict(metrics.overall)
    overall |= {f"{name}_before": value for name, value in metrics.before_temperature.items()}
    if metrics.malignant is not None:
        overall["malignant_auc"] = metrics.malignant.auc
        overall |= {f"malignant_sensitivity_at_specificity_{at:.2f}": value for at, value in metrics.malignant.sensitivity_at.items()}
    return {"test": _intervals(overall)} | {f"test/{code}": _intervals(values) for code, values in metrics.per_class.items()}


def coverage_metrics(metrics: Mapping[str, dict[str, Estimate]], coverage: Coverage) -> dict[str, dict[str, Estimate]]:
    """The entries of ``spec.metrics`` with ``coverage`` added, in total and by class; undefined ones are left out."""
    found = {"test": coverage.overall} | {f"test/{code}": value for code, value in coverage.per_class.items()}
    return {name: metrics[name] | _intervals({"coverage": value}) for name, value in found.items() if name in metrics}


def _intervals(values: Mapping[str, Estimate]) -> dict[str, Estimate]:
    return {name: e for name, e in values.items() if e.defined}


def _split_counts(record: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    """Split -> class code -> images, without the totals that the record also holds."""
    counts: dict[str, dict[str, int]] = record.get("counts", {})
    return {
        split: {code: n for code, n in column.items() if code != "total"}
        for split, column in counts.items()
        if split in ("train", "val", "test")
    }


def _class_counts(record: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    """Class code -> split -> images."""
    splits = _split_counts(record)
    return {c["code"]: {split: column.get(c["code"], 0) for split, column in splits.items()} for c in record["labels"]}


def _data_note(facts: DataFacts | None, test: PredictionTable, images: _Images | None) -> str:
    """One sentence where the images were not the published files."""
    if facts is None or facts.original is None:
        return ""
    suffix, original = facts.original
    found = {Path(split_key(path)[0]).suffix.lower() for path in test.frame["path"]}
    if found <= {suffix}:
        return ""
    sizes = ""
    if images is not None:
        rows = np.linspace(0, len(images.samples) - 1, num=min(32, len(images.samples)), dtype=int)
        (width, height), _ = Counter(images.samples.read(int(row)).size for row in rows).most_common(1)[0]
        sizes = f", mostly {width} x {height} px"
    kinds = ", ".join(sorted(s.lstrip(".").upper() for s in found))
    return (
        f"The images were re-encoded copies ({kinds}{sizes}) of the originals ({original}): compare the figures with those of models "
        "trained and tested on the same copies, not with results on the originals."
    )


def _refuse_differences(report: ParityReport, run: Run) -> None:
    if report.passed:
        return
    worst = max(report.failures, key=lambda d: d.difference)
    raise BundleError(
        f"{run.folder}: the bundle does not give its golden answers and is not written: {len(report.failures)} of "
        f"{len(report.differences)} comparisons fail, the worst {worst.quantity} of {worst.case!r} in {worst.runtime} by "
        f"{worst.difference:.3g} (allowed {worst.tolerance:.3g})"
    )
