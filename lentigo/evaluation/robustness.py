"""Robustness to image degradations, and a deletion test of the class-activation maps, from saved predictions.

`lentigo.workflow.robustness` runs the network and writes the folder ``test_robustness/`` next to ``test.csv``:

- ``robustness.csv``: ``corruption, strength, image, <one probability per class>``, one row per image and strength;
- ``occlusion.csv``: ``image, score, marked, elsewhere, least``: the predicted class's probability on the original
  image, and after blurring the fifth with the highest map values, an area of the same shape elsewhere, or the fifth
  with the lowest values;
- ``perturbations.csv``: probabilities with the lesion or its surroundings hidden, or with an artifact
  (`lentigo.evaluation.perturbation`);
- ``skin.csv``: ``image, ita``, the estimated skin tone (`lentigo.pixels.skin_tone`);
- ``record.json``: provenance.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lentigo.data.tables import unguard
from lentigo.errors import DataError, first_line
from lentigo.estimate import plain
from lentigo.evaluation.intervals import RESAMPLES, Estimate, Resampling, estimate
from lentigo.evaluation.markdown import estimate_text, table_lines
from lentigo.evaluation.metrics import Counts, draw_each
from lentigo.evaluation.perturbation import (
    PERTURBATION_FILE,
    PerturbationResult,
    measure_perturbations,
    perturbation_markdown,
)
from lentigo.evaluation.predictions import PredictionTable, require_columns
from lentigo.evaluation.runfiles import read_json
from lentigo.labels import LabelSet
from lentigo.pixels.corruptions import CORRUPTIONS, Corruption

ROBUSTNESS, OCCLUSION, SKIN, RECORD = "robustness.csv", "occlusion.csv", "skin.csv", "record.json"
FORMER_PERTURBATIONS = "reliance.csv"
"""File name of the perturbation tests in the previous release."""
AREA = 0.2
"""Fraction of an image that the deletion test deletes."""
SCORES = ("score", "marked", "elsewhere", "least")


@dataclass(frozen=True)
class Point:
    """Metrics at one strength of a degradation.

    Attributes:
        strength: in the corruption's unit; the neutral value for the original images.
        accuracy: fraction of correct predictions.
        balanced_accuracy: mean recall over the classes.
        change: balanced accuracy minus that of the original images, on the same resamples.
    """

    strength: float
    accuracy: Estimate
    balanced_accuracy: Estimate
    change: Estimate


@dataclass(frozen=True)
class Curve:
    """A degradation curve.

    Attributes:
        corruption: name of the corruption.
        images: number of images.
        points: in order of strength (brightness: from dark to light), with the original images included.
    """

    corruption: Corruption
    images: int
    points: tuple[Point, ...]

    @property
    def worst(self) -> Point:
        """Return the point with the lowest balanced accuracy."""
        return min(self.points, key=lambda point: point.balanced_accuracy.value)

    def is_neutral(self, point: Point) -> bool:
        """Return whether a point is that of the original images."""
        return point.strength == self.corruption.neutral

    def name_of(self, point: Point) -> str:
        """Return the display text of a point's strength."""
        return "as taken" if self.is_neutral(point) else f"{point.strength:g}"

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers."""
        return {
            "corruption": self.corruption.name,
            "title": self.corruption.title,
            "unit": self.corruption.unit,
            "neutral": self.corruption.neutral,
            "images": self.images,
            "points": plain(self.points),
        }


@dataclass(frozen=True)
class Occlusion:
    """Decrease of the predicted class's probability after deletion of a fifth of the image.

    Attributes:
        images: number of images with a map.
        score: mean probability on the original images.
        drops: deleted area (marked, elsewhere, least) -> mean decrease of the probability.
        more: elsewhere, least -> mean of (decrease for marked minus decrease for this area).
        holds: elsewhere, least -> fraction of images with a larger decrease for marked.
    """

    images: int
    score: float
    drops: dict[str, Estimate]
    more: dict[str, Estimate]
    holds: dict[str, Estimate]

    @property
    def passed(self) -> bool:
        """Return whether deletion of the marked area has a significantly larger effect than elsewhere."""
        return all(e.low is not None and e.low > 0 for e in self.more.values())

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers."""
        parts = {"drops": self.drops, "more": self.more, "holds": self.holds}
        return {"images": self.images, "area": AREA, "score": self.score, "passed": self.passed, **plain(parts)}


@dataclass(frozen=True)
class Robustness:
    """All robustness results of a folder.

    Attributes:
        curves: degradation curves; empty without them.
        occlusion: deletion test of the maps; None without it.
        record: provenance: command, model, hardware, wall time.
        perturbations: perturbation tests; empty without them.
    """

    curves: tuple[Curve, ...] = ()
    occlusion: Occlusion | None = None
    record: Mapping[str, Any] | None = None
    perturbations: tuple[PerturbationResult, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.curves or self.perturbations) or self.occlusion is not None

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers."""
        return {
            "record": dict(self.record or {}),
            "curves": plain(self.curves),
            "occlusion": plain(self.occlusion),
            "perturbations": plain(self.perturbations),
        }


def robustness_folder(predictions: str | Path) -> Path:
    """Return the folder of the files about a table of predictions: ``test.csv`` -> ``test_robustness/``.

    If only ``test_stress/`` of the previous release exists, that folder is returned.
    """
    path = Path(predictions)
    folder, former = (path.with_name(f"{path.stem}_{name}") for name in ("robustness", "stress"))
    return former if former.is_dir() and not folder.is_dir() else folder


def read_robustness(
    table: PredictionTable, labels: LabelSet | None = None, *, resamples: int = RESAMPLES
) -> Robustness:
    """Read the folder of a table and compute its metrics.

    Raises:
        DataError: a damaged file, or one with other images or classes.
    """
    if table.source is None or not robustness_folder(table.source).is_dir():
        return Robustness()
    folder = robustness_folder(table.source)
    perturbed = folder / PERTURBATION_FILE
    files = folder / ROBUSTNESS, folder / OCCLUSION, perturbed if perturbed.is_file() else folder / FORMER_PERTURBATIONS
    graded, occluded, changed = (_read(path) if path.is_file() else None for path in files)
    record = read_json(folder / RECORD)
    return Robustness(
        () if graded is None else robustness_curves(table, graded, resamples=resamples),
        None if occluded is None else occlusion_check(table, occluded, resamples=resamples),
        record if isinstance(record, dict) else {},
        () if changed is None else measure_perturbations(table, changed, labels, resamples=resamples),
    )


def with_skin(table: PredictionTable) -> PredictionTable:
    """Add the column ``ita`` from ``skin.csv`` to the table, unless it has one."""
    if table.source is None or "ita" in table.frame or not (robustness_folder(table.source) / SKIN).is_file():
        return table
    path = robustness_folder(table.source) / SKIN
    skin = _read(path)
    if not {"image", "ita"} <= set(skin.columns):
        raise DataError(f"{path}: has columns {', '.join(skin.columns)}; image and ita are needed")
    angles = pd.to_numeric(skin["ita"], errors="coerce").set_axis(skin["image"].astype(str))
    frame = table.frame.assign(ita=table.frame["image"].map(angles[~angles.index.duplicated()]))
    return PredictionTable(frame, table.codes, table.probabilities, table.targets, table.groups, table.source)


def robustness_curves(table: PredictionTable, frame: pd.DataFrame, *, resamples: int = RESAMPLES) -> tuple[Curve, ...]:
    """Compute degradation curves with intervals from ``robustness.csv``, which may have a subset of the images.

    All curves use the same resamples of whole lesions.

    Raises:
        DataError: missing columns, unknown corruptions, or images that differ between strengths.
    """
    require_columns(frame, ("corruption", "strength", "image", *table.codes), ROBUSTNESS)
    unknown = sorted(set(frame["corruption"]) - set(CORRUPTIONS))
    if unknown:
        raise DataError(f"{ROBUSTNESS}: unknown corruption {unknown[0]!r}; known: {', '.join(CORRUPTIONS)}")
    part, _ = table.matched(frame.drop_duplicates("image"), (), ROBUSTNESS)
    classes = len(table.codes)
    counts: dict[tuple[str, float], Counts] = {}
    for (name, strength), block in frame.groupby(["corruption", "strength"], sort=False):
        ordered = block.set_index(block["image"].astype(str))
        if sorted(ordered.index) != sorted(part.images):
            raise DataError(f"{ROBUSTNESS}: {name} {strength:g} has other images than the rest; write it again")
        predicted = ordered.loc[part.images.tolist(), list(table.codes)].to_numpy(np.float64).argmax(axis=1)
        counts[str(name), float(str(strength))] = Counts(part.targets, predicted, classes)
    for name in dict.fromkeys(frame["corruption"]):  # all curves include the original images
        counts[name, CORRUPTIONS[name].neutral] = Counts(part.targets, part.probabilities.argmax(axis=1), classes)
    resampling = Resampling.of(part.groups, resamples=resamples)
    drawn = draw_each(resampling, {key: [counted] for key, counted in counts.items()})

    def point(name: str, strength: float) -> Point:
        balanced = drawn[(name, strength), "balanced_accuracy"]
        return Point(
            strength,
            estimate(drawn[(name, strength), "accuracy"], proportion_of=resampling.groups),
            estimate(balanced),
            estimate(balanced - drawn[(name, CORRUPTIONS[name].neutral), "balanced_accuracy"]),
        )

    found = []
    for name, corruption in CORRUPTIONS.items():
        if strengths := [strength for other, strength in counts if other == name]:
            strengths.sort(reverse=corruption.neutral > max(corruption.strengths))  # from mild to severe
            found.append(Curve(corruption, len(part), tuple(point(name, strength) for strength in strengths)))
    return tuple(found)


def occlusion_check(table: PredictionTable, frame: pd.DataFrame, *, resamples: int = RESAMPLES) -> Occlusion:
    """Test by ``occlusion.csv`` whether deletion of the marked area has a larger effect than elsewhere.

    Raises:
        DataError: missing columns, or images that are not in the table.
    """
    require_columns(frame, ("image", *SCORES), OCCLUSION)
    if frame.empty:
        raise DataError(f"{OCCLUSION}: no rows")
    part, scores = table.matched(frame, SCORES, OCCLUSION)
    drops = {name: scores[:, 0] - scores[:, i] for i, name in enumerate(SCORES) if i}
    more = {name: drops["marked"] - drops[name] for name in ("elsewhere", "least")}
    holds = {name: (values > 0).astype(np.float64) for name, values in more.items()}
    measured = {"drops": drops, "more": more, "holds": holds}
    resampling = Resampling.of(part.groups, resamples=resamples)
    means = resampling.draw(
        lambda weights: {
            (field, name): weights @ values / weights.sum(axis=1)
            for field, columns in measured.items()
            for name, values in columns.items()
        }
    )

    def estimates(field: str, proportion_of: int | None = None) -> dict[str, Estimate]:
        return {name: estimate(means[field, name], proportion_of=proportion_of) for name in measured[field]}

    return Occlusion(
        images=len(part),
        score=float(scores[:, 0].mean()),
        drops=estimates("drops"),
        more=estimates("more"),
        holds=estimates("holds", resampling.groups),
    )


_AREAS = {
    "marked": "what the map marks most",
    "elsewhere": "the same shape elsewhere",
    "least": "what the map marks least",
}


def robustness_markdown(robustness: Robustness) -> str:
    """Format the results as Markdown tables with 95 % intervals."""
    lines: list[str] = []
    if robustness.curves:
        rows = [
            {
                "degradation": f"{curve.corruption.title}, {curve.corruption.unit}",
                "strength": curve.name_of(point),
                "accuracy, %": point.accuracy.text(),
                "balanced accuracy, %": point.balanced_accuracy.text(),
                "change in balanced accuracy, points": (
                    "" if curve.is_neutral(point) else point.change.text(signed=True)
                ),
            }
            for curve in robustness.curves
            for point in curve.points
        ]
        lines += [f"## Robustness ({robustness.curves[0].images:,} images)", "", *table_lines(rows), ""]
    if (o := robustness.occlusion) is not None:
        rows = [
            {
                "deleted": text,
                "loss of probability, points": o.drops[name].text(),
                "loses less than where marked by, points": o.more[name].text() if name in o.more else "",
                "images where that holds, %": o.holds[name].text() if name in o.holds else "",
            }
            for name, text in _AREAS.items()
        ]
        lines += [
            f"## Occlusion test of the maps ({o.images:,} images)",
            "",
            f"Probability of the predicted class: {o.score:.3f} on average. A fifth of each image is blurred away.",
            "",
            *table_lines(rows),
            "",
        ]
    if robustness.perturbations:
        lines += perturbation_markdown(robustness.perturbations, len(robustness.perturbations[0].towards))
    return "\n".join(lines)


def robustness_page(summary: Mapping[str, Any], robustness: Robustness) -> str:
    """Format the results as a Markdown page with provenance; ``summary`` is the content of ``metrics.json``."""
    record = dict(robustness.record or {})
    bundle = record.get("bundle") or {}
    facts = {
        "images": (
            f"{summary['title']}; split seed {summary['split_seed']}, data fingerprint `{summary['fingerprint']}`"
        ),
        "model": f"`{bundle.get('model_sha256', '')}` ({bundle.get('weights')})",
        "command": f"`{record.get('command')}`",
        "hardware": f"{record.get('hardware')}, {record.get('wall_seconds')} s",
        "intervals": "95 %, bootstrap by lesion; changes are against the undegraded images, from the same resamples",
    }
    rows = [row for row in summary["subgroups"] if row["attribute"].startswith("skin tone")]
    skin = [
        {
            "estimated skin tone (individual typology angle)": row["value"],
            "images": str(row["images"]),
            "accuracy, %": estimate_text(row["accuracy"]),
            "accuracy against the rest, points": estimate_text(row["gap"]),
        }
        for row in rows
    ]
    return "\n".join(
        [
            f"# Robustness of {bundle.get('name', 'a model')}",
            "",
            *(f"- {name}: {text}" for name, text in facts.items()),
            "",
            f"{summary['notice']}",
            "",
            robustness_markdown(robustness),
            *(["## Skin tone", "", *table_lines(skin), ""] if skin else []),
        ]
    )


def _read(path: Path) -> pd.DataFrame:
    try:
        return unguard(
            pd.read_csv(
                path, dtype={"image": str, "corruption": str, "change": str}, keep_default_na=False, na_values=[""]
            )
        )
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as CSV ({first_line(error)})") from None
