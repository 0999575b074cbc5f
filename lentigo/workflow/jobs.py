"""Training runs of a table or a sweep: state of their folders, and training in parallel sub-processes.

A failed run does not stop the others.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Literal

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from lentigo.config.recipe import Recipe, load_recipe, recipe_differences
from lentigo.errors import LentigoError, OutputError, TrainingError
from lentigo.evaluation import RunFiles, read_run
from lentigo.machine import available_cores
from lentigo.training.progress import clock
from lentigo.training.rundir import RECIPE, load_run

_POLL = 0.5  # seconds between checks of the running jobs
_LINE = 60.0  # seconds between lines without a terminal
_GRACE = 30.0  # seconds before an interrupted run is killed
LOGS = "logs"
DAMAGED = "the run folder is damaged: move it away to train it anew"
# Recipes that differ only in these keys describe the same run.
_FREE = frozenset({"description"})


@dataclass(frozen=True)
class Job:
    """One required run."""

    title: str  # such as ``caco-joint seed 1``
    base: str  # base recipe, an argument of ``lentigo train``
    overrides: tuple[str, ...]  # ``key=value``
    recipe: Recipe  # base with overrides
    folder: Path
    environment: Mapping[str, str | None] = field(default_factory=dict)  # variables to set; None removes one

    @property
    def part(self) -> str:
        """Return the part to evaluate: ``val`` of a fold without a test part, else ``test``."""
        data = self.recipe.data
        return "val" if data.folds and not data.has_test_part else "test"

    def command(self, data: Path, *, resume: bool) -> list[str]:
        """Return the training command."""
        words = ["train", self.base, "--data", str(data), "--out", str(self.folder), "--quiet"]
        changes = [word for override in self.overrides for word in ("--set", override)]
        return [sys.executable, "-m", "lentigo", *words, *changes, *(["--resume"] if resume else [])]

    def epochs_done(self) -> int:
        """Return the number of epochs in the log."""
        try:
            return max(0, len((self.folder / "log.csv").read_text(encoding="utf-8").splitlines()) - 1)
        except OSError:
            return 0


@dataclass(frozen=True)
class State:
    """State of a job's folder: ``done`` (reused), ``begun`` (resumed), ``absent`` (trained) or ``blocked``."""

    kind: Literal["done", "begun", "absent", "blocked"]
    reason: str = ""  # reason for ``blocked``


def inspect(job: Job, fingerprint: str | None) -> State:
    """Determine the state of a job's folder.

    Args:
        job: the required run.
        fingerprint: fingerprint of the data; None without data.
    """
    folder = job.folder
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return State("absent")
    if not (folder / RECIPE).is_file():
        return State("blocked", f"{folder}: is there and is no run folder; move it away")
    try:
        differences = [key for key in recipe_differences(job.recipe, load_recipe(folder / RECIPE)) if key not in _FREE]
        if differences:
            what = f"holds a run by another recipe ({', '.join(differences)} differ)"
            return State("blocked", f"{folder}: {what}; move it away, or use --runs")
        if not (folder / "run.json").is_file():
            return State("begun")
        record = load_run(folder).record
        begun_on, finished = str(record["fingerprint"]), bool(record["finished"])
    except LentigoError as error:
        return State("blocked", f"{error}; {DAMAGED}")
    except (KeyError, TypeError):
        return State("blocked", f"{folder / 'run.json'}: is no record of a run; {DAMAGED}")
    if fingerprint is not None and begun_on != fingerprint:
        what = f"was trained on other data (fingerprint {begun_on[:12]}…, now {fingerprint[:12]}…)"
        return State("blocked", f"{folder}: {what}; use --runs")
    if finished and not (folder / "predictions" / f"{job.part}.csv").is_file():
        return State("blocked", f"{folder}: has no predictions/{job.part}.csv; {DAMAGED}")
    return State("done" if finished else "begun")


@dataclass
class _Running:
    job: Job
    title: str
    process: subprocess.Popen[bytes]
    log: IO[bytes]
    started: float


def run_jobs(
    wanted: Sequence[tuple[Job, State]], data: Path | None, *, folder: Path, jobs: int, say: Callable[[str], None]
) -> dict[Path, str]:
    """Train missing runs and resume unfinished ones.

    Args:
        wanted: jobs with their states, in order; done and blocked jobs are skipped.
        data: the data set; None disables training.
        folder: parent of the run folders, locked against other commands of this kind.
        jobs: number of parallel runs; they share the cores evenly.
        say: called with one line per step.

    Returns:
        Run folder -> one line with the reason for a blocked or failed run.

    Raises:
        TrainingError: another process holds the lock.
        OutputError: a file cannot be written.
    """
    failed = {job.folder: state.reason for job, state in wanted if state.kind == "blocked"}
    for reason in failed.values():
        say(f"not used: {reason}")
    waiting = [(job, state) for job, state in wanted if state.kind in ("absent", "begun")]
    if data is None or not waiting:
        return failed
    progress = _ProgressReport([job for job, _ in waiting])
    with locked(folder), progress.bar, _interrupted_by_sigterm():
        return failed | _run(waiting, data, jobs, progress, say)


def read_runs(jobs: Iterable[Job], failed: dict[Path, str]) -> dict[Path, RunFiles]:
    """Read the finished runs by folder, without failed ones.

    Args:
        jobs: jobs of the runs.
        failed: run folder -> reason; unreadable runs are added.
    """
    runs = {}
    for job in jobs:
        if job.folder not in failed and inspect(job, None).kind == "done":
            try:
                runs[job.folder] = read_run(job.folder, split=job.part)
            except LentigoError as error:
                failed[job.folder] = f"{error}; {DAMAGED}"
    return runs


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock a folder of runs against other processes; a dead process's lock is replaced.

    Raises:
        TrainingError: another live process holds the lock.
        OutputError: a file cannot be written.
    """
    lock = folder / ".lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if lock.is_file() and not _alive(lock.read_text(encoding="utf-8")):
            lock.unlink(missing_ok=True)
        with lock.open("x", encoding="utf-8") as file:
            file.write(str(os.getpid()))
    except FileExistsError:
        raise TrainingError(
            f"{folder}: another lentigo trains runs there; wait for it, or remove {lock} if there is none"
        ) from None
    except OSError as error:
        raise OutputError(f"{lock}: cannot be written ({error.strerror or error})") from None
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)


@contextmanager
def _interrupted_by_sigterm() -> Iterator[None]:
    """Treat SIGTERM as an interrupt, so that no training outlives the command."""
    if threading.current_thread() is not threading.main_thread():  # where handlers cannot be set
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _alive(text: str) -> bool:
    try:
        os.kill(int(text), 0)
    except (ValueError, ProcessLookupError):
        return False
    except OSError:  # the process exists and has another owner
        pass
    return True


def _run(
    waiting: list[tuple[Job, State]], data: Path, jobs: int, progress: _ProgressReport, say: Callable[[str], None]
) -> dict[Path, str]:
    total = len(waiting)
    failed: dict[Path, str] = {}
    running: list[_Running] = []
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                job, state = waiting.pop(0)
                title = f"[{total - len(waiting)}/{total}] {job.title}"
                running.append(_start(job, title, data, jobs=min(jobs, total), resume=state.kind == "begun"))
                say(f"{title} {'goes on' if state.kind == 'begun' else 'starts'}: {job.folder}")
            time.sleep(_POLL)
            for one in [r for r in running if r.process.poll() is not None]:
                running.remove(one)
                one.log.close()
                taken = clock(time.monotonic() - one.started)
                if one.process.returncode == 0:
                    say(f"{one.title} done in {taken}; {progress.left()} left")
                else:
                    failed[one.job.folder] = _reason(one)
                    say(f"{one.title} failed after {taken}: {failed[one.job.folder]}")
                    progress.drop(one.job)
            progress.show(len(running), total - len(waiting) - len(running), total, say)
    except KeyboardInterrupt:
        say("stopping; each run keeps its last whole epoch, and the same command goes on with it")
        raise
    finally:
        _stop(running)
    return failed


def _start(job: Job, title: str, data: Path, *, jobs: int, resume: bool) -> _Running:
    environment = {key: value for key, value in (os.environ | job.environment).items() if value is not None}
    if jobs > 1:
        environment["OMP_NUM_THREADS"] = str(max(1, available_cores() // jobs))
    log = job.folder.parent / LOGS / f"{job.folder.name}.log"
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        file = log.open("ab")
    except OSError as error:
        raise OutputError(f"{log}: cannot be written ({error.strerror or error})") from None
    process = subprocess.Popen(
        job.command(data, resume=resume), stdout=file, stderr=file, stdin=subprocess.DEVNULL, env=environment
    )
    return _Running(job, title, process, file, time.monotonic())


def _reason(one: _Running) -> str:
    """Return the last line of a failed run's log."""
    path, code = Path(one.log.name), one.process.returncode
    lines = [line for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    if code < 0:
        reason = f"ended by signal {-code}"
    else:
        reason = lines[-1].removeprefix("lentigo: error: ") if lines else f"ended with code {code}"
    return f"{reason} ({path})"


def _stop(running: Sequence[_Running]) -> None:
    """Stop running jobs; each keeps its last complete epoch."""
    for one in running:
        if one.process.poll() is None:
            one.process.send_signal(signal.SIGINT)
    limit = time.monotonic() + _GRACE
    for one in running:
        try:
            one.process.wait(max(0.1, limit - time.monotonic()))
        except subprocess.TimeoutExpired:
            one.process.kill()
            one.process.wait()
        one.log.close()


class _ProgressReport:
    """Progress and remaining time, from logged epochs weighted by pixels: a terminal bar, or a line per minute."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.jobs = jobs
        self.costs = {
            job.folder: [job.recipe.size_at(epoch) ** 2 for epoch in range(job.recipe.epochs)] for job in jobs
        }
        self.before = self._done()
        self.began = self.drawn = time.monotonic()
        columns = (TextColumn("{task.description}"), BarColumn(bar_width=30), TextColumn("{task.fields[status]}"))
        console = Console(stderr=True)
        self.bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self.task = self.bar.add_task("", total=1, status="")

    def _done(self) -> int:
        return sum(sum(self.costs[job.folder][: job.epochs_done()]) for job in self.jobs)

    def _total(self) -> int:
        return sum(map(sum, self.costs.values()))

    def drop(self, job: Job) -> None:
        """Exclude a failed run."""
        self.costs[job.folder] = self.costs[job.folder][: job.epochs_done()]

    def left(self) -> str:
        """Return the remaining time as text."""
        done = self._done()
        if done <= self.before:
            return "?"
        return clock((time.monotonic() - self.began) * (self._total() - done) / (done - self.before))

    def show(self, running: int, finished: int, total: int, say: Callable[[str], None]) -> None:
        """Update the bar, or report a line at intervals."""
        if not self.bar.disable:
            completed, status = self._done() / self._total(), f"{running} running, {self.left()} left"
            self.bar.update(self.task, completed=completed, description=f"runs {finished}/{total}", status=status)
        elif running and time.monotonic() - self.drawn > _LINE:
            self.drawn = time.monotonic()
            say(f"{finished} of {total} runs done, {running} running, {self.left()} left")


def say_line(text: str) -> None:
    """Print one line to standard error."""
    print(text, file=sys.stderr, flush=True)
