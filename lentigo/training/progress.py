"""What a user sees while a run trains: a bar in a terminal, one line an epoch elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from typing import Any

import lightning.pytorch as pl
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from lentigo.config.recipe import Recipe
from lentigo.data.module import Batch
from lentigo.training.task import LesionTask, accuracies

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

    def seconds(self, epoch: int, share: float) -> float | None:
        """Seconds left in epoch ``epoch`` (from 0) of which ``share`` is done; None before anything is."""
        done = sum(self.costs[self.first : epoch]) + share * self.costs[epoch]
        if done <= 0:
            return None
        return (time.monotonic() - self.start) * (sum(self.costs[self.first :]) - done) / done


class RunProgress(pl.Callback):
    """Shows a run's progress on stderr.

    Args:
        recipe: the run's recipe.
        bar: whether a bar is wanted; without a terminal it is one line an epoch in any case.
        stream: the console; stderr when left out.
    """

    def __init__(self, recipe: Recipe, *, bar: bool = True, console: Console | None = None) -> None:
        self.recipe = recipe
        self.console = console or Console(stderr=True)
        self.bar = self._make_bar() if bar and self.console.is_terminal else None
        self.task: TaskID | None = None
        self.left = self._time_left(0)
        self.images = 0
        self.epoch_start = 0.0
        self.judged = ""
        self.drawn = 0.0

    def say(self, text: str) -> None:
        """Print one line, above the bar where there is one."""
        if self.bar is not None:
            self.console.print(text, highlight=False)
        else:
            print(text, file=sys.stderr, flush=True)

    def begin(self) -> None:
        """Show the bar, where there is one."""
        if self.bar is not None:
            self.bar.start()
            self.task = self.bar.add_task("", total=1, status="")

    def move(self, share: float, name: str, status: str) -> None:
        """Move the bar, where there is one; ``share`` of what ``name`` says is done."""
        if self.bar is not None and self.task is not None:
            self.bar.update(self.task, completed=share, description=name, status=status)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin to count."""
        self.left = self._time_left(trainer.current_epoch)
        if trainer.is_global_zero:
            self.begin()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin to count the epoch's images."""
        self.images, self.epoch_start = 0, time.monotonic()

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Move the bar."""
        self.images += int(batch.total)
        if self.bar is None or self.task is None or not isinstance(pl_module, LesionTask):
            return
        # Reading values back makes a GPU wait, so not at every step.
        if time.monotonic() - self.drawn < _REDRAW and batch_idx + 1 < pl_module.steps:
            return
        self.drawn = time.monotonic()
        share = (batch_idx + 1) / pl_module.steps
        accuracy, balanced = accuracies(pl_module.train_confusion.confmat)
        rate = self.images / (time.monotonic() - self.epoch_start)
        loss = float(pl_module.train_loss.mean_value / pl_module.train_loss.weight)
        epoch = trainer.current_epoch
        status = (
            f"loss {loss:.4f}  acc {accuracy:.3f}  bacc {balanced:.3f}{self.judged}  "
            f"{rate:.0f} images/s  {clock(self.left.seconds(epoch, share))} left"
        )
        self.move(share, f"epoch {epoch + 1}/{self.recipe.epochs} ({self.recipe.size_at(epoch)} px)", status)

    def epoch_done(self, row: dict[str, float | int], *, best: bool) -> None:
        """Report an epoch that is on disk.

        Args:
            row: its row of ``log.csv``.
            best: whether it is the best so far.
        """
        epoch = int(row["epoch"])
        self.judged = f"  | val acc {row['val_accuracy']:.3f}  bacc {row['val_balanced_accuracy']:.3f} |"
        self.say(
            f"epoch {epoch}/{self.recipe.epochs}  {row['size']} px  lr {row['lr']:.2e}  loss {row['train_loss']:.4f}  "
            f"val loss {row['val_loss']:.4f}  acc {row['val_accuracy']:.4f}  bacc {row['val_balanced_accuracy']:.4f}  "
            f"{row['images_per_second']:.0f} images/s  {clock(self.left.seconds(epoch - 1, 1.0))} left{'  *' if best else ''}"
        )

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the bar away."""
        self.close()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Take the bar away before the message."""
        self.close()
        if isinstance(exception, KeyboardInterrupt) and trainer.is_global_zero:
            self.say("stopped; go on from the last whole epoch with --resume")

    def close(self) -> None:
        """Take the bar away."""
        if self.bar is not None:
            self.bar.stop()
            if self.task is not None:
                self.bar.remove_task(self.task)
                self.task = None

    def _time_left(self, first: int) -> TimeLeft:
        return TimeLeft(map(self.recipe.size_at, range(self.recipe.epochs)), first)

    def _make_bar(self) -> Progress:
        columns = (TextColumn("{task.description}"), BarColumn(bar_width=20), TextColumn("{task.fields[status]}"))
        return Progress(*columns, console=self.console, transient=True)


def clock(seconds: float | None) -> str:
    """Hours, minutes and seconds, such as ``1:02:03``."""
    if seconds is None:
        return "?"
    whole = round(seconds)
    hours, minutes = whole // 3600, whole % 3600 // 60
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"
