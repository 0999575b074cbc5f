"""Read the tables of a run folder for evaluation; the network is not read.

A run folder contains ``predictions/test.csv`` and, optionally, ``predictions/val.csv``, ``run.json``,
``log.csv`` and ``predictions/test_maps.npz``. A single CSV of predictions is also accepted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from lentigo.errors import DataError, first_line
from lentigo.evaluation.predictions import Maps, PredictionTable, maps_path, read_maps, read_predictions
from lentigo.labels import ClassLabel, LabelSet
from lentigo.text import one_line

RECORD = "run.json"
LOG = "log.csv"


@dataclass(frozen=True)
class RunFiles:
    """Checked contents of a run's files.

    Attributes:
        folder: the run folder, or the folder of a single CSV.
        name: display name.
        split: name of the part in ``test``.
        record: content of ``run.json``; empty without it.
        labels: the classes, in the order of the probability columns.
        test: predictions to evaluate.
        validation: predictions on the validation part, for calibration.
        log: one row per epoch.
        maps: class-activation maps of ``test``.
    """

    folder: Path
    name: str
    split: str
    record: Mapping[str, Any]
    labels: LabelSet
    test: PredictionTable
    validation: PredictionTable | None
    log: pd.DataFrame | None
    maps: Maps | None


def read_run(source: str | Path, *, split: str = "test") -> RunFiles:
    """Read the files for a report or a comparison.

    Args:
        source: a run folder, or a CSV of predictions.
        split: predictions to evaluate: ``predictions/<split>.csv``.

    Raises:
        DataError: no such source or predictions, or a damaged file.
    """
    path = Path(source)
    if path.is_dir():
        folder, predictions = path, path / "predictions" / f"{split}.csv"
        if not predictions.is_file():
            there = sorted(p.stem for p in (path / "predictions").glob("*.csv"))
            hint = f"; it has {', '.join(there)}" if there else "; train to the end first, or name a CSV of predictions"
            raise DataError(f"{path}: no predictions/{split}.csv in this run folder{hint}")
    elif path.is_file():
        folder = path.parent.parent if path.parent.name == "predictions" else path.parent
        predictions, split = path, path.stem
    else:
        raise DataError(f"{path}: no such run folder or file of predictions")
    record = _record(folder / RECORD)
    labels = _labels(record, folder / RECORD)
    codes = None if labels is None else labels.codes
    test = read_predictions(predictions, codes=codes)
    beside = predictions.with_name("val.csv")
    validation = read_predictions(beside, codes=test.codes) if split != "val" and beside.is_file() else None
    maps = maps_path(predictions)
    return RunFiles(
        folder=folder,
        name=one_line(str(record.get("name") or (folder if path.is_dir() else path).resolve().stem)),
        split=split,
        record=record,
        labels=labels or LabelSet.of("predictions", test.codes),
        test=test,
        validation=validation,
        log=_log(folder / LOG) if (folder / LOG).is_file() else None,
        maps=read_maps(maps) if maps.is_file() else None,
    )


def read_json(path: Path) -> Any:
    """Return the content of a JSON file; an empty object if there is no such file.

    Raises:
        DataError: not valid JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(f"{path}: cannot be read as JSON ({error})") from None


def _record(path: Path) -> dict[str, Any]:
    record = read_json(path)
    if not isinstance(record, dict):
        raise DataError(f"{path}: must hold an object of facts about the run")
    return record


def _labels(record: Mapping[str, Any], path: Path) -> LabelSet | None:
    listed = record.get("labels")
    if listed is None:
        return None
    try:
        return LabelSet(
            str(record.get("data") or "classes"),
            tuple(
                ClassLabel(str(c["code"]), str(c["en"]), str(c["zh"]), c.get("malignant"), c.get("names") or {})
                for c in listed
            ),
        )
    except (TypeError, KeyError, AttributeError):
        raise DataError(f"{path}: labels must be a list of objects with code, en, zh and malignant") from None


def _log(path: Path) -> pd.DataFrame:
    try:
        log = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as CSV ({first_line(error)})") from None
    if "epoch" not in log.columns:
        raise DataError(f"{path}: no column epoch; it is not the log of a run")
    return log
