"""Evaluate how well a bundle detects out-of-distribution (OOD) images.

Plots and torch are imported after the input has been checked.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lentigo import NOTICE
from lentigo.data import Samples, read_samples
from lentigo.data.samples import SPLITS
from lentigo.errors import DataError
from lentigo.evaluation.intervals import RESAMPLES
from lentigo.files import write_json, write_text
from lentigo.imaging import find_images, load
from lentigo.inference import Classifier, find_bundle
from lentigo.progress import Progress, shown
from lentigo.workflow.classify import Pixels, stream
from lentigo.workflow.part import known_classes, split_of_training
from lentigo.workflow.record import made_by

if TYPE_CHECKING:
    from lentigo.workflow.ood_measures import OodMeasures

SYNTHETIC_IMAGES = 200
"""Number of images per synthetic set."""


def measure_ood(
    bundle: str | Path,
    data: str | Path,
    *,
    others: Mapping[str, str | Path] | None = None,
    out: str | Path | None = None,
    resamples: int = RESAMPLES,
    progress: bool | Progress = True,
) -> tuple[OodMeasures, Path]:
    """Evaluate a bundle's OOD scores on sets of unrelated images, its quality checks and its prediction sets.

    The scores are fitted to the training images and compared on the validation images of the bundle's training
    split. The test images are used only for reporting.

    Args:
        bundle: a packaged bundle's name, a bundle folder, or a run folder that has one.
        data: its training data set.
        others: name -> folder of unrelated images; synthetic sets are always measured.
        out: folder of ``ood.json``, ``ood.md`` and ``ood.png`` and ``.svg``; by default ``runs/<bundle>-ood``.
        resamples: number of bootstrap resamples for the coverage.
        progress: whether to show bars, or a function called with (done, total).

    Returns:
        The results, and the folder.

    Raises:
        BundleError: no such bundle, or a damaged one.
        DataError: other data than in training, a split without validation images, or a folder without images.
        ImageError: an image cannot be read.
        OutputError: a file cannot be written.
    """
    started = time.monotonic()
    classifier = Classifier(find_bundle(bundle))
    spec = classifier.spec
    folders = {name: find_images(Path(folder)) for name, folder in (others or {}).items()}
    for name, images in folders.items():
        if not images:
            raise DataError(f"{name}: no images in {(others or {})[name]}")
    samples = known_classes(read_samples(data), Path(data), spec)
    if samples.fingerprint != spec.provenance.fingerprint:
        raise DataError(
            f"{data}: not the data that {spec.name} was trained on (fingerprint {samples.fingerprint[:12]}…, "
            f"the bundle's is {spec.provenance.fingerprint[:12]}…): the scores are fitted to its training images"
        )
    divided = split_of_training(samples, spec)
    parts = {split: divided.subset(split) for split in SPLITS}
    from lentigo.export.abstention import render_ood_sets
    from lentigo.workflow.ood_measures import DEGRADED, collect_outputs, compare_scores, degrade

    seen = {
        split: collect_outputs(classifier, _read_part(part, classifier.size, split, progress))
        for split, part in parts.items()
    }
    phantoms = spec.codes if spec.domain == "phantom" else ()
    ood_sets = {
        name: collect_outputs(classifier, [pixels])
        for name, pixels in render_ood_sets(phantoms, classifier.size, SYNTHETIC_IMAGES)
    }
    for name, images in folders.items():
        ood_sets[name] = collect_outputs(classifier, (np.stack([load(path, classifier.size)]) for path in images))
    degraded = {
        kind: collect_outputs(
            classifier,
            (np.stack([degrade(kind, one) for one in chunk]) for chunk in stream(parts["val"], classifier.size)),
        )
        for kind in DEGRADED
    }
    measures = compare_scores(spec, parts, seen, ood_sets, degraded, resamples=resamples)
    folder = Path(out) if out is not None else Path("runs") / f"{spec.name}-ood"
    facts = made_by(spec) | {
        "data": samples.name,
        "fingerprint": samples.fingerprint,
        "protocol": spec.provenance.protocol,
        "split_seed": spec.provenance.split_seed,
        "images": {split: len(part) for split, part in parts.items()},
        "wall_seconds": round(time.monotonic() - started, 1),
    }
    _write(measures, folder, facts)
    return measures, folder


def _write(measures: OodMeasures, folder: Path, facts: dict[str, Any]) -> None:
    from lentigo.evaluation.plots import save_plot

    write_json(folder / "ood.json", facts | measures.to_dict())
    counted = ", ".join(f"{count:,} {split}" for split, count in facts["images"].items())
    head = (
        f"# Out-of-distribution detection of {facts['bundle']['name']}\n\n`{facts['command']}`; {facts['data']}"
        f" (fingerprint `{facts['fingerprint'][:16]}`), protocol {facts['protocol']}, split seed {facts['split_seed']}:"
        f" {counted} images; {facts['hardware']}; {facts['wall_seconds']:.0f} s. Scores are fitted to training images"
        f" and compared on validation images; test images are only reported on. Lowest mean FPR: {measures.chosen}.\n\n"
    )
    write_text(folder / "ood.md", head + measures.markdown() + f"\n{NOTICE}\n")
    save_plot(measures.figure(), folder / "ood")


def _read_part(samples: Samples, size: int, what: str, progress: bool | Progress) -> Iterator[Pixels]:
    with shown(progress, f"reading the {what} images", len(samples)) as tick:
        done = 0
        for pixels in stream(samples, size):
            yield pixels
            done += len(pixels)
            tick(done, len(samples))
