"""Learning from the training images without their labels, before the training proper: SimSiam.

Chen and He, *Exploring simple Siamese representation learning*, CVPR 2021: two views of an image, and what a small predictor
makes of one view's projection shall be the other's, whose gradient is stopped.
"""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lentigo.config.recipe import PretrainRecipe, Recipe, ScheduleRecipe
from lentigo.data.module import Batch, LesionData
from lentigo.errors import TrainingError
from lentigo.files import atomic_path, write_text
from lentigo.imaging import IMAGENET_MEAN, IMAGENET_STD
from lentigo.networks import Network
from lentigo.training.augment import Augment, Normalise, draw_changes, step_seed
from lentigo.training.progress import RunProgress, TimeLeft, clock
from lentigo.training.rundir import PRETRAIN, PRETRAIN_LOG
from lentigo.training.schedule import rate_factor

WIDTH, BOTTLENECK = 512, 128  # of the projections, and inside the predictor
COLLAPSED = 0.1
"""A spread below which all images have nearly the same projection, and nothing was learnt."""

_VIEWS = 7  # the place of these draws beside those of the training


class SimSiam(pl.LightningModule):
    """Pretrains a network, in place.

    Args:
        network: what is pretrained; its classification layer stays as it is.
        recipe: the run's recipe, with ``pretrain.epochs`` above 0.
        steps: optimiser steps an epoch.
    """

    def __init__(self, network: Network, recipe: Recipe, *, steps: int) -> None:
        super().__init__()
        self.network = network
        self.recipe, self.chosen = recipe, recipe.pretrain
        self.steps = steps
        self.augment = Augment(self.chosen.augment, Normalise(IMAGENET_MEAN, IMAGENET_STD))
        width = _embedding_width(network, self.chosen)
        self.projector = nn.Sequential(
            *(nn.Linear(width, WIDTH, bias=False), nn.BatchNorm1d(WIDTH), nn.ReLU()),
            *(nn.Linear(WIDTH, WIDTH, bias=False), nn.BatchNorm1d(WIDTH), nn.ReLU()),
            *(nn.Linear(WIDTH, WIDTH, bias=False), nn.BatchNorm1d(WIDTH, affine=False)),
        )
        self.predictor = nn.Sequential(
            *(nn.Linear(WIDTH, BOTTLENECK, bias=False), nn.BatchNorm1d(BOTTLENECK), nn.ReLU()),
            nn.Linear(BOTTLENECK, WIDTH),
        )
        self.sums: Tensor = torch.zeros(3)  # loss, spread and images of this epoch

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW with the recipe's weight decay. Only the predictor's learning rate stays as it is, which the paper found best."""
        falling = [*self.network.parameters(), *self.projector.parameters()]
        groups = [{"params": falling, "falls": True}, {"params": list(self.predictor.parameters()), "falls": False}]
        return torch.optim.AdamW(groups, lr=self.chosen.lr, weight_decay=self.recipe.optimiser.weight_decay)

    def on_train_epoch_start(self) -> None:
        """Start counting anew."""
        self.sums = torch.zeros(3, device=self.device)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Set the seed of dropout and the learning rate, by the place in the run."""
        torch.manual_seed(step_seed(self.recipe.seed, self.current_epoch, batch_idx, _VIEWS))
        step = self.current_epoch * self.steps + batch_idx
        factor = rate_factor(ScheduleRecipe(name="cosine", warmup=0.5), step, steps=self.steps, epochs=self.chosen.epochs)
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = self.chosen.lr * (factor if group["falls"] else 1.0)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Two views of each image, and the loss between them."""
        with torch.autocast(self.device.type, enabled=False):
            views = [
                self.augment(
                    batch.pixels, draw_changes(batch.total, step_seed(self.recipe.seed, _VIEWS, view), self.current_epoch, batch_idx)
                )
                for view in range(2)
            ]
        projections = [self.projector(self.network.forward_head(self.network.forward_features(view))[1]) for view in views]
        first, second = projections
        loss: Tensor = (unlikeness(self.predictor(first), second) + unlikeness(self.predictor(second), first)) / 2
        count = len(batch.targets)
        self.sums += torch.stack([loss.detach() * count, spread(first.detach()) * count, torch.tensor(float(count), device=self.device)])
        return loss

    def figures(self) -> dict[str, float]:
        """The mean ``loss`` (-1 at best) and ``spread`` of the epoch so far.

        Raises:
            TrainingError: the loss is not a finite number.
        """
        loss, wide, count = self.sums.tolist()
        if not math.isfinite(loss):
            raise TrainingError(
                f"the loss of pretraining is not a finite number in epoch {self.current_epoch + 1}; try a lower pretrain.lr"
                + (" or precision=32" if self.recipe.precision != "32" else "")
            )
        return {"loss": loss / count, "spread": wide / count}


def unlikeness(predicted: Tensor, projected: Tensor) -> Tensor:
    """The negative cosine between predictions and the other view's projections (equation 1), whose gradient is stopped (equation 3).

    Args:
        predicted: (N, D).
        projected: (N, D).

    Returns:
        The mean over the batch, -1 to 1.
    """
    return -F.cosine_similarity(predicted.float(), projected.detach().float(), dim=1).mean()


def spread(projected: Tensor) -> Tensor:
    """How far a batch's projections lie apart: the standard deviation of what is scaled to unit length, times the square root of D.

    Near 1 where they point everywhere, 0 where all are the same, which is a collapse (section 4.1).

    Args:
        projected: (N, D).
    """
    unit = F.normalize(projected.float(), dim=1)
    found: Tensor = unit.std(0).mean() * unit.shape[1] ** 0.5
    return found


class PretrainKeeper(pl.Callback):
    """Keeps pretraining on disk after each epoch, and tells of it.

    Args:
        folder: the run folder.
        chosen: the recipe of the pretraining.
        shown: what the user sees.
    """

    def __init__(self, folder: Path, chosen: PretrainRecipe, shown: RunProgress) -> None:
        self.folder, self.chosen, self.shown = folder, chosen, shown
        self.history: list[dict[str, float | int]] = []
        self.earlier = 0.0
        self.session = self.epoch_start = time.monotonic()
        self.left = self._time_left(0)
        self.images = 0

    @property
    def seconds(self) -> float:
        """Seconds of pretraining, over all sessions."""
        return self.earlier + time.monotonic() - self.session

    def state_dict(self) -> dict[str, Any]:
        """The epochs so far, and the time taken."""
        return {"history": self.history, "seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint's."""
        self.history = list(state_dict["history"])
        self.earlier = float(state_dict["seconds"])

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Show the bar."""
        self.session = time.monotonic()
        self.left = self._time_left(trainer.current_epoch)
        self.shown.begin()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self.epoch_start, self.images = time.monotonic(), 0

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Move the bar."""
        self.images += int(batch.total)
        if isinstance(pl_module, SimSiam):
            share = (batch_idx + 1) / pl_module.steps
            rate = self.images / (time.monotonic() - self.epoch_start)
            name = f"pretraining {trainer.current_epoch + 1}/{self.chosen.epochs} ({self.chosen.size} px)"
            self.shown.move(share, name, f"{rate:.0f} images/s  {clock(self.left.seconds(trainer.current_epoch, share))} left")

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save the epoch, then tell of it."""
        if not isinstance(pl_module, SimSiam):
            raise TypeError("PretrainKeeper keeps SimSiam")
        figures, seconds = pl_module.figures(), time.monotonic() - self.epoch_start
        row = {"epoch": trainer.current_epoch + 1, "size": self.chosen.size, **figures, "seconds": round(seconds, 2)}
        self.history.append(row)
        with atomic_path(self.folder / PRETRAIN) as temporary:
            trainer.save_checkpoint(temporary)
        lines = [",".join(row), *(",".join(f"{value:.9g}" for value in each.values()) for each in self.history)]
        write_text(self.folder / PRETRAIN_LOG, "\n".join(lines) + "\n")
        warning = "  (collapsed: all images look the same to it; try a lower pretrain.lr)" if figures["spread"] < COLLAPSED else ""
        self.shown.say(
            f"pretraining {row['epoch']}/{self.chosen.epochs}  {self.chosen.size} px  loss {figures['loss']:.4f}  "
            f"spread {figures['spread']:.2f}  {self.images / seconds:.0f} images/s  "
            f"{clock(self.left.seconds(trainer.current_epoch, 1.0))} left{warning}"
        )

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the bar away."""
        self.shown.close()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Take the bar away before the message."""
        self.shown.on_exception(trainer, pl_module, exception)

    def _time_left(self, first: int) -> TimeLeft:
        return TimeLeft([self.chosen.size] * self.chosen.epochs, first)


def pretrain(
    network: Network, module: LesionData, trainer: pl.Trainer, recipe: Recipe, keeper: PretrainKeeper, state: dict[str, Any] | None
) -> None:
    """Pretrain a network in place.

    Args:
        network: changed in place.
        module: the images, all learnt from at ``recipe.pretrain.size``.
        trainer: for ``recipe.pretrain.epochs`` epochs on one device, with the keeper among its callbacks.
        recipe: the run's.
        keeper: of the run folder.
        state: the checkpoint to go on from; None to begin.

    Raises:
        TrainingError: the loss is not a finite number.
        OutputError: the disk refuses.
    """
    task = SimSiam(network, recipe, steps=module.steps())
    if state is not None and len(state["callbacks"]["PretrainKeeper"]["history"]) >= recipe.pretrain.epochs:
        keeper.load_state_dict(state["callbacks"]["PretrainKeeper"])
        task.load_state_dict(state["state_dict"])
        return
    trainer.fit(task, module, ckpt_path=None if state is None else str(keeper.folder / PRETRAIN))


@torch.no_grad()
def _embedding_width(network: Network, chosen: PretrainRecipe) -> int:
    training = network.training
    network.eval()
    embedding: Tensor = network.forward_head(network.forward_features(torch.zeros(1, 3, chosen.size, chosen.size)))[1]
    network.train(training)
    return embedding.shape[1]
