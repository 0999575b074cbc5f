"""Evaluate a table's runs on external data sets: images of other clinics and devices."""

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
from lentigo.estimate import plain
from lentigo.evaluation import PredictionTable, read_predictions
from lentigo.evaluation.seeds import Measured
from lentigo.reproduce.result import EXTERNAL, RowRuns
from lentigo.training.predict import write_split_predictions
from lentigo.training.rundir import load_run

_BATCH = 128


@dataclass(frozen=True)
class External:
    """Predictions of a table's runs on one external data set."""

    name: str
    fingerprint: str  # fingerprint of the whole data set
    classes: tuple[str, ...]  # the table's classes that occur in it
    runs: Mapping[str, Mapping[int, PredictionTable]]  # slug -> seed -> predictions
    excluded: tuple[str, ...]  # slugs of the rows trained on it, which are not in ``runs``


def predict_external(
    rows: Sequence[RowRuns], chosen: Sequence[ExtraRecipe], data: Path, say: Callable[[str], None]
) -> list[External]:
    """Predict external data sets, without published test parts, with all runs; cached in the run folders.

    Args:
        rows: the rows with their runs.
        chosen: the data sets; their paths are relative to the table's data.
        data: the table's data.
        say: called with a line for each data set, each missing one, and runs without a network.

    Raises:
        DataError: a data set that cannot be read, or lacks a class.
        OutputError: a file cannot be written.
    """
    found = []
    for one in chosen:
        folder = data / one.folder
        if not folder.exists():
            say(f"{folder}: no such folder; the table goes without it")
            continue
        labels = next(run.labels for row in rows for run in row.runs.values())
        extra = read_extra(folder, one.classes, labels)
        name = extra.samples.name
        excluded = tuple(row.slug for row in rows if any(_trained_on(run.record, extra) for run in row.runs.values()))
        runs = [(row.slug, seed, run) for row in rows if row.slug not in excluded for seed, run in row.runs.items()]
        say(f"{name}: {len(extra.samples):,} images for {len(runs)} runs")
        tables: dict[str, dict[int, PredictionTable]] = {}
        for slug, seed, run in runs:
            try:
                predictions = _predictions(run.folder, extra)
            except TrainingError as error:
                say(f"not evaluated on {name}: {error}")
            else:
                tables.setdefault(slug, {})[seed] = predictions
        if tables:
            classes = tuple(code for code in labels.codes if code in set(one.classes.values()))
            found.append(External(name, extra.fingerprint, classes, tables, excluded))
    return found


def external_result(
    external: External, reference: str, temperatures: Mapping[str, Mapping[int, float]], *, resamples: int
) -> dict[str, Any]:
    """Return a data set's metrics as plain data, with paired differences from the reference."""
    runs = external.runs
    scale = {slug: {seed: temperatures[slug][seed] for seed in by_seed} for slug, by_seed in runs.items()}
    measured = Measured(runs, resamples=resamples, temperatures=scale)
    figures = {slug: measured.figures(slug) for slug in runs}
    couples = [(reference, slug) for slug in runs if slug != reference] if reference in runs else []
    return {
        "data": external.name,
        "fingerprint": external.fingerprint,
        "classes": list(external.classes),
        "images": measured.images,
        "groups": measured.groups,
        "rows": {
            slug: {
                "seeds": list(one.seeds),
                **plain({name: (one.overall | one.probability)[name] for name in EXTERNAL}),
            }
            for slug, one in figures.items()
        },
        "pairs": [
            {"second": pair.second, "seeds": list(pair.seeds), "differences": plain(pair.differences)}
            for pair in measured.pairs(couples, EXTERNAL)
        ],
        "trained_on_it": list(external.excluded),
    }


def _trained_on(record: Mapping[str, Any], extra: Extra) -> bool:
    """Return whether a run or its teacher was trained on the data set."""
    return any(one["fingerprint"] == extra.fingerprint for one in (*record.get("extra", []), *record.get("taught", [])))


def _predictions(folder: Path, extra: Extra) -> PredictionTable:
    """Return a run's predictions of a data set; compute them if missing or of other images."""
    path = folder / "predictions" / f"elsewhere-{extra.samples.name}-{extra.fingerprint[:12]}.csv"
    codes = extra.samples.labels.codes
    if path.is_file():
        try:
            table = read_predictions(path, codes=codes)
        except DataError:
            pass  # damaged: compute again
        else:
            if list(table.images) == extra.samples.frame["image"].tolist():
                return table
    run = load_run(folder)
    pixels = open_cache(extra.samples, run.recipe.final_size, progress=False).pixels
    network = run.network().to(memory_format=torch.channels_last)
    write_split_predictions(
        network, extra.samples, pixels, "train", path, device=torch.device("cpu"), batch=_BATCH, maps=False
    )
    return read_predictions(path, codes=codes)
