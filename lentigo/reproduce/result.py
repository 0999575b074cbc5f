"""Collect a table's metrics from its runs, for JSON."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from lentigo.estimate import plain
from lentigo.evaluation import PredictionTable, RunFiles
from lentigo.evaluation.intervals import Estimate
from lentigo.evaluation.seeds import PAIRED, Figures, Measured
from lentigo.reproduce.request import Request
from lentigo.reproduce.tables import Row, Table
from lentigo.training.record import command_line, versions

if TYPE_CHECKING:
    from lentigo.reproduce.cost import Cost

FORMAT = 1
# Metric -> key of the paper's value; the paper's BACC is compared with two metrics, in separate columns.
PRINTED = {"accuracy": "accuracy", "balanced_accuracy": "bacc", "bacc_ovr": "bacc"}
EXTERNAL = ("balanced_accuracy", "macro_auc", "malignant_auc")
"""Metrics of external data sets."""
_CURVE = ("train_loss", "val_loss", "val_accuracy", "val_balanced_accuracy")


@dataclass(frozen=True)
class RowRuns:
    """A row with its available runs."""

    row: Row
    slug: str  # prefix of its run folders
    runs: Mapping[int, RunFiles]  # seed -> contents of the run folder
    missing: tuple[str, ...] = ()  # reasons for missing runs
    cost: Cost | None = None

    @property
    def start(self) -> str | None:
        """Return the start of the runs, ``imagenet`` or ``scratch``; None without runs."""
        started = {"scratch" if run.record.get("pretrained") is None else "imagenet" for run in self.runs.values()}
        return " and ".join(sorted(started)) if started else None


def pool_folds(runs: Sequence[RunFiles]) -> RunFiles:
    """Return the folds of a cross-validation as one run: their predictions together, and the mean of their logs."""
    if len(runs) == 1:
        return runs[0]
    logs = [run.log for run in runs if run.log is not None]
    counts = pd.DataFrame([run.record["counts"]["val"] for run in runs]).sum()
    record = {
        **runs[0].record,
        "wall_seconds": sum(float(run.record["wall_seconds"]) for run in runs),
        "counts": {"out of fold": {str(code): int(count) for code, count in counts.items()}},
    }
    return replace(
        runs[0],
        record=record,
        test=PredictionTable.pooled([run.test for run in runs]),
        log=pd.concat(logs).groupby("epoch", as_index=False).mean() if len(logs) == len(runs) else None,
        maps=None,
    )


def build_result(
    request: Request, rows: Sequence[RowRuns], measured: Measured, external: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return all results of a table as plain data."""
    table = request.table
    present = [row for row in rows if row.runs]
    starts = {row.slug: row.start for row in present}
    records = [run.record for row in present for run in row.runs.values()]
    reference = next((row.slug for row in present if row.row.slug == table.reference), None)
    others = [] if reference is None else [(reference, row.slug) for row in present if row.slug != reference]
    figures = {row.slug: measured.figures(row.slug) for row in present}
    return {
        "format": FORMAT,
        "table": table.name,
        "title": table.title,
        "paper": table.paper,
        "data": str(records[0]["data"]),
        "protocol": request.protocol,
        "budget": {"name": request.budget.name, "values": request.budget.values, "recipe": table.recipe},
        "seeds": list(request.seeds),
        "complete": all(set(row.runs) >= set(request.seeds) for row in rows),
        "mixed_start": len(set(starts.values())) > 1,
        "part": table.part,
        "folds": table.folds,
        "test": {"images": measured.images, "groups": measured.groups, "grouped": measured.grouped},
        "interval": {
            "level": 0.95,
            "method": "hierarchical percentile bootstrap: groups (lesions or patients), and S - 1 of S seeds",
            "resamples": measured.resamples,
            "seed": measured.seed,
        },
        "reference": reference,
        "rows": [_row(row, figures.get(row.slug), table) for row in rows] + _class_rows(rows, figures),
        "pairs": _pairs(measured, others, starts),
        "recall_of_rare_classes": [
            {"slug": slug, "class": code, **measured.recall_difference(base, slug, code).to_dict()}
            for base, slug in others
            if measured.shared_seeds(base, slug)
            for code in table.rare
            if code in measured.codes
        ],
        "elsewhere": list(external),
        "order": {metric: _order(present, measured, metric) for metric in PRINTED},
        "provenance": _provenance(request, records),
    }


def _pairs(
    measured: Measured, couples: Sequence[tuple[str, str]], starts: Mapping[str, str | None]
) -> list[dict[str, Any]]:
    """Return the paired differences between couples of rows."""
    return [
        {
            "first": pair.first,
            "second": pair.second,
            "seeds": list(pair.seeds),
            "mixed_start": starts[pair.first] != starts[pair.second],
            "differences": plain(pair.differences),
            "mcnemar": {str(seed): p for seed, p in pair.mcnemar.items()},
        }
        for pair in measured.pairs(couples, PAIRED)
    ]


def _provenance(request: Request, records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    first = records[0]
    return {
        "command": command_line(),
        "fingerprint": first["fingerprint"],
        "split": {
            "protocol": request.protocol,
            "split_seed": first["split_seed"],
            "counts": first["counts"],
            "recipe": "recipe.yaml",
        },
        "hardware": sorted({str(record["hardware"]) for record in records}),
        "wall_seconds": round(sum(float(record["wall_seconds"]) for record in records), 1),
        "runs_created": [min(str(r["created"]) for r in records), max(str(r["created"]) for r in records)],
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions(),
    }


def _row(row: RowRuns, figures: Figures | None, table: Table) -> dict[str, Any]:
    printed = {key: value for key, value in row.row.printed.model_dump().items() if value is not None}
    found: dict[str, Any] = {"name": row.row.name, "slug": row.slug, "printed": printed, "notes": row.row.notes}
    if (cost := row.cost) is not None:
        paper = row.row.paper_classes or table.paper_classes
        found |= {
            "parameters": cost.parameters,
            "parameters_as_printed": (
                {"classes": paper, "parameters": cost.paper_parameters or cost.parameters} if paper else None
            ),
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
    found.setdefault("parameters", runs[0].record["parameters"])
    return found | {
        "weights": None if weights is None else {**weights, "source": Path(str(weights["source"])).name},
        "seeds": list(figures.seeds),
        "measured": plain(figures.overall),
        "probability": plain({name: e for name, e in figures.probability.items() if e.defined}),
        "per_class": plain(figures.per_class),
        "per_seed": {str(seed): values for seed, values in figures.per_seed.items()},
        "printed_inside": {
            metric: _inside(figures.overall[metric], printed[key]) for metric, key in PRINTED.items() if key in printed
        },
        "confusion": figures.confusion.tolist(),
        "curve": _curve([run.log for run in runs if run.log is not None]),
        "wall_seconds": round(sum(float(run.record["wall_seconds"]) for run in runs), 1),
        "runs": [str(run.folder) for run in runs],
    }


def _class_rows(rows: Sequence[RowRuns], figures: Mapping[str, Figures]) -> list[dict[str, Any]]:
    """Return the rows of per-class metrics."""
    found: list[dict[str, Any]] = []
    for row in rows:
        for code, paper in row.row.classes.items():
            printed = paper.model_dump(exclude={"name"})
            measured = figures[row.slug].per_class.get(code) if row.slug in figures else None
            shown = None if measured is None else plain({key: measured[key] for key in printed})
            line = {"name": paper.name, "class": code, "slug": row.slug, "printed": printed, "measured": shown}
            found.append({**line, "seeds": sorted(row.runs), "start": row.start})
    return found


def _inside(measured: Estimate, percent: float) -> bool | None:
    if measured.low is None or measured.high is None:
        return None
    return measured.low <= percent / 100 <= measured.high


def _curve(logs: Sequence[pd.DataFrame]) -> list[dict[Hashable, Any]]:
    """Return each epoch's mean over the seeds, with the number of seeds that reached it."""
    if not logs:
        return []
    epochs = pd.concat(logs).groupby("epoch")
    means = epochs.agg({"size": "first", **dict.fromkeys(_CURVE, "mean")}).round(6)
    means.insert(1, "seeds", epochs.size())
    return means.reset_index().to_dict("records")


def _order(rows: Sequence[RowRuns], measured: Measured, metric: str) -> dict[str, Any] | None:
    """Compare the order of rows with the paper's, by pairs with different printed values and the same start."""
    printed = {row.slug: value for row in rows if (value := getattr(row.row.printed, PRINTED[metric])) is not None}
    starts = {row.slug: row.start for row in rows}
    ranked = sorted(printed, key=lambda slug: -printed[slug])
    # The row with the higher printed value comes second.
    couples = [(b, a) for a, b in itertools.combinations(ranked, 2) if printed[a] != printed[b]]
    if not couples:
        return None
    alike = [(a, b) for a, b in couples if starts[a] == starts[b]]
    found: dict[str, list[list[str]]] = {"hold": [], "reversed": [], "not_significant": []}
    for pair in measured.pairs(alike, [metric]):
        difference = pair.differences[metric]
        kind = "hold" if difference.estimate.value > 0 else "reversed"
        kind = kind if difference.real else "not_significant"
        found[kind].append([pair.second, pair.first])
    values = {slug: measured.figures(slug).overall[metric].value for slug in printed}
    return {
        "printed": ranked,
        "measured": sorted(values, key=lambda slug: -values[slug]),
        "pairs": len(alike),
        "pairs_of_mixed_start": len(couples) - len(alike),
        **found,
    }
