"""Progress of a run: a bar in a terminal, one line per epoch elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

_REDRAW = 0.25  # seconds


class TimeLeft:
    """Estimate of the remaining time of a training.

    Args:
        sizes: side of the images in each epoch, in pixels; the cost of an epoch is taken as proportional to its square.
        first: number of epochs done before this session.
    """

    def __init__(self, sizes: Iterable[int], first: int = 0) -> None:
        self.costs = [size**2 for size in sizes]
        self.first = first
        self.start = time.monotonic()

    def seconds(self, epoch: int, fraction: float) -> float | None:
        """Return the seconds left when ``fraction`` of ``epoch`` (from 0) is done; None at the start."""
        done = sum(self.costs[self.first : epoch]) + fraction * self.costs[epoch]
        if done <= 0:
            return None
        return (time.monotonic() - self.start) * (sum(self.costs[self.first :]) - done) / done


class RunProgress:
    """Progress of a run on stderr; as a context manager, it removes the bar at the end.

    Args:
        bar: whether to show a bar; without a terminal there is one line per epoch in any case.
        quiet: whether to show nothing, as in all processes but the first.
        console: where to print; None for stderr.
    """

    def __init__(self, *, bar: bool = True, quiet: bool = False, console: Console | None = None) -> None:
        self.quiet = quiet
        self.console = console or Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(bar_width=20), TextColumn("{task.fields[status]}"))
        wanted = bar and not quiet and self.console.is_terminal
        self.bar = Progress(*columns, console=self.console, transient=True) if wanted else None
        self.begin("epoch", [])

    def __enter__(self) -> Self:
        if self.bar is not None:
            self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bar is not None:
            self.bar.stop()
        if isinstance(error, KeyboardInterrupt):
            self.say("stopped; go on from the last whole epoch with --resume")

    def say(self, text: str) -> None:
        """Print one line, above the bar if there is one."""
        if self.bar is not None:
            self.console.print(text, highlight=False)
        elif not self.quiet:
            print(text, file=sys.stderr, flush=True)

    def begin(self, name: str, sizes: Sequence[int], first: int = 0) -> None:
        """Start a sequence of epochs.

        Args:
            name: name of an epoch.
            sizes: side of the images in each epoch, in pixels.
            first: number of epochs done before this session.
        """
        self.name, self.sizes, self.left = name, sizes, TimeLeft(sizes, first)
        self.evaluated = ""

    def start_epoch(self, epoch: int) -> None:
        """Start an epoch (from 0)."""
        self.epoch, self.images, self.epoch_start, self.drawn = epoch, 0, time.monotonic(), 0.0
        self.title = f"{self.name} {epoch + 1}/{len(self.sizes)}"

    def step(self, done: float, images: int, describe: Callable[[], str] = str) -> None:
        """Update the bar.

        Args:
            done: fraction of the epoch, 0 to 1.
            images: number of images in the step.
            describe: returns the figures so far. It makes a GPU wait, so it is not called at every step.
        """
        self.images += images
        if self.bar is None or (time.monotonic() - self.drawn < _REDRAW and done < 1):
            return
        self.drawn = time.monotonic()
        if not self.bar.tasks:
            self.bar.add_task("", total=1, status="")
        status = (
            f"{describe()}{self.evaluated}  {self.images / (self.drawn - self.epoch_start):.0f} images/s "
            f" {self._time_left(done)}"
        )
        title = f"{self.title} ({self.sizes[self.epoch]} px)"
        self.bar.update(self.bar.tasks[0].id, completed=done, description=title, status=status)

    def epoch_done(self, text: str, images_per_second: float, *, evaluated: str = "", note: str = "") -> None:
        """Report an epoch that is on disk.

        Args:
            text: its figures.
            images_per_second: speed of training.
            evaluated: text for the bar during the next epoch.
            note: text for the end of the line.
        """
        self.evaluated = evaluated
        self.say(
            f"{self.title}  {self.sizes[self.epoch]} px  {text}  {images_per_second:.0f} images/s "
            f" {self._time_left(1.0)}{note}"
        )

    def _time_left(self, done: float) -> str:
        return f"{clock(self.left.seconds(self.epoch, done))} left"


def clock(seconds: float | None) -> str:
    """Format seconds as hours, minutes and seconds, such as ``1:02:03``; None as ``?``."""
    if seconds is None:
        return "?"
    whole = round(seconds)
    hours, minutes = whole // 3600, whole % 3600 // 60
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"
