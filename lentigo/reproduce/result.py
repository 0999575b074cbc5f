"""A table's figures gathered from its runs: what is written as JSON, and what may be said about it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lentigo.evaluation import RunFiles
from lentigo.evaluation.intervals import Estimate
from lentigo.reproduce.cost import Cost
from lentigo.reproduce.measure import PAIRED, Figures, Measured, Paired
from lentigo.reproduce.tables import Budget, Row, Table
from lentigo.training.record import command_line, versions

FORMAT = 1
# Our metric -> the paper's figure it is set against; the paper's BACC stands beside two of ours, in columns of their own.
PRINTED = {"accuracy": "accuracy", "balanced_accuracy": "bacc", "bacc_ovr": "bacc"}
_CURVE = ("train_loss", "val_loss", "val_accuracy", "val_balanced_accuracy")


@dataclass(frozen=True)
class RowRuns:
    """A row and the runs that were found for it.

    Attributes:
        row: the row.
        slug: names its run folders.
        runs: seed -> what lies in the run folder.
        missing: why there is none, or not every one.
        cost: what the network costs; None where it was not measured.
    """

    row: Row
    slug: str
    runs: Mapping[int, RunFiles]
    missing: tuple[str, ...] = ()
    cost: Cost | None = None

    @property
    def start(self) -> str | None:
        """``imagenet`` or ``scratch``, as the runs say; None without runs."""
        started = {"scratch" if run.record.get("pretrained") is None else "imagenet" for run in self.runs.values()}
        return " and ".join(sorted(started)) if started else None


def build_result(
    table: Table,
    rows: Sequence[RowRuns],
    measured: Measured,
    *,
    protocol: str,
    budget: Budget,
    seeds: Sequence[int],
    elsewhere: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Everything that is known about a table, as plain data.

    Args:
        table: the table.
        rows: its rows with their runs, as printed.
        measured: the runs' figures, by slug of the run folders.
        protocol: how the data were split.
        budget: how training was scaled.
        seeds: the seeds that were asked for.
        elsewhere: figures on other collections, of ``elsewhere_result``.
    """
    present = [row for row in rows if row.runs]
    records = [run.record for row in present for run in row.runs.values()]
    first = records[0]
    reference = next((row for row in present if row.row.slug == table.reference), None)
    figures = {row.slug: measured.figures(row.slug) for row in present}
    against = [] if reference is None else measured.pairs([(reference.slug, row.slug) for row in present if row is not reference], PAIRED)
    recipe = next(iter(present[0].runs.values())).folder / "recipe.yaml"
    return {
        "format": FORMAT,
        "table": table.name,
        "title": table.title,
        "paper": table.paper,
        "data": str(first["data"]),
        "protocol": protocol,
        "budget": {"name": budget.name, "values": budget.values, "recipe": table.recipe},
        "seeds": list(seeds),
        "complete": all(set(row.runs) >= set(seeds) for row in rows),
        "mixed_start": len({row.start for row in present}) > 1,
        "part": table.part,
        "test": {"images": measured.images, "groups": measured.groups, "grouped": measured.grouped},
        "interval": {
            "level": 0.95,
            "method": "hierarchical percentile bootstrap: groups (lesions or patients), and S - 1 of S seeds",
            "resamples": measured.resamples,
            "seed": measured.seed,
        },
        "reference": None if reference is None else reference.slug,
        "rows": [_row(row, figures.get(row.slug), table) for row in rows] + _class_rows(rows, figures),
        "pairs": [_pair(pair, present) for pair in against],
        "recall_of_rare_classes": _rare(table, present, reference, measured),
        "elsewhere": list(elsewhere),
        "order": {metric: _order(present, measured, metric) for metric in PRINTED},
        "provenance": {
            "command": command_line(),
            "fingerprint": first["fingerprint"],
            "split": {"protocol": protocol, "split_seed": first["split_seed"], "counts": first["counts"], "recipe": recipe.name},
            "hardware": sorted({str(record["hardware"]) for record in records}),
            "wall_seconds": round(sum(float(record["wall_seconds"]) for record in records), 1),
            "runs_created": [min(str(r["created"]) for r in records), max(str(r["created"]) for r in records)],
            "written": datetime.now(UTC).isoformat(timespec="seconds"),
            "versions": versions(),
        },
    }


def _row(row: RowRuns, figures: Figures | None, table: Table) -> dict[str, Any]:
    printed = {key: value for key, value in row.row.printed.model_dump().items() if value is not None}
    found: dict[str, Any] = {"name": row.row.name, "slug": row.slug, "printed": printed, "notes": row.row.notes}
    if row.cost is not None:
        cost = row.cost
        paper = row.row.paper_classes or table.paper_classes
        found |= {
            "parameters": cost.parameters,
            "parameters_as_printed": {"classes": paper, "parameters": cost.paper_parameters or cost.parameters} if paper else None,
            "macs": cost.macs,
            "file_bytes": cost.bytes,
            "latency_ms": round(cost.latency_ms, 3),
            "cost": asdict(cost),
        }
    found |= {"missing": list(row.missing), "start": row.start}
    if figures is None:
        return found | {"seeds": [], "measured": None}
    runs = [row.runs[seed] for seed in figures.seeds]
    weights = runs[0].record.get("pretrained")
    if "parameters" not in found:
        found["parameters"] = runs[0].record["parameters"]
    return found | {
        "weights": None if weights is None else {**weights, "source": Path(str(weights["source"])).name},
        "seeds": list(figures.seeds),
        "measured": {name: e.to_dict() for name, e in figures.overall.items()},
        "probability": {name: e.to_dict() for name, e in figures.probability.items() if e.defined},
        "per_class": {code: {name: e.to_dict() for name, e in values.items()} for code, values in figures.per_class.items()},
        "per_seed": {str(seed): values for seed, values in figures.per_seed.items()},
        "printed_inside": {metric: _inside(figures.overall[metric], printed[key]) for metric, key in PRINTED.items() if key in printed},
        "confusion": figures.confusion.tolist(),
        "curve": _curve([run.log for run in runs if run.log is not None]),
        "wall_seconds": round(sum(float(run.record["wall_seconds"]) for run in runs), 1),
        "runs": [str(run.folder) for run in runs],
    }


def _class_rows(rows: Sequence[RowRuns], figures: Mapping[str, Figures]) -> list[dict[str, Any]]:
    """The lines of a table that is printed class by class."""
    found = []
    for row in rows:
        for code, printed in row.row.classes.items():
            shown = printed.model_dump(exclude={"name"})
            measured = figures[row.slug].per_class.get(code) if row.slug in figures else None
            found.append(
                {
                    "name": printed.name,
                    "class": code,
                    "slug": row.slug,
                    "printed": shown,
                    "measured": None if measured is None else {key: measured[key].to_dict() for key in shown},
                    "seeds": sorted(row.runs),
                    "start": row.start,
                }
            )
    return found


def _inside(measured: Estimate, percent: float) -> bool | None:
    if measured.low is None or measured.high is None:
        return None
    return measured.low <= percent / 100 <= measured.high


def _curve(logs: Sequence[pd.DataFrame]) -> list[dict[str, Any]]:
    """Mean over the seeds of each epoch, with how many seeds reached it."""
    if not logs:
        return []
    every = pd.concat(logs)
    means = every.groupby("epoch").agg({"size": "first", **dict.fromkeys(_CURVE, "mean")})
    counts = every.groupby("epoch").size()
    return [
        {"epoch": int(str(epoch)), "size": int(line["size"]), "seeds": int(count), **{c: round(float(line[c]), 6) for c in _CURVE}}
        for (epoch, line), count in zip(means.iterrows(), counts, strict=True)
    ]


def _pair(pair: Paired, rows: Sequence[RowRuns]) -> dict[str, Any]:
    starts = {row.slug: row.start for row in rows}
    return {
        "first": pair.first,
        "second": pair.second,
        "seeds": list(pair.seeds),
        "mixed_start": starts[pair.first] != starts[pair.second],
        "differences": pair.tested(),
        "mcnemar": {str(seed): p for seed, p in pair.mcnemar.items()},
    }


def _rare(table: Table, rows: Sequence[RowRuns], reference: RowRuns | None, measured: Measured) -> list[dict[str, Any]]:
    """Recall of the rare classes against the reference row."""
    if reference is None:
        return []
    return [
        {"slug": row.slug, "class": code, **measured.recall_difference(reference.slug, row.slug, code).to_dict()}
        for row in rows
        if row is not reference and set(row.runs) & set(reference.runs)
        for code in table.rare
        if code in measured.codes
    ]


def _order(rows: Sequence[RowRuns], measured: Measured, metric: str) -> dict[str, Any] | None:
    """Whether the paper's order of the rows holds: every pair that it tells apart and that starts alike."""
    key = PRINTED[metric]
    printed = {row.slug: value for row in rows if (value := getattr(row.row.printed, key)) is not None}
    starts = {row.slug: row.start for row in rows}
    ranked = sorted(printed, key=lambda slug: -printed[slug])
    couples = [(b, a) for a, b in itertools.combinations(ranked, 2) if printed[a] != printed[b]]  # the paper's better one second
    alike = [(a, b) for a, b in couples if starts[a] == starts[b]]
    if not couples:
        return None
    holds: list[list[str]] = []
    reversed_: list[list[str]] = []
    open_: list[list[str]] = []
    for pair in measured.pairs(alike, [metric]):
        better = pair.differences[metric].value > 0
        (open_ if not pair.real(metric) else holds if better else reversed_).append([pair.second, pair.first])
    found = {row.slug: measured.figures(row.slug).overall[metric].value for row in rows if row.slug in printed}
    return {
        "printed": ranked,
        "measured": sorted(found, key=lambda slug: -found[slug]),
        "pairs": len(alike),
        "pairs_of_mixed_start": len(couples) - len(alike),
        "hold": holds,
        "reversed": reversed_,
        "inside_the_noise": open_,
    }


def spread_of_seeds(row: Mapping[str, Any], metric: str) -> float | None:
    """Standard deviation over the seeds of a row; None with one seed."""
    values = [seed[metric] for seed in row["per_seed"].values()]
    return float(np.std(values, ddof=1)) if len(values) > 1 else None
