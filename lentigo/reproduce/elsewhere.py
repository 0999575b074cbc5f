"""A table's runs on other collections: what they are worth on images from clinics and devices that none of them has seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lentigo.config.recipe import ExtraRecipe
from lentigo.data.cache import open_cache
from lentigo.data.extra import Extra, read_extra
from lentigo.errors import DataError, TrainingError
from lentigo.evaluation import PredictionTable, read_predictions
from lentigo.reproduce.measure import Measured
from lentigo.reproduce.result import RowRuns
from lentigo.training.predict import write_split_predictions
from lentigo.training.rundir import load_run

METRICS = ("balanced_accuracy", "macro_auc", "malignant_auc")
_BATCH = 128


@dataclass(frozen=True)
class Elsewhere:
    """A table's runs on one other collection.

    Attributes:
        name: of the collection.
        fingerprint: of the whole collection.
        classes: those of the table that occur there.
        runs: slug -> seed -> predictions; rows that have learnt from the collection are not here.
        learnt: slugs of those rows.
    """

    name: str
    fingerprint: str
    classes: tuple[str, ...]
    runs: Mapping[str, Mapping[int, PredictionTable]]
    learnt: tuple[str, ...]


def predict_elsewhere(rows: Sequence[RowRuns], chosen: Sequence[ExtraRecipe], data: Path, say: Callable[[str], None]) -> list[Elsewhere]:
    """Every run's predictions of other collections, their published test parts left out; made once a run, and kept in its folder.

    Args:
        rows: the rows with their runs.
        chosen: the collections, their folders named from the table's data.
        data: the table's data.
        say: told of each collection, of one that is not there, and of runs whose network is not.

    Raises:
        DataError: a collection is there but cannot be read, or lacks a class.
        OutputError: the disk refuses.
    """
    found = []
    for one in chosen:
        folder = data / one.folder
        if not folder.exists():
            say(f"{folder}: no such folder; the table goes without it")
            continue
        labels = next(run.labels for row in rows for run in row.runs.values())
        extra = read_extra(folder, one.classes, labels)
        learnt = tuple(row.slug for row in rows if any(_has_learnt(run.record, extra) for run in row.runs.values()))
        judged = [row for row in rows if row.slug not in learnt]
        say(f"{extra.samples.name}: {len(extra.samples):,} images for {sum(len(row.runs) for row in judged)} runs")
        tables: dict[str, dict[int, PredictionTable]] = {}
        for row in judged:
            for seed, run in row.runs.items():
                try:
                    predictions = _predictions(run.folder, extra)
                    tables.setdefault(row.slug, {})[seed] = predictions
                except TrainingError as error:
                    say(f"not judged on {extra.samples.name}: {error}")
        if not tables:
            continue
        classes = tuple(code for code in labels.codes if code in set(one.classes.values()))
        found.append(Elsewhere(extra.samples.name, extra.fingerprint, classes, tables, learnt))
    return found


def elsewhere_result(
    elsewhere: Elsewhere, reference: str, temperatures: Mapping[str, Mapping[int, float]], *, resamples: int
) -> dict[str, Any]:
    """A collection's figures as plain data, with paired differences from the reference.

    Args:
        elsewhere: the predictions.
        reference: slug of the row that the others are tested against.
        temperatures: slug -> seed -> temperature.
        resamples: bootstrap resamples.
    """
    runs = elsewhere.runs
    scale = {slug: {seed: temperatures[slug][seed] for seed in by_seed} for slug, by_seed in runs.items()}
    measured = Measured(runs, resamples=resamples, temperatures=scale)
    rows = {}
    for slug in runs:
        figures = measured.figures(slug)
        values = figures.overall | figures.probability
        rows[slug] = {"seeds": list(figures.seeds), **{name: values[name].to_dict() for name in METRICS}}
    couples = [(reference, slug) for slug in runs if slug != reference] if reference in runs else []
    pairs = [{"second": pair.second, "seeds": list(pair.seeds), "differences": pair.tested()} for pair in measured.pairs(couples, METRICS)]
    return {
        "data": elsewhere.name,
        "fingerprint": elsewhere.fingerprint,
        "classes": list(elsewhere.classes),
        "images": measured.images,
        "groups": measured.groups,
        "rows": rows,
        "pairs": pairs,
        "learnt_from_it": list(elsewhere.learnt),
    }


def _has_learnt(record: Mapping[str, Any], extra: Extra) -> bool:
    """Whether a run, or a teacher of it, has."""
    return any(one["fingerprint"] == extra.fingerprint for one in (*record.get("extra", []), *record.get("taught", [])))


def _predictions(folder: Path, extra: Extra) -> PredictionTable:
    """A run's predictions of a collection, made where they are not there or are of other images."""
    path = folder / "predictions" / f"elsewhere-{extra.samples.name}-{extra.fingerprint[:12]}.csv"
    codes = extra.samples.labels.codes
    if path.is_file():
        try:
            table = read_predictions(path, codes=codes)
        except DataError:
            pass  # damaged: made anew
        else:
            if list(table.images) == extra.samples.frame["image"].tolist():
                return table
    run = load_run(folder)
    pixels = open_cache(extra.samples, run.recipe.final_size, progress=False).pixels
    network = run.network().to(memory_format=torch.channels_last)
    write_split_predictions(network, extra.samples, pixels, "train", path, device=torch.device("cpu"), batch=_BATCH, maps=False)
    return read_predictions(path, codes=codes)
