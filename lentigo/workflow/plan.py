"""Choose a recipe for a new data set, with a reason for each choice; needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lentigo.bundle import Spec, as_name, read_spec
from lentigo.config.recipe import NetworkRecipe, Recipe, parse_recipe, with_overrides
from lentigo.data import Samples, read_samples
from lentigo.data.groups import ASK, LEAK
from lentigo.data.shortfalls import MEND, shortfalls
from lentigo.errors import DataError
from lentigo.machine import available_cores
from lentigo.text import counted
from lentigo.training.samples import divide

FEATURES = "dermoscopy-7"
"""Packaged model that provides the initial weights."""
_PARTS = ("train", "val", "test")
_SMALL = 2_000
_PASSES, _EPOCHS = 20_000, (15, 60)
_LARGE, _FIRST = 224, 160
_PROBED = 32

# Training MobileNetV3-CaCo at 128 px and batch 64 takes 305 ms per step on two cores (docs/training.md). Time grows
# with the square of the side.
_CORE_SECONDS = 2 * 0.305 / 64 / 128**2
_FIXED_SECONDS = 45.0
"""Core-seconds for start, decoding, report and export of a small model."""


@dataclass(frozen=True)
class Plan:
    """A recipe with the reasons for its values.

    Attributes:
        recipe: the complete recipe.
        lines: one line per choice, with its reason.
    """

    recipe: Recipe
    lines: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join(self.lines)


def plan_training(data: str | Path, overrides: Sequence[str] = ()) -> Plan:
    """Choose a recipe for a data set.

    Args:
        data: the data set, in any layout that ``read_samples`` supports.
        overrides: ``key=value`` as for a recipe, such as ``epochs=20`` or ``data.group_by=patient``; they take
            precedence.

    Raises:
        DataError: the data cannot be read, or a class is too small to be split.
        RecipeError: an invalid override.
    """
    place = Path(data)
    asked = parse_recipe(with_overrides({"name": "plan"}, overrides))
    samples = read_samples(place, **asked.data.reading)
    chosen: dict[str, Any] = {
        "name": name_of(place),
        "description": f"Chosen by lentigo train for {place.resolve().name}",
    }
    chosen["data"] = _data(samples, with_overrides({}, overrides).get("data") or {})
    divided = divide(samples, parse_recipe({"name": "plan", "data": chosen["data"]}).data)
    counts = {
        str(code): {part: int(row.get(part, 0)) for part in _PARTS}
        for code, row in divided.counts().iterrows()
        if code != "total"
    }
    images = sum(row["train"] for row in counts.values())
    chosen["network"], features = _network(samples)
    chosen |= _training(images, samples, _short_side(samples))
    recipe = parse_recipe(with_overrides(chosen, overrides))
    return Plan(recipe, _explain(recipe, samples, counts, features))


def name_of(data: Path) -> str:
    """Return a valid run and bundle name from the data's folder or table."""
    place = data.resolve()
    return as_name(place.stem if place.is_file() else place.name) or "own-data"


def _data(samples: Samples, asked: dict[str, Any]) -> dict[str, Any]:
    splits = set(samples.frame.get("official_split", ()))
    if {"train", "test"} <= splits and not samples.shared_groups:
        protocol = "official"
    elif samples.groups.kind == "unknown":
        protocol = "image"
    else:
        protocol = "patient" if samples.groups.unit == "patient" else "lesion"
    found = {
        "protocol": protocol,
        "fractions": [0.7, 0.15, 0.15] if len(samples) < _SMALL else [0.8, 0.1, 0.1],
        **asked,
    }
    if protocol != "official":
        groups = samples.frame.groupby("label")["group"].nunique().reindex(list(samples.labels.codes), fill_value=0)
        parts = sum(fraction > 0 for fraction in found["fractions"])
        small = {str(code): int(n) for code, n in groups.items() if n < parts}
        if small:
            unit = samples.groups.unit if samples.groups.kind != "unknown" else "image"
            listed = ", ".join(f"{code} ({n})" for code, n in small.items())
            raise DataError(
                f"{samples.root}: too few {unit}s to be in each of {parts} parts: {listed}; merge these classes with"
                f" others, leave them out, or add images{f' of other {unit}s' if unit != 'image' else ''}"
            )
    return found


def _network(samples: Samples) -> tuple[dict[str, Any], Spec | None]:
    """Return the network, and the packaged model to start from unless that was trained on these images."""
    folder = NetworkRecipe(pretrained=FEATURES).bundle
    spec = read_spec(folder) if folder is not None else None
    if spec is not None:
        origin = spec.provenance
        seen = {origin.fingerprint, *(one.fingerprint for one in (*origin.extra, *origin.taught))}
        if samples.fingerprint not in seen and spec.weights != "int8":
            return {"name": spec.network.name, "options": spec.network.options, "pretrained": spec.name}, spec
    return {
        "name": "mobilenetv3_small_caco",
        "options": {"start": "se", "dropout": 0.3},
        "pretrained": "imagenet",
    }, None


def _training(images: int, samples: Samples, side: int) -> dict[str, Any]:
    counts = np.bincount(samples.targets, minlength=len(samples.labels))
    low, high = _EPOCHS
    epochs = min(high, max(low, round(_PASSES / max(images, 1))))
    size = max(64, min(_LARGE, side // 32 * 32))
    stages = [{"from_epoch": 0, "size": size}]
    if size > _FIRST:
        stages = [{"from_epoch": 0, "size": _FIRST}, {"from_epoch": epochs // 2, "size": size}]
    return {
        "epochs": epochs,
        "batch": 16 if images < 500 else 32 if images < _SMALL else 64,
        "sizes": stages,
        "sampling": 0.5 if counts.max() >= 3 * counts.min() else 0.0,
        "loss": {"name": "cross_entropy"},
        "optimiser": {"name": "adamw", "lr": 7e-4, "weight_decay": 5e-2, "decay_norm_and_bias": False},
        "schedule": {"name": "cosine", "warmup": 2},
        "ema": 0.98 if images < _SMALL else 0.995,
        "clip": 5.0,
        "augment": {
            "rotation": 45,
            "scale": [0.7, 1.4],
            "translation": 0.1,
            "colour": {"brightness": 0.3, "contrast": 0.25, "saturation": 0.25, "hue": 0.03},
            "mixup": 0.2,
        },
    }


def _short_side(samples: Samples) -> int:
    """Return the median shorter side of up to 32 images, from their headers; 224 if none is readable."""
    sides = []
    for row in np.linspace(0, len(samples) - 1, num=min(_PROBED, len(samples)), dtype=int):
        try:
            if "#" in str(samples.frame["path"].iloc[row]):
                sides.append(min(samples.read(int(row)).size))
            else:
                with Image.open(samples.file(int(row))) as image:
                    sides.append(min(image.size))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            continue  # decoding reports it by name
    return int(np.median(sides)) if sides else _LARGE


def _explain(
    recipe: Recipe, samples: Samples, counts: dict[str, dict[str, int]], features: Spec | None
) -> tuple[str, ...]:
    totals = samples.frame["label"].value_counts()
    largest, smallest = totals.index[0], totals.index[-1]
    parts = {part: sum(row[part] for row in counts.values()) for part in _PARTS}
    groups = samples.groups
    if groups.kind == "unknown":
        known = f"patients unknown: {LEAK}; {ASK}"
    else:
        known = f"{samples.frame['group'].nunique():,}, by {groups}" + ("" if groups.known else f": {LEAK}")
    domain = recipe.data.domain or "not stated; say --domain clinical (photographs), dermoscopy or other"
    sizes = ", then ".join(f"{stage.size} px" for stage in recipe.sizes)
    seen = sum(recipe.size_at(epoch) ** 2 for epoch in range(recipe.epochs)) * (parts["train"] + parts["val"] / 3)
    seconds = (_FIXED_SECONDS + seen * _CORE_SECONDS) / available_cores()
    drawn = "rare classes are drawn more often" if recipe.sampling else "classes are drawn as they come"
    small = shortfalls(counts)
    lines = {
        "data": (
            f"{len(samples):,} images in {len(samples.labels)} classes ({samples.name}); the smallest is {smallest}"
            f" with {int(totals.iloc[-1]):,}, the largest {largest} with {int(totals.iloc[0]):,}"
        ),
        "groups": known,
        "split": _describe_split(recipe, samples, parts),
        "pictures": domain,
        "network": f"{recipe.network.name}; starts from {_describe_start(recipe, features)}",
        "size": f"{sizes} (the shorter side of the images is {_short_side(samples):,} px in the median)",
        "training": (
            f"{counted(recipe.epochs, 'epoch')}, batch {recipe.batch}, {recipe.optimiser.name} at"
            f" {recipe.optimiser.lr:g}: {recipe.epochs * parts['train']:,} views of {parts['train']:,} images"
        ),
        "balance": (
            f"{drawn}: the largest class has {totals.iloc[0] / totals.iloc[-1]:.1f} times the images of the smallest"
        ),
        "limited by few images": "; ".join([*small, MEND]) if small else "nothing",
        "time": f"about {_clock(seconds)} on this machine's {available_cores()} CPU cores when they are free",
    }
    return tuple(f"{name}: {text}" for name, text in lines.items())


def _describe_split(recipe: Recipe, samples: Samples, parts: dict[str, int]) -> str:
    data, own = recipe.data, [part for part in _PARTS if part in set(samples.frame.get("official_split", ()))]
    text = (
        f"protocol {data.protocol}, seed {data.split_seed}: {parts['train']:,} training, {parts['val']:,} validation,"
        f" {parts['test']:,} test"
    )
    text += f", fold {data.fold + 1} of {data.folds}" if data.folds else ""
    if own and data.protocol != "official":
        text += "; not the data's own"
        if samples.shared_groups:
            text += f", which has {samples.shared_groups:,} {samples.groups.units} in more than one part"
        elif not {"train", "test"} <= set(own):
            text += f", which has no part but {' and '.join(own)}"
    return text


def _describe_start(recipe: Recipe, features: Spec | None) -> str:
    """Describe the initial weights; ``features`` is the packaged model that the plan starts from, if any."""
    start = recipe.network.pretrained
    if features is not None and start == features.name:
        return (
            f"the features of {features.name}, a packaged model trained on skin lesions (licence: {features.licence})"
        )
    if start == "imagenet":
        return "ImageNet" + (f", since {FEATURES} was trained on these images" if features is None else "")
    return "nothing: random weights" if start == "none" else start


def _clock(seconds: float) -> str:
    return f"{max(1, round(seconds / 60))} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
