"""What writes a run folder while the run trains."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl

from lentigo.config.recipe import Recipe
from lentigo.files import atomic_path
from lentigo.training.progress import RunProgress
from lentigo.training.rundir import BEST, LAST, LOG, LOG_COLUMNS, Row, save_checkpoint, update_record, write_log
from lentigo.training.task import LesionTask


class RunKeeper(pl.Callback):
    """Writes the run folder after each epoch: checkpoints first, then the log that speaks of them.

    Args:
        folder: the run folder.
        recipe: the run's recipe.
        shown: told of each epoch.
        started: when this session began, of ``time.monotonic``.
    """

    def __init__(self, folder: Path, recipe: Recipe, shown: RunProgress, started: float) -> None:
        self.folder = folder
        self.recipe = recipe
        self.shown = shown
        self.started = started
        self.earlier = 0.0
        self.history: list[Row] = []
        self.epoch_start = self.train_end = 0.0

    @property
    def wall_seconds(self) -> float:
        """Seconds this run has taken, over all its sessions."""
        return self.earlier + time.monotonic() - self.started

    def state_dict(self) -> dict[str, Any]:
        """The log so far, and the time taken."""
        return {"history": self.history, "wall_seconds": self.wall_seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the log of a checkpoint."""
        self.history = list(state_dict["history"])
        self.earlier = float(state_dict["wall_seconds"])

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self.epoch_start = time.monotonic()

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop the clock of training."""
        self.train_end = time.monotonic()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Judge the epoch and save it."""
        task, module = pl_module, trainer.datamodule  # type: ignore[attr-defined]
        if not isinstance(task, LesionTask):
            raise TypeError("RunKeeper keeps a LesionTask")
        best = task.judge()
        epoch, figures = trainer.current_epoch, task.figures
        row: Row = {
            "epoch": epoch + 1,
            "size": self.recipe.size_at(epoch),
            **{name: figures[name] for name in LOG_COLUMNS[2:7]},
            "images_per_second": round(len(module.learnt) / (self.train_end - self.epoch_start), 2),
            "seconds": round(time.monotonic() - self.epoch_start, 2),
        }
        self.history.append(row)
        if best and trainer.is_global_zero:
            weights = {name: value.detach().cpu() for name, value in task.kept.state_dict().items()}
            save_checkpoint(self.folder / BEST, {"format": 1, "network": weights, "epoch": epoch + 1, "figures": row})
        self._save_last(trainer)
        if trainer.is_global_zero:
            write_log(self.folder / LOG, self.history)
            update_record(self.folder, wall_seconds=round(self.wall_seconds, 1), epochs_done=epoch + 1, **({"best": row} if best else {}))
            self.shown.epoch_done(row, best=best)

    def _save_last(self, trainer: pl.Trainer) -> None:
        """All processes take part in saving; the first one writes."""
        if trainer.is_global_zero:
            with atomic_path(self.folder / LAST) as temporary:
                trainer.save_checkpoint(temporary)
        else:
            trainer.save_checkpoint(self.folder / LAST)
