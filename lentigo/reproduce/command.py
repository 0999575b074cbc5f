"""``lentigo reproduce``: plan a table, train missing runs, compute metrics and write the table.

Modules that import torch are imported in functions: a table of finished runs needs none of them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lentigo.config.recipe import load_recipe
from lentigo.errors import DataError, LentigoError
from lentigo.evaluation import PredictionTable, RunFiles, calibrate
from lentigo.evaluation.intervals import RESAMPLES
from lentigo.evaluation.panels import confusion_panels, curves_plot, save_svg
from lentigo.evaluation.seeds import Measured
from lentigo.files import write_json, write_text
from lentigo.reproduce.document import to_markdown
from lentigo.reproduce.request import Request
from lentigo.reproduce.result import RowRuns, build_result, pool_folds
from lentigo.reproduce.tables import SCRATCH, Row, overrides_of, slug_of
from lentigo.workflow.jobs import Job, State, inspect, read_runs, run_jobs, say_line

if TYPE_CHECKING:
    from lentigo.reproduce.cost import Cost

_KINDS = {"done": "finished", "begun": "unfinished", "absent": "to train", "blocked": "blocked"}


@dataclass(frozen=True)
class RowPlan:
    """The runs of one row."""

    row: Row
    slug: str  # prefix of its run folders
    jobs: dict[tuple[int, int], tuple[Job, State]]  # (seed, fold) -> required run, and state of its folder
    refused: str = ""  # reason if the row cannot be run


@dataclass(frozen=True)
class Reproduction:
    """Result of a reproduction: metrics, page, plots, and a line for each failed run."""

    json: Path
    markdown: Path
    figures: tuple[Path, ...]
    failed: tuple[str, ...] = ()


@dataclass
class Plan:
    """The runs that a table needs, and their states."""

    request: Request
    rows: list[RowPlan] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # lines for the user

    def jobs(self) -> list[tuple[Job, State]]:
        """Return all distinct runs in order of seeds, so that an early stop leaves complete seeds."""
        found: dict[Path, tuple[Job, State]] = {}
        for seed in self.request.seeds:
            for row in self.rows:
                for job, state in (one for (k, _), one in row.jobs.items() if k == seed):
                    found.setdefault(job.folder, (job, state))
        return list(found.values())

    def describe(self) -> str:
        """Return the plan as lines of text."""
        jobs, table, images = self.jobs(), self.request.table, self.request.images
        kinds: list[str] = [state.kind for _, state in jobs]
        left = sum(job.recipe.epochs - job.epochs_done() for job, state in jobs if state.kind in ("absent", "begun"))
        width = max((len(str(job.folder)) for job, _ in jobs), default=0)
        counts = ", ".join(f"{kinds.count(kind)} {word}" for kind, word in _KINDS.items())
        lines = [
            f"{table.name} ({table.paper}), {self.request.protocol} protocol, budget {self.request.budget.name}:"
            f" {len(jobs)} runs, {counts}"
        ]
        lines += self.notes
        for job, state in jobs:
            line = f"{_KINDS[state.kind]:11}{job.folder!s:{width}}  {job.epochs_done()}/{job.recipe.epochs} epochs"
            lines.append(f"{line}  {state.reason}".rstrip())
        lines += [f"not run     {row.row.name}: {row.refused}" for row in self.rows if row.refused]
        if images:
            lines.append(f"left to train: {left} epochs of {images:,} images, {left * images:,} images in all")
        return "\n".join(lines)


def reproduce(
    request: Request,
    *,
    out: Path = Path("results"),
    jobs: int = 1,
    dry_run: bool = False,
    cost: bool = True,
    resamples: int = RESAMPLES,
    say: Callable[[str], None] = say_line,
) -> Reproduction | Plan:
    """Reproduce a table: reuse finished runs, resume unfinished ones, train the others and write the table.

    Args:
        request: result of ``check_request``.
        out: output folder.
        jobs: number of parallel runs.
        dry_run: only return the plan.
        cost: measure file size and latency.
        resamples: number of bootstrap resamples.
        say: called with one line per step.

    Returns:
        The results and their files, or the plan with ``dry_run``.

    Raises:
        DataError: unusable data, or no runs for the table.
    """
    plan = make_plan(request)
    if dry_run:
        return plan
    for line in plan.notes:
        say(line)
    data = None if request.collect else request.data
    failed = run_jobs(plan.jobs(), data, folder=request.folder, jobs=jobs, say=say)
    runs = read_runs([job for job, _ in plan.jobs()], failed)
    rows = [_gather(row, runs, failed, collect=request.collect) for row in plan.rows]
    _check(request, rows)
    if cost and request.table.compares == "networks":  # ideas share one network
        rows = [replace(row, cost=_cost(request, row.row, rows, say)) for row in rows]
    stem = out / f"{request.table.name}-{request.protocol}"
    figures = _write(request, rows, stem, resamples=resamples, say=say)
    return Reproduction(Path(f"{stem}.json"), Path(f"{stem}.md"), tuple(figures), tuple(failed.values()))


def make_plan(request: Request) -> Plan:
    """Determine the runs that a table needs and their states."""
    plan = Plan(request)
    at_hand: dict[str, Any] = {}  # network -> result of `find_weights`
    for row in request.rows:
        plan.rows.append(_plan_row(plan, row, at_hand))
    return plan


def _plan_row(plan: Plan, row: Row, at_hand: dict[str, Any]) -> RowPlan:
    request, table = plan.request, plan.request.table

    def every(*, scratch: bool, environment: Any = None) -> RowPlan:
        slug, jobs = slug_of(row, scratch), {}
        for seed, fold in itertools.product(request.seeds, range(table.folds or 1)):
            overrides = overrides_of(
                table, row, request.budget, protocol=request.protocol, seed=seed, scratch=scratch, fold=fold
            )
            title, name = f"{slug} seed {seed}", f"{slug}-seed{seed}"
            if table.folds:
                title, name = f"{title}, fold {fold}", f"{name}-fold{fold}"
            recipe = load_recipe(table.recipe, overrides)
            job = Job(title, table.recipe, tuple(overrides), recipe, request.folder / name, environment or {})
            jobs[seed, fold] = (job, inspect(job, request.fingerprint))
        return RowPlan(row, slug, jobs)

    if row.start == "scratch" or (request.weights == "scratch" and row.start == "auto"):
        return every(scratch=True)
    pretrained = every(scratch=False)
    kinds = {state.kind for _, state in pretrained.jobs.values()}
    if kinds <= {"done", "blocked"}:
        return pretrained
    if row.start == "auto" and request.weights == "auto" and kinds == {"absent"}:
        from_scratch = every(scratch=True)
        other = {state.kind for _, state in from_scratch.jobs.values()}
        # Runs from scratch already exist, so no search for weights is needed.
        if other == {"done"} or (request.collect and other != {"absent"}):
            return from_scratch
    if request.collect:
        return pretrained
    recipe = next(iter(pretrained.jobs.values()))[0].recipe
    network = recipe.network.model_dump_json()
    if network not in at_hand:
        from lentigo.reproduce.weights import find_weights

        at_hand[network] = find_weights(recipe)
    start, environment, reason = at_hand[network]
    if start == "imagenet":
        return every(scratch=False, environment=environment)
    if row.start == "imagenet" or request.weights == "imagenet":
        done = {key: one for key, one in pretrained.jobs.items() if one[1].kind == "done"}
        return RowPlan(row, pretrained.slug, done, f"needs ImageNet weights, which are not available ({reason})")
    plan.notes.append(
        f"{row.name}: no ImageNet weights available, so it starts from scratch, as {row.slug}{SCRATCH} ({reason})"
    )
    return every(scratch=True)


def _gather(row: RowPlan, runs: Mapping[Path, RunFiles], failed: Mapping[Path, str], *, collect: bool) -> RowRuns:
    """Return the finished runs of a row, with the reasons for missing ones."""
    folders: dict[int, list[Path]] = {}  # seed -> folders of its folds
    for (seed, _), (job, _) in row.jobs.items():
        folders.setdefault(seed, []).append(job.folder)
    missing = [row.refused] if row.refused else []
    found, absent = {}, []
    for seed, wanted in folders.items():
        if broken := [failed[folder] for folder in wanted if folder in failed]:
            missing.append(f"seed {seed} not used: {broken[0]}")
        elif all(folder in runs for folder in wanted):
            found[seed] = pool_folds([runs[folder] for folder in wanted])
        else:
            absent.append(str(seed))
    if absent:
        missing.append(
            f"seed{'s' if len(absent) > 1 else ''} {', '.join(absent)} not run" + (" yet" if collect else "")
        )
    return RowRuns(row.row, row.slug, found, tuple(missing))


def _check(request: Request, rows: Sequence[RowRuns]) -> None:
    if not any(row.runs for row in rows):
        reasons = next((row.missing[0] for row in rows if row.missing), "none was trained")
        raise DataError(f"no run to make {request.table.name} of in {request.folder}: {reasons}")
    prints = {str(run.record.get("fingerprint")): str(run.folder) for row in rows for run in row.runs.values()}
    if len(prints) > 1:
        raise DataError(
            f"the runs were trained on different data: {', '.join(prints.values())}; name the data (--data) to use"
            " those that fit"
        )


def _cost(request: Request, row: Row, rows: Sequence[RowRuns], say: Callable[[str], None]) -> Cost | None:
    from lentigo.reproduce.cost import measure_cost

    classes = next(len(run.labels) for one in rows for run in one.runs.values())
    overrides = overrides_of(request.table, row, request.budget, protocol=request.protocol, seed=0, scratch=True)
    network, size = load_recipe(request.table.recipe, overrides).network, request.table.profile_size
    paper = row.paper_classes or request.table.paper_classes
    try:
        return measure_cost(network, classes=classes, paper_classes=paper, size=size, folder=request.runs / "costs")
    except LentigoError as error:
        say(f"{row.name}: cost not measured: {error}")
        return None


def _write(
    request: Request, rows: Sequence[RowRuns], stem: Path, *, resamples: int, say: Callable[[str], None]
) -> list[Path]:
    """Compute metrics, write them with page and plots, and return the plots."""
    present, table = [row for row in rows if row.runs], request.table
    temperatures = {
        row.slug: {seed: calibrate(run).temperature or 1.0 for seed, run in row.runs.items()} for row in present
    }
    tables = {row.slug: {seed: _predictions(run, table.part) for seed, run in row.runs.items()} for row in present}
    measured = Measured(tables, resamples=resamples, temperatures=temperatures)
    data = request.data or Path(str(next(iter(present[0].runs.values())).record.get("data_root", ".")))
    reference = next((row.slug for row in rows if row.row.slug == table.reference), "")
    external = []
    if table.elsewhere:
        from lentigo.reproduce.external import external_result, predict_external

        for one in predict_external(rows, table.elsewhere, data, say):
            external.append(external_result(one, reference, temperatures, resamples=resamples))
    result = build_result(request, rows, measured, external)
    figures = []
    if table.compares == "networks":  # a plot of two dozen ideas is unreadable
        each = {row.slug: row for row in present}.values()  # two rows may share their runs
        logs = {row.row.name: [run.log for run in row.runs.values() if run.log is not None] for row in each}
        matrices = {row.row.name: measured.figures(row.slug).confusion for row in each}
        plots = {"confusion": confusion_panels(matrices, measured.codes)}
        if any(logs.values()):
            plots = {"curves": curves_plot({name: log for name, log in logs.items() if log})} | plots
        for name, plot in plots.items():
            figures.append(Path(f"{stem}-{name}.svg"))
            save_svg(plot, figures[-1])
    write_json(f"{stem}.json", result, digits=7)
    write_text(f"{stem}.md", to_markdown(result, [path.name for path in figures]))
    return figures


def _predictions(run: RunFiles, part: str) -> PredictionTable:
    if part != "validation":
        return run.test
    if run.validation is None:
        raise DataError(f"{run.folder}: has no predictions of its validation images, which this table is evaluated on")
    return run.validation
