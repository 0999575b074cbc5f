"""Consequences of few images, for the plan, the export and the card, with remedies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ABSTENTION = 20
"""Validation images below which no threshold of abstention is set."""
CALIBRATION = 100
"""Validation images below which a fitted temperature is rough."""
MEND = (
    "cross-validation (lentigo sweep RUN/recipe.yaml --data DATA --folds 5) validates on every image outside the test"
    " part; merging small classes or adding images also helps"
)


def recorded_shortfalls(record: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the `shortfalls` of a run, from its ``run.json``."""
    counts: dict[str, dict[str, int]] = {}
    for split, column in record.get("counts", {}).items():
        for code, images in column.items():
            if code != "total":
                counts.setdefault(code, {})[split] = images
    return shortfalls(counts)


def shortfalls(counts: Mapping[str, Mapping[str, int]]) -> tuple[str, ...]:
    """List what is left out or imprecise because there are few images.

    Args:
        counts: class code -> split -> images.

    Returns:
        A clause each; none where there are images enough.
    """
    validation = sum(row.get("val", 0) for row in counts.values())
    found = []
    if validation < ABSTENTION:
        found.append(
            f"no abstention on unusual images: it needs {ABSTENTION} validation images, there are {validation}"
        )
    if validation < CALIBRATION:
        found.append(
            f"the temperature and the prediction sets come from {validation} validation images, so that probabilities"
            " are rough"
        )
    for split, name in (("val", "validation"), ("test", "test")):
        single = [code for code, row in counts.items() if row.get(split, 0) == 1]
        if single:
            found.append(f"one {name} image only of {', '.join(single)}: their figures say next to nothing")
    return tuple(found)
