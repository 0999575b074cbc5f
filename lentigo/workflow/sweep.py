"""``lentigo sweep``: train one recipe over seeds and folds in parallel, and summarise the results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from lentigo.config.recipe import Recipe, load_recipe
from lentigo.data import read_samples
from lentigo.errors import DataError, RecipeError
from lentigo.estimate import plain
from lentigo.evaluation import PredictionTable, RunFiles
from lentigo.evaluation.markdown import estimate_text, table_lines
from lentigo.evaluation.seeds import NAMES, OVERALL, Figures, Measured
from lentigo.files import write_json, write_text
from lentigo.training.record import command_line
from lentigo.training.samples import prepare_samples
from lentigo.workflow.jobs import Job, State, inspect, read_runs, run_jobs, say_line

_METHOD = (
    "Percent. In brackets 95 % intervals: hierarchical bootstrap over lesions (or patients, or images where neither is"
    " known) and runs. sd: over the runs, or over the seeds out of fold."
)
_OUT_OF_FOLD = (
    "The network that answers an image was not trained on it, but its epoch was chosen on it: the level is too good."
)


@dataclass(frozen=True)
class Sweep:
    """Result of a sweep: metrics, page, and a line for each failed run."""

    json: Path
    markdown: Path
    failed: tuple[str, ...] = ()


def sweep(
    recipe: str,
    data: Path,
    *,
    overrides: Sequence[str] = (),
    seeds: int = 3,
    folds: int | None = None,
    jobs: int = 1,
    out: Path | None = None,
) -> Sweep:
    """Train a recipe with several seeds, optionally on all folds of a cross-validation, and summarise.

    Args:
        recipe: name of a packaged recipe, or path of a YAML file.
        data: the data set.
        overrides: ``key=value``.
        seeds: number of seeds; they count from 0.
        folds: number of folds, at least 2, without the test part; None for a single split.
        jobs: number of parallel runs.
        out: folder of the runs and the summary; by default ``runs/sweep/<recipe name>``.

    Raises:
        RecipeError: an invalid recipe, or one that sets a key of the sweep.
        DataError: unusable data, such as a class with fewer images than folds, or no finished run.
    """
    taken = [o for o in overrides if o.partition("=")[0].strip() in ("seed", "data.folds", "data.fold")]
    if taken:
        raise RecipeError(f"a sweep sets {', '.join(taken)} itself; use --seeds and --folds")
    base = load_recipe(recipe, overrides)
    if folds and not base.data.has_test_part:
        raise RecipeError("a sweep over folds also evaluates a test part: data.fractions must leave one")
    place = out if out is not None else Path("runs") / "sweep" / base.name
    wanted: dict[tuple[int, int], tuple[Job, State]] = {}
    fingerprint = read_samples(data).fingerprint
    for seed in range(seeds):
        for fold in range(folds or 1):
            job = _job(recipe, overrides, place, seed, fold if folds else None, folds)
            wanted[seed, fold] = (job, inspect(job, fingerprint))
    for fold in range(folds or 1):  # before training, since a class may be too small for the folds
        prepare_samples(wanted[0, fold][0].recipe, data)
    failed = run_jobs(list(wanted.values()), data, folder=place, jobs=jobs, say=say_line)
    found = read_runs([job for job, _ in wanted.values()], failed)
    runs = {key: found[job.folder] for key, (job, _) in wanted.items() if job.folder in found}
    if not runs:
        raise DataError(f"{place}: no run finished: {next(iter(failed.values()), 'none was started')}")
    result = _summary(base, runs, folds)
    write_json(place / "sweep.json", result)
    write_text(place / "sweep.md", _markdown(result))
    return Sweep(place / "sweep.json", place / "sweep.md", tuple(failed.values()))


def _job(recipe: str, overrides: Sequence[str], place: Path, seed: int, fold: int | None, folds: int | None) -> Job:
    changes, title, name = [*overrides, f"seed={seed}"], f"seed {seed}", f"seed{seed}"
    if fold is not None:
        changes += [f"data.folds={folds}", f"data.fold={fold}"]
        title, name = f"{title}, fold {fold}", f"{name}-fold{fold}"
    return Job(title, recipe, tuple(changes), load_recipe(recipe, changes), place / name)


def _summary(recipe: Recipe, runs: Mapping[tuple[int, int], RunFiles], folds: int | None) -> dict[str, Any]:
    # Runs differ in the seed of the weights and, with folds, in the held-out part.
    numbered = {number: run for number, (_, run) in enumerate(sorted(runs.items()))}
    tables = {number: run.test for number, run in numbered.items()}
    test = Measured({"test": tables}).figures("test")
    first = next(iter(runs.values()))
    seeds = sorted({seed for seed, _ in runs})
    result: dict[str, Any] = {
        "format": 1,
        "recipe": recipe.name,
        "network": recipe.network.name,
        "protocol": recipe.data.protocol,
        "seeds": seeds,
        "folds": folds,
        "test_images": len(first.test),
        "test": _figures(test),
        "runs": [
            {"folder": str(run.folder), "seed": seed, "fold": fold if folds else None, "test": test.per_seed[number]}
            for number, ((seed, fold), run) in enumerate(sorted(runs.items()))
        ],
        "provenance": {
            "command": command_line(),
            "fingerprint": first.record.get("fingerprint"),
            "hardware": sorted({str(run.record.get("hardware")) for run in runs.values()}),
            "wall_seconds": round(sum(float(run.record.get("wall_seconds", 0)) for run in runs.values()), 1),
            "written": datetime.now(UTC).isoformat(timespec="seconds"),
        },
        "cross_validation": None,
    }
    if folds:
        whole = {
            s: pooled for s in seeds if (pooled := _out_of_fold([runs.get((s, f)) for f in range(folds)])) is not None
        }
        if whole:
            figures = Measured({"folds": whole}).figures("folds")
            result["cross_validation"] = {
                "images": len(next(iter(whole.values()))),
                "seeds": sorted(whole),
                **_figures(figures),
            }
    return result


def _out_of_fold(runs: Sequence[RunFiles | None]) -> PredictionTable | None:
    """Return the validation predictions of all folds as one table, one row per image."""
    tables = [run.validation for run in runs if run is not None and run.validation is not None]
    return PredictionTable.pooled(tables) if len(tables) == len(runs) else None


def _figures(figures: Figures) -> dict[str, Any]:
    values = {metric: [run[metric] for run in figures.per_seed.values()] for metric in OVERALL}
    return {
        "figures": {
            metric: {
                "mean": float(np.mean(values[metric])),
                "sd": float(np.std(values[metric], ddof=1)) if len(values[metric]) > 1 else None,
                **{end: e for end, e in figures.overall[metric].to_dict().items() if end != "value"},
            }
            for metric in OVERALL
        },
        "per_class": plain(figures.per_class),
        "confusion": figures.confusion.tolist(),
    }


def _markdown(result: Mapping[str, Any]) -> str:
    cross, source = result["cross_validation"], result["provenance"]
    figures: list[dict[str, str]] = []
    for metric in OVERALL:
        figures.append({"figure": NAMES[metric]})
        for title, part in {"test": result["test"], "out of fold": cross}.items():
            if part:
                found = part["figures"][metric]
                figures[-1][f"{title}: mean"] = estimate_text({**found, "value": found["mean"]})
                figures[-1][f"{title}: sd"] = estimate_text({"value": found["sd"]})
    runs = [
        {
            "seed": str(run["seed"]),
            "fold": "–" if run["fold"] is None else str(run["fold"]),
            **{NAMES[metric]: estimate_text({"value": run["test"][metric]}) for metric in OVERALL},
            "run": f"`{run['folder']}`",
        }
        for run in result["runs"]
    ]
    images = f"protocol `{result['protocol']}`, {result['test_images']:,} test images"
    minutes = f"{source['wall_seconds'] / 60:.0f} minutes in all runs together"
    folds = f", {result['folds']} folds" if result["folds"] else ""
    lines = [
        f"# {result['recipe']}: {len(result['seeds'])} seeds{folds}",
        "",
        f"- network `{result['network']}`, {images}, {len(runs)} runs",
        f"- command: `{source['command']}`",
        f"- data fingerprint: `{source['fingerprint']}`",
        f"- hardware: {'; '.join(source['hardware'])}; {minutes}",
        *([f"- out of fold: {cross['images']:,} images. {_OUT_OF_FOLD}"] if cross else []),
        "",
        *table_lines(figures),
        "",
        _METHOD,
        "",
        *table_lines(runs, "r"),
        "",
    ]
    return "\n".join(lines)
