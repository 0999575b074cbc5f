"""What ``lentigo reproduce`` does: plan, train what is missing, measure, write."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lentigo.errors import DataError, LentigoError
from lentigo.evaluation import PredictionTable, RunFiles, calibrate, read_run
from lentigo.evaluation.intervals import RESAMPLES
from lentigo.evaluation.panels import confusion_panels, curves_plot, save_svg
from lentigo.files import write_text
from lentigo.reproduce.cost import Cost, measure_cost
from lentigo.reproduce.document import to_markdown
from lentigo.reproduce.elsewhere import elsewhere_result, predict_elsewhere
from lentigo.reproduce.measure import Measured
from lentigo.reproduce.plan import Job, State, WeightsAtHand, inspect
from lentigo.reproduce.pool import run_jobs, say_line
from lentigo.reproduce.request import Request, check_request
from lentigo.reproduce.result import RowRuns, build_result
from lentigo.reproduce.tables import SCRATCH, Budget, Row, Table, overrides_of, recipe_of, slug_of


@dataclass(frozen=True)
class RowPlan:
    """The runs of one row.

    Attributes:
        row: the row.
        slug: names its run folders.
        jobs: seed -> what is wanted, and what is there.
        refused: why the row cannot be run at all; empty where it can.
    """

    row: Row
    slug: str
    jobs: dict[int, tuple[Job, State]]
    refused: str = ""


@dataclass(frozen=True)
class Reproduction:
    """A table that was written.

    Attributes:
        json: its figures.
        markdown: its page.
        figures: its plots.
        failed: one line for each run that could not be trained or used; the table is written without them.
    """

    json: Path
    markdown: Path
    figures: tuple[Path, ...]
    failed: tuple[str, ...] = ()


@dataclass
class Plan:
    """What a table needs and what is there.

    Attributes:
        table: the table.
        protocol: how the data are split.
        budget: how training is scaled.
        seeds: the seeds of each row.
        data: the data set; None where only runs at hand are collected.
        fingerprint: of the data.
        rows: the rows' runs.
        images: images of the training part; 0 without data.
        notes: lines for the user.
    """

    table: Table
    protocol: str
    budget: Budget
    seeds: tuple[int, ...]
    data: Path | None
    fingerprint: str | None
    rows: list[RowPlan] = field(default_factory=list)
    images: int = 0
    notes: list[str] = field(default_factory=list)

    def jobs(self) -> list[tuple[Job, State]]:
        """Every run, seed by seed, so that an early stop leaves whole seeds; a run that two rows share comes once."""
        found: dict[Path, tuple[Job, State]] = {}
        for seed in self.seeds:
            for row in self.rows:
                if seed in row.jobs:
                    found.setdefault(row.jobs[seed][0].folder, row.jobs[seed])
        return list(found.values())

    def describe(self) -> str:
        """What would be done, in lines."""
        jobs = self.jobs()
        kinds: list[str] = [state.kind for _, state in jobs]
        left = sum(job.recipe.epochs - job.epochs_done() for job, state in jobs if state.kind in ("absent", "begun"))
        width = max(len(str(job.folder)) for job, _ in jobs) if jobs else 0
        words = {"done": "at hand", "begun": "begun", "absent": "to train", "blocked": "blocked"}
        lines = [
            f"{self.table.name} ({self.table.paper}), {self.protocol} protocol, budget {self.budget.name}: {len(jobs)} runs, "
            + ", ".join(f"{kinds.count(kind)} {word}" for kind, word in words.items()),
            *self.notes,
            *(
                f"{words[state.kind]:9}{job.folder!s:{width}}  {job.epochs_done()}/{job.recipe.epochs} epochs"
                + (f"  {state.reason}" if state.reason else "")
                for job, state in jobs
            ),
            *(f"not run   {row.row.name}: {row.refused}" for row in self.rows if row.refused),
        ]
        if self.images:
            lines.append(f"left to train: {left} epochs of {self.images:,} images, {left * self.images:,} images in all")
        return "\n".join(lines)


def reproduce(
    name: str,
    *,
    data: Path | None = None,
    protocol: str | None = None,
    budget: str = "small",
    seeds: int = 3,
    rows: Sequence[str] = (),
    out: Path = Path("results"),
    runs: Path = Path("runs/reproduce"),
    jobs: int = 1,
    weights: str = "auto",
    collect: bool = False,
    dry_run: bool = False,
    cost: bool = True,
    resamples: int = RESAMPLES,
    say: Callable[[str], None] = say_line,
) -> Reproduction | Plan:
    """Regenerate a table: reuse the runs at hand, go on with those begun, train the others, and write the table.

    Args:
        name: which table.
        data: the data set; may be left out with ``collect``.
        protocol: how the data are split; the table's first where left out.
        budget: ``small``, ``medium``, ``full``, ``paper`` or a YAML file.
        seeds: how many; they count from 0.
        rows: slugs or names of the rows wanted; all where left out.
        out: folder of the table.
        runs: folder of the runs, ``<runs>/<budget>/<protocol>/<slug>-seed<k>``.
        jobs: runs side by side.
        weights: ``auto`` starts a row from scratch where its ImageNet weights are not at hand, ``imagenet`` refuses then, and
            ``scratch`` starts every row from scratch.
        collect: make the table of the runs at hand, train nothing.
        dry_run: say what would be done, and do nothing.
        cost: measure file size and latency.
        resamples: bootstrap resamples.
        say: told one line a step.

    Returns:
        What was written; with ``dry_run`` the plan.

    Raises:
        RecipeError: no such table, row, protocol or budget.
        DataError: the data cannot be used, or no run is there to make a table of.
    """
    request = check_request(name, data=data, protocol=protocol, budget=budget, rows=rows, weights=weights, collect=collect)
    plan = make_plan(request, data=data, seeds=seeds, runs=runs, weights=weights, collect=collect)
    if dry_run:
        return plan
    for note in plan.notes:
        say(note)
    failed = {job.folder: state.reason for job, state in plan.jobs() if state.kind == "blocked"}
    for reason in failed.values():
        say(f"not used: {reason}")
    if not collect and plan.data is not None:
        failed |= run_jobs(plan.jobs(), plan.data, folder=runs / plan.budget.name / plan.protocol, jobs=jobs, say=say)
    found = [_gather(row, failed, collect=collect) for row in plan.rows]
    written = _write(plan, found, out, runs=runs, cost=cost, resamples=resamples, say=say)
    return Reproduction(written.json, written.markdown, written.figures, tuple(failed.values()))


def make_plan(request: Request, *, data: Path | None, seeds: int, runs: Path, weights: str, collect: bool) -> Plan:
    """Work out which runs a table needs and what is there. Arguments as in ``reproduce``."""
    plan = Plan(request.table, request.protocol, request.budget, tuple(range(seeds)), data, request.fingerprint, images=request.images)
    at_hand = WeightsAtHand()
    for row in request.rows:
        plan.rows.append(_plan_row(plan, row, runs / plan.budget.name / plan.protocol, weights, at_hand, collect=collect))
    return plan


def _plan_row(plan: Plan, row: Row, folder: Path, weights: str, at_hand: WeightsAtHand, *, collect: bool) -> RowPlan:
    def job(seed: int, *, scratch: bool, environment: Any = None) -> tuple[Job, State]:
        overrides = overrides_of(plan.table, row, plan.budget, protocol=plan.protocol, seed=seed, scratch=scratch)
        slug = slug_of(row, scratch)
        recipe = recipe_of(plan.table, overrides)
        made = Job(f"{slug} seed {seed}", plan.table.recipe, tuple(overrides), recipe, folder / f"{slug}-seed{seed}", environment or {})
        return made, inspect(made, plan.fingerprint)

    def every(*, scratch: bool, environment: Any = None) -> RowPlan:
        return RowPlan(row, slug_of(row, scratch), {s: job(s, scratch=scratch, environment=environment) for s in plan.seeds})

    if row.start == "scratch" or (weights == "scratch" and row.start == "auto"):
        return every(scratch=True)
    pretrained = every(scratch=False)
    kinds = {state.kind for _, state in pretrained.jobs.values()}
    if kinds <= {"done", "blocked"}:
        return pretrained
    if row.start == "auto" and weights == "auto" and kinds == {"absent"}:
        from_scratch = every(scratch=True)
        other = {state.kind for _, state in from_scratch.jobs.values()}
        if other == {"done"} or (collect and other != {"absent"}):  # begun so, and there is no need to look for weights again
            return from_scratch
    if collect:
        return pretrained
    start, environment, reason = at_hand(next(iter(pretrained.jobs.values()))[0].recipe)
    if start == "imagenet":
        return every(scratch=False, environment=environment)
    if row.start == "imagenet" or weights == "imagenet":
        done = {seed: one for seed, one in pretrained.jobs.items() if one[1].kind == "done"}
        return RowPlan(row, pretrained.slug, done, f"needs ImageNet weights that are not at hand ({reason})")
    plan.notes.append(f"{row.name}: no ImageNet weights at hand, so it starts from scratch, as {row.slug}{SCRATCH} ({reason})")
    return every(scratch=True)


def _gather(row: RowPlan, failed: dict[Path, str], *, collect: bool) -> RowRuns:
    """Read the finished runs of a row; what cannot be read goes to ``failed``."""
    runs: dict[int, RunFiles] = {}
    missing = [row.refused] if row.refused else []
    absent: list[str] = []
    for seed, (job, _) in row.jobs.items():
        if job.folder not in failed and inspect(job, None).kind == "done":
            try:
                runs[seed] = read_run(job.folder)
            except LentigoError as error:
                failed[job.folder] = f"{error}; the run folder is damaged: move it away to train it anew"
        if job.folder in failed:
            missing.append(f"seed {seed} not used: {failed[job.folder]}")
        elif seed not in runs:
            absent.append(str(seed))
    if absent:
        missing.append(f"seed{'s' if len(absent) > 1 else ''} {', '.join(absent)} not run" + (" yet" if collect else ""))
    return RowRuns(row.row, row.slug, runs, tuple(missing))


def _write(
    plan: Plan, found: Sequence[RowRuns], out: Path, *, runs: Path, cost: bool, resamples: int, say: Callable[[str], None]
) -> Reproduction:
    present = [row for row in found if row.runs]
    if not present:
        reasons = next((row.missing[0] for row in found if row.missing), "none was trained")
        raise DataError(f"no run to make {plan.table.name} of in {runs / plan.budget.name / plan.protocol}: {reasons}")
    prints = {str(run.record.get("fingerprint")): str(run.folder) for row in present for run in row.runs.values()}
    if len(prints) > 1:
        raise DataError(
            f"the runs were trained on different data: {', '.join(prints.values())}; name the data (--data) to use those that fit"
        )
    classes = len(next(iter(present[0].runs.values())).labels)
    networks = plan.table.compares == "networks"
    cost = cost and networks  # ideas are of one network
    rows = [RowRuns(r.row, r.slug, r.runs, r.missing, _cost(plan, r, classes, runs, say) if cost else None) for r in found]
    temperatures = {row.slug: {seed: calibrate(run).temperature or 1.0 for seed, run in row.runs.items()} for row in rows}
    measured = Measured(
        {row.slug: {seed: _judged(run, plan.table.part) for seed, run in row.runs.items()} for row in rows},
        resamples=resamples,
        temperatures=temperatures,
    )
    data = plan.data or Path(str(next(iter(present[0].runs.values())).record.get("data_root", ".")))
    reference = next((row.slug for row in rows if row.row.slug == plan.table.reference), "")
    elsewhere = [
        elsewhere_result(one, reference, temperatures, resamples=resamples)
        for one in predict_elsewhere(rows, plan.table.elsewhere, data, say)
    ]
    result = build_result(plan.table, rows, measured, protocol=plan.protocol, budget=plan.budget, seeds=plan.seeds, elsewhere=elsewhere)
    stem = f"{plan.table.name}-{plan.protocol}"
    figures = _plots(rows, measured, out, stem) if networks else []  # two dozen ideas make no readable plot
    write_text(out / f"{stem}.json", json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    write_text(out / f"{stem}.md", to_markdown(result, [path.name for path in figures]))
    return Reproduction(out / f"{stem}.json", out / f"{stem}.md", tuple(figures))


def _plots(rows: Sequence[RowRuns], measured: Measured, out: Path, stem: str) -> list[Path]:
    """The curves of all rows together, and their confusion matrices side by side."""
    titles = {row.slug: row.row.name for row in rows}
    curves = {titles[row.slug]: logs for row in rows if (logs := [run.log for run in row.runs.values() if run.log is not None])}
    figures = []
    if curves:
        figures.append(out / f"{stem}-curves.svg")
        save_svg(curves_plot(curves), figures[-1])
    figures.append(out / f"{stem}-confusion.svg")
    matrices = {titles[row.slug]: measured.figures(row.slug).confusion for row in rows if row.runs}
    save_svg(confusion_panels(matrices, measured.codes), figures[-1])
    return figures


def _judged(run: RunFiles, part: str) -> PredictionTable:
    if part == "test":
        return run.test
    if run.validation is None:
        raise DataError(f"{run.folder}: has no predictions of its validation images, which this table is judged on")
    return run.validation


def _cost(plan: Plan, row: RowRuns, classes: int, runs: Path, say: Callable[[str], None]) -> Cost | None:
    overrides = overrides_of(plan.table, row.row, plan.budget, protocol=plan.protocol, seed=0, scratch=True)
    network = recipe_of(plan.table, overrides).network
    paper = row.row.paper_classes or plan.table.paper_classes
    try:
        return measure_cost(network, classes=classes, paper_classes=paper, size=plan.table.profile_size, folder=runs / "costs")
    except LentigoError as error:
        say(f"{row.row.name}: cost not measured: {error}")
        return None
