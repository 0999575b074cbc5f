"""Training runs as sub-processes, several side by side; one that fails does not stop the others."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from lentigo.errors import OutputError, TrainingError
from lentigo.machine import available_cores
from lentigo.reproduce.plan import Job, State
from lentigo.training.progress import clock

_LOOK = 0.5  # seconds between looks at the running ones
_LINE = 60.0  # seconds between lines where there is no terminal
_GRACE = 30.0  # seconds that an interrupted run has to end
LOGS = "logs"


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Hold a folder of runs against other processes; the lock of one that died is taken over.

    Raises:
        TrainingError: a living process holds it.
        OutputError: the disk refuses.
    """
    lock = folder / ".lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if lock.is_file() and not _alive(lock.read_text(encoding="utf-8")):
            lock.unlink(missing_ok=True)
        with lock.open("x", encoding="utf-8") as file:
            file.write(str(os.getpid()))
    except FileExistsError:
        raise TrainingError(f"{folder}: another lentigo trains runs there; wait for it, or remove {lock} if there is none") from None
    except OSError as error:
        raise OutputError(f"{lock}: cannot be written ({error.strerror or error})") from None
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)


def _alive(text: str) -> bool:
    try:
        os.kill(int(text), 0)
    except (ValueError, ProcessLookupError):
        return False
    except OSError:  # it is there and not ours
        pass
    return True


@dataclass
class _Running:
    job: Job
    number: int
    process: subprocess.Popen[bytes]
    log: IO[bytes]
    started: float


def run_jobs(
    wanted: Sequence[tuple[Job, State]], data: Path, *, folder: Path, jobs: int, say: Callable[[str], None], bar: bool = True
) -> dict[Path, str]:
    """Train what is absent and go on with what was begun.

    Args:
        wanted: jobs with their states, in order; those that are done or blocked are not touched.
        data: the data set.
        folder: where the run folders lie; no other command of this kind may work there meanwhile.
        jobs: how many at a time; each gets its share of the cores.
        say: told one line a step.
        bar: show a bar in a terminal.

    Returns:
        Run folder -> one line on why the run failed.

    Raises:
        TrainingError: another process works in the folder.
        OutputError: the disk refuses.
    """
    waiting = [(job, state) for job, state in wanted if state.kind in ("absent", "begun")]
    if not waiting:
        return {}
    with only_one(folder):
        return _run(waiting, data, jobs, say, bar)


def _run(waiting: list[tuple[Job, State]], data: Path, jobs: int, say: Callable[[str], None], bar: bool) -> dict[Path, str]:
    total = len(waiting)
    failed: dict[Path, str] = {}
    running: list[_Running] = []
    watch = _Watch([job for job, _ in waiting], bar=bar)
    number = 0
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                job, state = waiting.pop(0)
                number += 1
                running.append(_start(job, number, data, jobs=min(jobs, total), resume=state.kind == "begun"))
                kind = "goes on" if state.kind == "begun" else "starts"
                say(f"[{number}/{total}] {job.title} {kind}: {job.folder}")
            time.sleep(_LOOK)
            for one in [r for r in running if r.process.poll() is not None]:
                running.remove(one)
                one.log.close()
                taken = clock(time.monotonic() - one.started)
                if one.process.returncode == 0:
                    say(f"[{one.number}/{total}] {one.job.title} done in {taken}; {watch.left()} left")
                else:
                    failed[one.job.folder] = _why(one)
                    say(f"[{one.number}/{total}] {one.job.title} failed after {taken}: {failed[one.job.folder]}")
                    watch.give_up(one.job)
            watch.show(len(running), total - len(waiting) - len(running), total, say)
    except KeyboardInterrupt:
        say("stopping; each run keeps its last whole epoch, and the same command goes on with it")
        raise
    finally:
        watch.close()
        _stop(running)
    return failed


def _start(job: Job, number: int, data: Path, *, jobs: int, resume: bool) -> _Running:
    environment = {key: value for key, value in (os.environ | job.environment).items() if value is not None}
    if jobs > 1:
        environment["OMP_NUM_THREADS"] = str(max(1, available_cores() // jobs))
    log = job.folder.parent / LOGS / f"{job.folder.name}.log"
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        file = log.open("ab")
    except OSError as error:
        raise OutputError(f"{log}: cannot be written ({error.strerror or error})") from None
    process = subprocess.Popen(job.command(data, resume=resume), stdout=file, stderr=file, stdin=subprocess.DEVNULL, env=environment)
    return _Running(job, number, process, file, time.monotonic())


def _why(one: _Running) -> str:
    """The last line of its log."""
    path = Path(one.log.name)
    lines = [line for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    text = lines[-1].removeprefix("lentigo: error: ") if lines else f"ended with code {one.process.returncode}"
    if one.process.returncode < 0:
        text = f"ended by signal {-one.process.returncode}"
    return f"{text} ({path})"


def _stop(running: Sequence[_Running]) -> None:
    """End what still runs: each keeps its last whole epoch."""
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


class _Watch:
    """Time left, from the epochs on disk; each counts as its pixels."""

    def __init__(self, jobs: Sequence[Job], *, bar: bool) -> None:
        self.costs = {job.folder: [job.recipe.size_at(e) ** 2 for e in range(job.recipe.epochs)] for job in jobs}
        self.jobs = {job.folder: job for job in jobs}
        self.before = self._done()
        self.began = self.drawn = time.monotonic()
        console = Console(stderr=True)
        self.bar: Progress | None = None
        self.task: TaskID | None = None
        if bar and console.is_terminal and jobs:
            columns = (TextColumn("{task.description}"), BarColumn(bar_width=30), TextColumn("{task.fields[status]}"))
            self.bar = Progress(*columns, console=console, transient=True)
            self.bar.start()
            self.task = self.bar.add_task("", total=1, status="")

    def _done(self) -> float:
        return float(sum(sum(costs[: self.jobs[folder].epochs_done()]) for folder, costs in self.costs.items()))

    def give_up(self, job: Job) -> None:
        """Count a failed run no longer."""
        self.costs[job.folder] = self.costs[job.folder][: job.epochs_done()]

    def left(self) -> str:
        """Time left, as text."""
        total, done = float(sum(map(sum, self.costs.values()))), self._done()
        if done <= self.before:
            return "?"
        return clock((time.monotonic() - self.began) * (total - done) / (done - self.before))

    def show(self, running: int, finished: int, total: int, say: Callable[[str], None]) -> None:
        """Move the bar, or say a line now and then."""
        now = time.monotonic()
        if self.bar is not None and self.task is not None:
            everything = sum(map(sum, self.costs.values()))
            status = f"{running} running, {self.left()} left"
            self.bar.update(self.task, completed=self._done() / everything, description=f"runs {finished}/{total}", status=status)
        elif running and now - self.drawn > _LINE:
            self.drawn = now
            say(f"{finished} of {total} runs done, {running} running, {self.left()} left")

    def close(self) -> None:
        """Take the bar away."""
        if self.bar is not None:
            self.bar.stop()


def say_line(text: str) -> None:
    """One line to standard error."""
    print(text, file=sys.stderr, flush=True)
