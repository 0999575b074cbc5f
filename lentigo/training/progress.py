"""What a user sees while a run trains: a bar in a terminal, one line an epoch elsewhere."""

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
    """Estimates the time left of a training, whose epochs grow with the image size.

    Args:
        sizes: of the images, an entry an epoch; an epoch's cost is taken as proportional to their pixels.
        first: epochs done before this session.
    """

    def __init__(self, sizes: Iterable[int], first: int = 0) -> None:
        self.costs = [size**2 for size in sizes]
        self.first = first
        self.start = time.monotonic()

    def seconds(self, epoch: int, fraction: float) -> float | None:
        """Seconds left in epoch ``epoch`` (from 0) of which ``fraction`` is done; None before anything is."""
        done = sum(self.costs[self.first : epoch]) + fraction * self.costs[epoch]
        if done <= 0:
            return None
        return (time.monotonic() - self.start) * (sum(self.costs[self.first :]) - done) / done


class RunProgress:
    """Shows a run's progress on stderr; as a context, it takes the bar away at the end.

    Args:
        bar: whether a bar is wanted; without a terminal it is one line an epoch in any case.
        quiet: whether to show nothing at all, as processes but the first do.
        console: stderr when left out.
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
        """Print one line, above the bar where there is one."""
        if self.bar is not None:
            self.console.print(text, highlight=False)
        elif not self.quiet:
            print(text, file=sys.stderr, flush=True)

    def begin(self, name: str, sizes: Sequence[int], first: int = 0) -> None:
        """Begin to count.

        Args:
            name: of an epoch.
            sizes: of the images, in pixels, an entry an epoch.
            first: epochs done before this session.
        """
        self.name, self.sizes, self.left = name, sizes, TimeLeft(sizes, first)
        self.evaluated = ""

    def start_epoch(self, epoch: int) -> None:
        """Begin to count the images of an epoch (from 0)."""
        self.epoch, self.images, self.epoch_start, self.drawn = epoch, 0, time.monotonic(), 0.0
        self.title = f"{self.name} {epoch + 1}/{len(self.sizes)}"

    def step(self, done: float, images: int, describe: Callable[[], str] = str) -> None:
        """Move the bar.

        Args:
            done: fraction of the epoch.
            images: of the step.
            describe: figures so far, in a few words. Reading them back makes a GPU wait, so it is not called at every
                step.
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
            images_per_second: of training.
            evaluated: what the bar shows of it during the next epoch.
            note: what stands at the end.
        """
        self.evaluated = evaluated
        self.say(
            f"{self.title}  {self.sizes[self.epoch]} px  {text}  {images_per_second:.0f} images/s "
            f" {self._time_left(1.0)}{note}"
        )

    def _time_left(self, done: float) -> str:
        return f"{clock(self.left.seconds(self.epoch, done))} left"


def clock(seconds: float | None) -> str:
    """Hours, minutes and seconds, such as ``1:02:03``."""
    if seconds is None:
        return "?"
    whole = round(seconds)
    hours, minutes = whole // 3600, whole % 3600 // 60
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"
