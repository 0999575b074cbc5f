"""Splits into training, validation and test: by image, by lesion, or as published; seeded, saved as CSV.

A table of results must name the protocol of each figure: ``image`` draws images at random, as the
CaCo paper does (Shi et al. 2023, 8:1:1), so that other photographs of a test lesion are in training for about 40 % of
HAM10000's test images; ``lesion`` keeps every lesion (or patient) on one side.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lentigo.data.balance import add_copies, restore_copies
from lentigo.data.samples import SPLITS, VARIANT, Samples
from lentigo.data.tables import need_columns, read_table, unguard, write_table
from lentigo.errors import DataError, did_you_mean

PROTOCOLS = ("image", "lesion", "patient", "official", "augmented")


def split_samples(
    samples: Samples, protocol: str, *, fractions: Sequence[float] = (0.8, 0.1, 0.1), seed: int = 0
) -> Samples:
    """Split into training, validation and test.

    Args:
        samples: what to split; splits it already has are replaced.
        protocol: ``image``: random, stratified by class, groups ignored (the paper's protocol; ``train_only`` is
            ignored as well). ``lesion`` (``patient`` is the same): every group on one side, stratified by class, and a
            group with a ``train_only`` image in training. ``official``: as published (column ``official_split``); where
            validation was not published, it is taken from training by group. ``augmented``: the classes are filled up
            with turned, mirrored and zoomed copies first, then images and copies are split at random, so that copies of
            one image lie on both sides. That leaks; it is how DS-ResNet50's paper seems to have measured, and for
            nothing else.
        fractions: of training, validation and test; they sum to 1.
        seed: the same seed gives the same split.

    Raises:
        DataError: unknown protocol, fractions that do not sum to 1, no published split, or a class that has fewer
            groups than there are splits.
    """
    ratios = np.asarray(fractions, dtype=np.float64)
    if ratios.shape != (3,) or (ratios < 0).any() or ratios[0] <= 0 or abs(ratios.sum() - 1) > 1e-6:
        raise DataError(
            "fractions must be three numbers (train, val, test) that sum to 1, with some training; found"
            f" {tuple(fractions)}"
        )
    _check_protocol(protocol)
    if protocol == "official":
        return _official(samples, ratios, seed)
    if protocol == "augmented" and not samples.copies.any():
        samples = add_copies(samples, np.ones(len(samples), dtype=bool), seed)
    if protocol in ("image", "augmented"):
        parts = _spread_images(samples, np.arange(len(samples)), ratios, seed)
    else:
        parts = _spread_groups(samples, np.arange(len(samples)), ratios, seed, home=0)
    return _assign(samples, np.asarray(SPLITS, dtype=object)[parts])


def kfold_samples(samples: Samples, protocol: str, *, folds: int, fold: int, seed: int = 0) -> Samples:
    """Return one fold of a k-fold cross-validation: fold ``fold`` is validation, the others are training.

    Images that are in ``test`` already stay there, so that the test part is apart from the cross-validation: split
    first to have one. With ``official``, the published test part is kept and the rest is folded by group.

    Args:
        samples: what to fold.
        protocol: as in :func:`split_samples`.
        folds: how many folds, at least 2.
        fold: which one validates, 0 to ``folds - 1``.
        seed: the same seed gives the same folds.

    Raises:
        DataError: a fold that is not there, or a class that has fewer groups than there are folds.
    """
    _check_protocol(protocol)
    if folds < 2 or not 0 <= fold < folds:
        raise DataError(f"fold {fold} of {folds}: there must be at least 2 folds, and they count from 0 to folds - 1")
    if protocol == "official":
        samples = _official(samples, np.asarray([0.8, 0.1, 0.1]), seed)
    split = samples.frame["split"].to_numpy(dtype=object)
    rows = np.flatnonzero(split != "test")
    ratios = np.full(folds, 1 / folds)
    parts = (
        _spread_images(samples, rows, ratios, seed)
        if protocol in ("image", "augmented")
        else _spread_groups(samples, rows, ratios, seed, home=None)
    )
    folded = split.copy()
    folded[rows] = np.where(parts == fold, "val", "train")
    return _assign(samples, folded)


def save_split(samples: Samples, path: str | Path) -> None:
    """Write the split as CSV, atomically: ``image``, ``split``, and ``variant`` where there are copies.

    Raises:
        OutputError: the disk refuses.
    """
    write_table(path, samples.frame[["image", "split", VARIANT] if samples.copies.any() else ["image", "split"]])


def load_split(samples: Samples, path: str | Path) -> Samples:
    """Apply a split that was saved by :func:`save_split`; copies in it are added.

    Raises:
        DataError: the file cannot be read, lacks a column, names another split, or is of other images.
    """
    table = need_columns(unguard(read_table(Path(path))), ("image", "split"), path)
    if table["image"].duplicated().any():
        raise DataError(
            f"{path}: image {table['image'][table['image'].duplicated()].iloc[0]!r} is there more than once"
        )
    if VARIANT in table.columns and not samples.copies.any():
        samples = restore_copies(samples, table, path)
    named, own = set(table["image"]), set(samples.frame["image"])
    for extra, text in ((named - own, "that are not in the data"), (own - named, "of the data left out")):
        if extra:
            raise DataError(
                f"{path}: not a split of this data ({samples.title}, {len(own):,} images): "
                f"{len(extra):,} images {text}, the first {min(extra)!r}"
            )
    return samples.with_split(table.set_index("image")["split"])


def _check_protocol(protocol: str) -> None:
    if protocol not in PROTOCOLS:
        raise DataError(f"unknown split protocol {protocol!r}{did_you_mean(protocol, PROTOCOLS)}")


def _assign(samples: Samples, split: NDArray[np.object_]) -> Samples:
    return samples.with_split(pd.Series(split, index=samples.frame["image"].to_numpy(), dtype=object))


def _official(samples: Samples, ratios: NDArray[np.float64], seed: int) -> Samples:
    if "official_split" not in samples.frame.columns:
        raise DataError(
            f"{samples.title}: has no published split (column official_split); use protocol 'lesion' or 'image'"
        )
    split = samples.frame["official_split"].to_numpy(dtype=object).copy()
    for name in ("train", "test"):
        if not (split == name).any():
            raise DataError(f"{samples.title}: no image is in the published {name} split")
    if not (split == "val").any() and ratios[1] > 0:
        rows = np.flatnonzero(split == "train")
        two = np.asarray([ratios[0], ratios[1]]) / (ratios[0] + ratios[1])
        split[rows] = np.asarray(["train", "val"], dtype=object)[_spread_groups(samples, rows, two, seed, home=0)]
    return _assign(samples, split)


def _too_few(samples: Samples, code: str, count: int, what: str, parts: int) -> str:
    return (
        f"{samples.title}: class {code!r} has {count} {what}, too few for {parts} parts; merge it with another class,"
        " leave it out, or add images"
    )


def _spread_images(
    samples: Samples, rows: NDArray[np.intp], ratios: NDArray[np.float64], seed: int
) -> NDArray[np.intp]:
    """Return the part of each row, (len(rows),): per class, a random order cut by the fractions."""
    rng = np.random.default_rng(seed)
    parts = np.zeros(len(rows), dtype=np.intp)
    used = np.flatnonzero(ratios > 0)
    targets = samples.targets[rows]
    for target, code in enumerate(samples.labels.codes):
        members = rng.permutation(np.flatnonzero(targets == target))
        if len(members) < len(used):
            raise DataError(_too_few(samples, code, len(members), "images", len(used)))
        counts = np.zeros(len(ratios), dtype=np.intp)
        counts[used] = 1  # every part sees every class
        wanted = ratios * len(members)
        for _ in range(len(members) - len(used)):
            counts[np.argmax(wanted - counts)] += 1
        parts[members] = np.repeat(np.arange(len(ratios)), counts)
    return parts


def _spread_groups(
    samples: Samples, rows: NDArray[np.intp], ratios: NDArray[np.float64], seed: int, *, home: int | None
) -> NDArray[np.intp]:
    """Return the part of each row; a group is in one part.

    Greedy: groups in random order, the largest first, each to the part whose wanted number of images of the group's
    classes is the least filled. Groups with a ``train_only`` image go to part ``home`` (or to none, -1, where it is
    None).
    """
    rng = np.random.default_rng(seed)
    codes, group_of = np.unique(samples.frame["group"].to_numpy(dtype=str)[rows], return_inverse=True)
    classes = len(samples.labels)
    content = np.zeros((len(codes), classes), dtype=np.float64)  # (G, K): images of each class
    np.add.at(content, (group_of, samples.targets[rows]), 1)
    bound = np.zeros(len(codes), dtype=bool)
    bound[group_of[samples.frame["train_only"].to_numpy()[rows]]] = True

    used = np.flatnonzero(ratios > 0)
    free_parts = [p for p in used if p != home]
    for target, code in enumerate(samples.labels.codes):
        held = content[:, target] > 0
        free = int((held & ~bound).sum())
        if int(held.sum()) < len(used) or free < len(free_parts):
            note = f" ({int((held & bound).sum())} of them for training only)" if (held & bound).any() else ""
            known = samples.groups.units if samples.groups.known else "groups"
            raise DataError(_too_few(samples, code, int(held.sum()), f"{known}{note}", len(used)))

    assigned = np.full(len(codes), -1, dtype=np.intp)
    have = np.zeros((len(ratios), classes))
    considered = np.ones(len(codes), dtype=bool)
    if home is not None:
        assigned[bound] = home
        have[home] = content[bound].sum(axis=0)
    else:
        considered = ~bound
    totals = content[considered].sum(axis=0)
    want = ratios[used, None] * totals  # (P, K)
    order = rng.permutation(np.flatnonzero(~bound))
    order = order[np.argsort(-content[order].sum(axis=1), kind="stable")]
    for group in order:
        weight = content[group] / np.maximum(totals, 1)
        filled = (have[used] / np.maximum(want, 1e-12)) @ weight
        part = used[int(np.argmin(filled))]
        assigned[group] = part
        have[part] += content[group]
    empty = np.argwhere(have[used] == 0)
    if len(empty):
        code = samples.labels.codes[int(empty[0][1])]
        raise DataError(
            f"{samples.title}: class {code!r} does not spread over {len(used)} parts, its groups are too large; try"
            " another seed"
        )
    return assigned[group_of]
