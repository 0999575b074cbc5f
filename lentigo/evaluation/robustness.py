"""Robustness to image degradations, and a deletion test of the class-activation maps: figures from files.

Beside ``test.csv`` may lie a folder ``test_stress/`` (written by `lentigo.workflow.robustness`, which runs the
network):

- ``robustness.csv``: ``corruption, strength, image, <one probability a class>``, every image once a strength;
- ``occlusion.csv``: ``image, score, marked, elsewhere, least``: the predicted class's probability on the image as it
  is, and after the fifth of it that the class's map marks most was blurred away, or an area of the same shape
  elsewhere, or the fifth marked least;
- ``reliance.csv``: what was answered where the lesion or the rest was hidden or an artifact added
  (`lentigo.evaluation.perturbation`);
- ``skin.csv``: ``image, ita``, the estimated skin tone (`lentigo.pixels.skin_tone`);
- ``record.json``: what made them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from lentigo.data.tables import unguard
from lentigo.errors import DataError, first_line
from lentigo.evaluation.intervals import RESAMPLES, Estimate, Resampling, estimate
from lentigo.evaluation.markdown import markdown_table
from lentigo.evaluation.metrics import Counts
from lentigo.evaluation.perturbation import (
    PERTURBATION_FILE,
    PerturbationResult,
    measure_perturbations,
    perturbation_markdown,
)
from lentigo.evaluation.predictions import PredictionTable
from lentigo.evaluation.runfiles import read_json
from lentigo.labels import LabelSet
from lentigo.pixels.corruptions import CORRUPTIONS, Corruption

ROBUSTNESS, OCCLUSION, SKIN, RECORD = "robustness.csv", "occlusion.csv", "skin.csv", "record.json"
AREA = 0.2
"""The fraction of an image that the occlusion check deletes."""
SCORES = ("score", "marked", "elsewhere", "least")

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Point:
    """One strength of one degradation.

    Attributes:
        strength: in the corruption's unit; its neutral value for the images as they are.
        accuracy: fraction that is right.
        balanced_accuracy: mean recall over the classes.
        change: balanced accuracy here minus that of the same images as they are, from the same resamples.
    """

    strength: float
    accuracy: Estimate
    balanced_accuracy: Estimate
    change: Estimate

    def to_dict(self) -> dict[str, Any]:
        """As plain numbers."""
        return {
            "strength": self.strength,
            "accuracy": self.accuracy.to_dict(),
            "balanced_accuracy": self.balanced_accuracy.to_dict(),
            "change": self.change.to_dict(),
        }


@dataclass(frozen=True)
class Curve:
    """A degradation curve.

    Attributes:
        corruption: what was done.
        images: number of images.
        points: by strength, from the mildest on (brightness: from dark to light), with the images as they are among
            them.
    """

    corruption: Corruption
    images: int
    points: tuple[Point, ...]

    @property
    def worst(self) -> Point:
        """The strength with the lowest balanced accuracy."""
        return min(self.points, key=lambda point: point.balanced_accuracy.value)

    def is_neutral(self, point: Point) -> bool:
        """Whether a point is that of the images as they are."""
        return point.strength == self.corruption.neutral

    def to_dict(self) -> dict[str, Any]:
        """As plain numbers."""
        return {
            "corruption": self.corruption.name,
            "title": self.corruption.title,
            "unit": self.corruption.unit,
            "neutral": self.corruption.neutral,
            "images": self.images,
            "points": [point.to_dict() for point in self.points],
        }


@dataclass(frozen=True)
class Occlusion:
    """What deleting a fifth of an image takes off the probability of its predicted class.

    Attributes:
        images: number of images with a map.
        score: mean probability on the images as they are.
        drops: where was deleted (marked, elsewhere, least) -> mean loss of probability.
        more: elsewhere, least -> mean of (loss where marked minus loss there).
        holds: elsewhere, least -> fraction of the images that lose more where the map marks.
    """

    images: int
    score: float
    drops: dict[str, Estimate]
    more: dict[str, Estimate]
    holds: dict[str, Estimate]

    @property
    def passed(self) -> bool:
        """Whether deleting what is marked costs more than deleting elsewhere, beyond chance."""
        return all(e.low is not None and e.low > 0 for e in self.more.values())

    def to_dict(self) -> dict[str, Any]:
        """As plain numbers."""
        parts = {name: {k: e.to_dict() for k, e in getattr(self, name).items()} for name in ("drops", "more", "holds")}
        return {"images": self.images, "area": AREA, "score": self.score, "passed": self.passed, **parts}


@dataclass(frozen=True)
class Robustness:
    """What was found of the folder.

    Attributes:
        curves: degradation curves; empty where there are none.
        occlusion: the check of the maps; None where there is none.
        record: what made them: command, model, hardware, wall time.
        reliance: perturbation tests: parts hidden, artifacts added; empty where they were not run.
    """

    curves: tuple[Curve, ...] = ()
    occlusion: Occlusion | None = None
    record: Mapping[str, Any] | None = None
    reliance: tuple[PerturbationResult, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.curves or self.reliance) or self.occlusion is not None

    def to_dict(self) -> dict[str, Any]:
        """As plain numbers."""
        return {
            "record": dict(self.record or {}),
            "robustness": [curve.to_dict() for curve in self.curves],
            "occlusion": None if self.occlusion is None else self.occlusion.to_dict(),
            "reliance": [r.to_dict() for r in self.reliance],
        }


def robustness_folder(predictions: str | Path) -> Path:
    """Where the files about a table of predictions lie: ``test.csv`` -> ``test_stress/``."""
    path = Path(predictions)
    return path.with_name(f"{path.stem}_stress")


def read_robustness(
    table: PredictionTable, labels: LabelSet | None = None, *, resamples: int = RESAMPLES
) -> Robustness:
    """Read the folder beside a table and work out its figures.

    Args:
        table: predictions that were read from a file.
        labels: the classes, for figures of malignant against benign.
        resamples: bootstrap resamples behind each interval.

    Raises:
        DataError: a file that is damaged, or is about other images or classes.
    """
    if table.source is None or not robustness_folder(table.source).is_dir():
        return Robustness()
    folder = robustness_folder(table.source)
    curves = (
        robustness_curves(table, _read(folder / ROBUSTNESS), resamples=resamples)
        if (folder / ROBUSTNESS).is_file()
        else ()
    )
    occlusion = (
        occlusion_check(table, _read(folder / OCCLUSION), resamples=resamples)
        if (folder / OCCLUSION).is_file()
        else None
    )
    reliance: tuple[PerturbationResult, ...] = ()
    if (folder / PERTURBATION_FILE).is_file():
        reliance = measure_perturbations(table, _read(folder / PERTURBATION_FILE), labels, resamples=resamples)
    record = read_json(folder / RECORD)
    return Robustness(curves, occlusion, record if isinstance(record, dict) else {}, reliance)


def with_skin(table: PredictionTable) -> PredictionTable:
    """The table with the column ``ita`` from ``skin.csv``, where that is there and the table has none of its own."""
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
    """Degradation curves with intervals, all from the same resamples of whole lesions.

    Args:
        table: the predictions on the images as they are.
        frame: the rows of ``robustness.csv``; its images may be some of the table's.
        resamples: bootstrap resamples.

    Raises:
        DataError: columns are missing, corruptions are unknown, or images differ between strengths.
    """
    missing = [c for c in ("corruption", "strength", "image", *table.codes) if c not in frame.columns]
    if missing:
        raise DataError(f"{ROBUSTNESS}: no column {', '.join(missing)}")
    unknown = sorted(set(frame["corruption"]) - set(CORRUPTIONS))
    if unknown:
        raise DataError(f"{ROBUSTNESS}: unknown corruption {unknown[0]!r}; known: {', '.join(CORRUPTIONS)}")
    rows = _rows_of(table, frame.drop_duplicates("image")["image"], ROBUSTNESS)
    part = table.subset(rows)
    counts: dict[tuple[str, float], Counts] = {}
    for (name, strength), block in frame.groupby(["corruption", "strength"], sort=False):
        ordered = block.set_index(block["image"].astype(str))
        if sorted(ordered.index) != sorted(part.images):
            raise DataError(f"{ROBUSTNESS}: {name} {strength:g} has other images than the rest; write it again")
        predicted = ordered.loc[part.images.tolist(), list(table.codes)].to_numpy(np.float64).argmax(axis=1)
        counts[str(name), float(str(strength))] = Counts(part.targets, predicted, len(table.codes))
    for name in dict.fromkeys(frame["corruption"]):  # the images as they are belong to every curve
        counts[name, CORRUPTIONS[name].neutral] = Counts(
            part.targets, part.probabilities.argmax(axis=1), len(table.codes)
        )

    def metrics(weights: FloatArray) -> dict[tuple[str, float, str], FloatArray]:
        found = {(*key, name): v for key, counted in counts.items() for name, v in counted.metrics(weights).items()}
        return {key: v for key, v in found.items() if key[2] in ("accuracy", "balanced_accuracy")}

    drawn = Resampling.of(part.groups, resamples=resamples).draw(metrics)
    groups = len(np.unique(part.groups))

    def point(name: str, strength: float) -> Point:
        balanced = drawn[name, strength, "balanced_accuracy"]
        return Point(
            strength,
            estimate(drawn[name, strength, "accuracy"], proportion_of=groups),
            estimate(balanced),
            estimate(balanced - drawn[name, CORRUPTIONS[name].neutral, "balanced_accuracy"]),
        )

    return tuple(
        Curve(
            corruption,
            len(part),
            tuple(point(name, s) for s in _in_order(corruption, [k[1] for k in counts if k[0] == name])),
        )
        for name, corruption in CORRUPTIONS.items()
        if (name, corruption.neutral) in counts
    )


def occlusion_check(table: PredictionTable, frame: pd.DataFrame, *, resamples: int = RESAMPLES) -> Occlusion:
    """Whether deleting what the map marks costs more than deleting elsewhere.

    Args:
        table: the predictions, for the lesion of each image.
        frame: the rows of ``occlusion.csv``.
        resamples: bootstrap resamples, of whole lesions.

    Raises:
        DataError: columns are missing, or images the table does not have.
    """
    missing = [c for c in ("image", *SCORES) if c not in frame.columns]
    if missing or frame.empty:
        raise DataError(f"{OCCLUSION}: " + (f"no column {', '.join(missing)}" if missing else "no rows"))
    part = table.subset(_rows_of(table, frame["image"], OCCLUSION))
    scores = frame.set_index(frame["image"].astype(str)).loc[part.images.tolist(), list(SCORES)].to_numpy(np.float64)
    drops = {name: scores[:, 0] - scores[:, i] for i, name in enumerate(SCORES) if i}
    more = {name: drops["marked"] - drops[name] for name in ("elsewhere", "least")}
    holds = {name: (values > 0).astype(np.float64) for name, values in more.items()}
    columns = np.column_stack([*drops.values(), *more.values(), *holds.values()])  # (N, 7)
    resampling = Resampling.of(part.groups, resamples=resamples)
    means = resampling.draw(lambda weights: {"": weights @ columns / weights.sum(axis=1, keepdims=True)})[""]
    groups = len(np.unique(part.groups))
    found = [
        estimate(means[:, i], proportion_of=groups if i >= len(drops) + len(more) else None)
        for i in range(columns.shape[1])
    ]
    each = iter(found)
    return Occlusion(
        images=len(part),
        score=float(scores[:, 0].mean()),
        drops={name: next(each) for name in drops},
        more={name: next(each) for name in more},
        holds={name: next(each) for name in holds},
    )


def robustness_markdown(robustness: Robustness) -> str:
    """The figures as Markdown tables, with 95 % intervals."""
    lines: list[str] = []
    if robustness.curves:
        head = ["degradation", "strength", "accuracy, %", "balanced accuracy, %", "change in balanced accuracy, points"]
        rows = []
        for curve in robustness.curves:
            name = f"{curve.corruption.title}, {curve.corruption.unit}"
            for point in curve.points:
                strength, change = (
                    ("as taken", "")
                    if curve.is_neutral(point)
                    else (f"{point.strength:g}", point.change.text(signed=True))
                )
                rows.append([name, strength, point.accuracy.text(), point.balanced_accuracy.text(), change])
        lines += [f"## Robustness ({robustness.curves[0].images:,} images)", "", *markdown_table(head, rows)]
        lines.append("")
    if robustness.occlusion is not None:
        o = robustness.occlusion
        head = [
            "deleted",
            "loss of probability, points",
            "loses less than where marked by, points",
            "images where that holds, %",
        ]
        rows = [["what the map marks most", o.drops["marked"].text(), "", ""]]
        names = {"elsewhere": "the same shape elsewhere", "least": "what the map marks least"}
        rows += [
            [text, o.drops[name].text(), o.more[name].text(), o.holds[name].text()] for name, text in names.items()
        ]
        lines += [
            f"## Occlusion test of the maps ({o.images:,} images)",
            "",
            f"Probability of the predicted class: {o.score:.3f} on average. A fifth of each image is blurred away.",
            "",
            *markdown_table(head, rows),
        ]
        lines.append("")
    if robustness.reliance:
        lines += perturbation_markdown(robustness.reliance, len(robustness.reliance[0].towards))
    return "\n".join(lines)


def robustness_page(summary: Mapping[str, Any], robustness: Robustness) -> str:
    """The figures as a page of Markdown with their provenance.

    Args:
        summary: what ``metrics.json`` holds.
        robustness: the figures.
    """
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
    skin = [[row["value"], str(row["images"]), *(_text(row[key]) for key in ("accuracy", "gap"))] for row in rows]
    head = [
        "estimated skin tone (individual typology angle)",
        "images",
        "accuracy, %",
        "accuracy against the rest, points",
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
            *(["## Skin tone", "", *markdown_table(head, skin), ""] if skin else []),
        ]
    )


def _text(value: Mapping[str, float | None]) -> str:
    return "–" if (known := value["value"]) is None else Estimate(known, value["low"], value["high"]).text()


def _in_order(corruption: Corruption, strengths: Sequence[float]) -> list[float]:
    """Mild to severe, beginning with the neutral strength; where that lies in the middle, by value."""
    low, high = min(corruption.strengths), max(corruption.strengths)
    return (
        sorted(strengths, reverse=corruption.neutral > high)
        if not low < corruption.neutral < high
        else sorted(strengths)
    )


def _rows_of(table: PredictionTable, images: pd.Series[Any], what: str) -> npt.NDArray[np.bool_]:
    wanted = set(images.astype(str))
    foreign = wanted - set(table.images)
    if foreign:
        raise DataError(
            f"{what}: {len(foreign):,} images are not in the table of predictions, the first {min(foreign)!r}"
        )
    return np.isin(table.images, list(wanted))


def _read(path: Path) -> pd.DataFrame:
    try:
        return unguard(
            pd.read_csv(
                path, dtype={"image": str, "corruption": str, "change": str}, keep_default_na=False, na_values=[""]
            )
        )
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as CSV ({first_line(error)})") from None
