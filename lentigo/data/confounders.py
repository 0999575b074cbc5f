"""Confounders: artifacts estimated from the pixels, the table's columns, and the image's size.

A network can learn everything that is associated with the class in its training images, including features that images
of another clinic do not have.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lentigo.data.samples import SPLITS, Samples
from lentigo.pixels.artifacts import ARTIFACTS

PERMUTATIONS = 999
MOST_VALUES = 30
"""A column with more values than this is none to divide images by."""
_OWN = {"image", "path", "label", "group", "split", "official_split", "train_only", "variant"}

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Association:
    """The strength of an association.

    Attributes:
        v: Cramer's V, corrected for bias (Bergsma, Journal of the Korean Statistical Society, 2013), from 0 (none) to
            1.
        p: fraction of permutations of the labels that give at least as much; at least 1 / (permutations + 1).
    """

    v: float
    p: float

    def __str__(self) -> str:
        return f"V {self.v:.2f}, p {'<= ' if self.p <= 1 / (PERMUTATIONS + 1) else ''}{self.p:.3f}"

    def to_dict(self) -> dict[str, float]:
        """Return plain numbers."""
        return {"cramers_v": round(self.v, 4), "p": round(self.p, 4)}


@dataclass(frozen=True)
class Factor:
    """A factor that may be associated with the class.

    Attributes:
        name: an artifact's or a column's name, or ``resolution``.
        estimated: estimated from the pixels (`lentigo.pixels.artifacts`), not recorded.
        by_class: class -> value -> fraction of the class's images, 0 to 1. An artifact has the value ``present`` only.
        by_split: split -> value -> fraction of its images; empty without a split.
        with_class: its association with the class.
        with_split: its association with the split; None without one.
    """

    name: str
    estimated: bool
    by_class: Mapping[str, Mapping[str, float]]
    by_split: Mapping[str, Mapping[str, float]]
    with_class: Association
    with_split: Association | None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "name": self.name,
            "estimated": self.estimated,
            "threshold": (
                {"score": ARTIFACTS[self.name].score, "at_least": ARTIFACTS[self.name].threshold}
                if self.estimated
                else None
            ),
            "with_class": self.with_class.to_dict(),
            "with_split": None if self.with_split is None else self.with_split.to_dict(),
            "by_class": {k: {v: round(s, 4) for v, s in fractions.items()} for k, fractions in self.by_class.items()},
            "by_split": {k: {v: round(s, 4) for v, s in fractions.items()} for k, fractions in self.by_split.items()},
        }


def find_confounders(samples: Samples, scores: pd.DataFrame, sizes: Sequence[tuple[int, int]]) -> tuple[Factor, ...]:
    """Measure what is associated with the class.

    Fractions count every image. Associations count the first image of each lesion only, since images of one lesion
    are alike.

    Args:
        samples: the images.
        scores: (N, artifacts) scores of `lentigo.pixels.artifacts.detect_artifacts`; NaN for an image that could not be
            read.
        sizes: (width, height) of each image; (0, 0) for one that could not be read.

    Returns:
        The artifacts first, then what is recorded, the strongest with the class first.
    """
    frame = samples.frame.reset_index(drop=True)
    values = {
        name: (scores[name] >= artifact.threshold).map({True: "present", False: "absent"})
        for name, artifact in ARTIFACTS.items()
    }
    recorded = {
        str(c): frame[c].astype(str) for c in frame if c not in _OWN and not pd.api.types.is_numeric_dtype(frame[c])
    }
    recorded["resolution"] = _resolutions(sizes)
    values |= {name: column for name, column in recorded.items() if 2 <= column.nunique() <= MOST_VALUES}
    read = np.array([width > 0 for width, _ in sizes], dtype=bool)
    placed = frame["split"].isin(SPLITS).to_numpy()
    first = ~frame["group"].duplicated().to_numpy()
    rng = np.random.default_rng(0)
    found = []
    for name, column in values.items():
        artifact = name in ARTIFACTS
        splits = [s for s in SPLITS if (frame["split"] == s).any()]
        found.append(
            Factor(
                name,
                artifact,
                {
                    str(code): _fractions(column[read & (frame["label"] == code).to_numpy()], artifact)
                    for code in samples.labels.codes
                },
                {s: _fractions(column[read & (frame["split"] == s).to_numpy()], artifact) for s in splits},
                associate(column[read & first], frame["label"][read & first], rng),
                (
                    associate(column[read & first & placed], frame["split"][read & first & placed], rng)
                    if len(splits) > 1
                    else None
                ),
            )
        )
    return tuple(sorted(found, key=lambda f: (not f.estimated, -f.with_class.v)))


def associate(
    one: pd.Series[Any], other: pd.Series[Any], rng: np.random.Generator, *, permutations: int = PERMUTATIONS
) -> Association:
    """Compute Cramer's V of two columns with a permutation test.

    Args:
        one: (N,) values.
        other: (N,) values.
        rng: draws the permutations.
        permutations: how many.
    """
    a, b = (pd.factorize(column)[0].astype(np.int64) for column in (one, other))
    rows, columns = (int(x.max(initial=-1)) + 1 for x in (a, b))
    if min(rows, columns) < 2:
        return Association(0.0, 1.0)
    squared = _chi_squared(a, b, rows, columns)
    as_much = sum(_chi_squared(a, rng.permutation(b), rows, columns) >= squared - 1e-9 for _ in range(permutations))
    count = len(a)
    phi = max(0.0, squared / count - (rows - 1) * (columns - 1) / (count - 1))
    most = min(rows - (rows - 1) ** 2 / (count - 1), columns - (columns - 1) ** 2 / (count - 1)) - 1
    return Association(float(np.sqrt(min(1.0, phi / most))) if most > 0 else 0.0, (1 + as_much) / (1 + permutations))


def _chi_squared(a: Integers, b: Integers, rows: int, columns: int) -> float:
    table = np.bincount(a * columns + b, minlength=rows * columns).reshape(rows, columns)
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0) / len(a)
    return float(((table - expected) ** 2 / expected).sum())


def _fractions(column: pd.Series[str], artifact: bool) -> dict[str, float]:
    fractions = {str(value): float(fraction) for value, fraction in column.value_counts(normalize=True).items()}
    return {"present": fractions.get("present", 0.0)} if artifact else fractions


def _resolutions(sizes: Sequence[tuple[int, int]]) -> pd.Series[str]:
    """Return width x height of each image, or, if there are too many values, quarters by the number of pixels."""
    names = pd.Series([f"{width}x{height}" for width, height in sizes], dtype=str)
    if names.nunique() <= MOST_VALUES:
        return names
    quarters = pd.qcut(pd.Series([width * height for width, height in sizes]), 4, duplicates="drop")
    return quarters.map(lambda part: f"up to {part.right:,.0f} pixels").astype(str)


def lines(factors: Sequence[Factor]) -> Iterator[str]:
    """Format the factors as lines of text."""
    artifacts = [f for f in factors if f.estimated]
    if artifacts:
        yield "artifacts beside the lesion, estimated from the pixels (% of the images):"
        for factor in artifacts:
            fractions = ", ".join(f"{code} {100 * by['present']:.1f}" for code, by in factor.by_class.items() if by)
            yield f"  {ARTIFACTS[factor.name].title}: {fractions}; with the class {factor.with_class}"
            if factor.by_split:
                parts = ", ".join(f"{split} {100 * by['present']:.1f}" for split, by in factor.by_split.items())
                yield f"    {parts}" + (f"; with the split {factor.with_split}" if factor.with_split else "")
    recorded = [f for f in factors if not f.estimated]
    if recorded:
        yield "what is recorded, and its association with the class (Cramer's V, 0 to 1; one image a lesion):"
        for factor in recorded:
            yield f"  {factor.name}: {factor.with_class}" + (
                f"; with the split {factor.with_split}" if factor.with_split else ""
            )
