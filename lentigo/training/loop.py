"""The training loop: augment, forward, backward, validate, save.

Lightning Fabric provides devices, precision and multiple processes.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm as BatchNorm  # 1d, 2d and synchronised

from lentigo.config.recipe import AugmentRecipe, Recipe
from lentigo.errors import TrainingError
from lentigo.imaging import IMAGENET_MEAN, IMAGENET_STD
from lentigo.losses import Loss
from lentigo.networks import Network
from lentigo.training.augment import Augment, Normalise
from lentigo.training.batches import Batch, Batches, Transform
from lentigo.training.degrade import Degrade
from lentigo.training.distil import Teachers
from lentigo.training.erase import Erase
from lentigo.training.mix import MixPairs
from lentigo.training.optimiser import RunningAverage, create_optimiser, ema_weight
from lentigo.training.progress import RunProgress
from lentigo.training.rundir import Row, RunWriter, save_best, update_record
from lentigo.training.schedule import Monitor, rate_factor
from lentigo.training.steps import descend, seeded_batches
from lentigo.training.streams import Draws, Stream

_CHECK_EVERY = 25  # steps between checks for a loss that is not finite: reading a value back makes a GPU wait


@dataclass(frozen=True)
class Task:
    """A network and its loss.

    Attributes:
        recipe: the recipe.
        network: the network, trained in place.
        criterion: the loss on the labels.
        classes: K, the number of classes.
        teachers: teachers for distillation; None without.
    """

    recipe: Recipe
    network: Network
    criterion: Loss
    classes: int
    teachers: Teachers | None = None

    def terms(self, logits: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Compute the terms of the loss by name; training minimises their sum."""
        labels: Tensor = self.criterion(logits, batch.targets)
        if batch.partners is not None:
            labels = batch.ratio * labels + (1 - batch.ratio) * self.criterion(logits, batch.partners)
        if self.teachers is None:
            return {"labels": labels}
        weight = self.teachers.weight
        return {"labels": (1 - weight) * labels, "teachers": weight * self.teachers.loss(logits, batch.images)}


def fit(
    fabric: Fabric,
    task: Task,
    batches: Batches,
    writer: RunWriter,
    shown: RunProgress,
    state: Mapping[str, Any] | None = None,
) -> None:
    """Train, and write the run folder after each epoch.

    Args:
        fabric: devices, precision and loggers, launched.
        task: the network and its loss.
        batches: the images.
        writer: writes the run folder.
        shown: shows progress.
        state: the checkpoint to resume from; None for a new run.

    Raises:
        TrainingError: the loss is not a finite number.
        OutputError: the run folder cannot be written.
    """
    recipe = task.recipe
    learner, monitor, first = Learner(fabric, task, batches, shown), Monitor(recipe), 0
    if state is not None:
        learner.load_state_dict(state["learner"])
        monitor.load_state_dict(state["monitor"])
        first = int(state["epoch"]) + 1
    with fabric.rank_zero_first(local=True):
        batches.prepare()
    shown.begin("epoch", [recipe.size_at(epoch) for epoch in range(recipe.epochs)], first)
    for epoch in range(first, recipe.epochs):
        if monitor.stopped:
            break
        started = time.monotonic()
        train = learner.train(epoch, monitor.rate)
        speed = train["images"] / (time.monotonic() - started)
        val = learner.validate(epoch)
        best = monitor.update(epoch, val[recipe.monitored])
        row: Row = {
            "epoch": epoch + 1,
            "size": recipe.size_at(epoch),
            "lr": learner.rate,
            "train_loss": train["loss"],
            "val_loss": val["loss"],
            "val_accuracy": val["accuracy"],
            "val_balanced_accuracy": val["balanced_accuracy"],
            "images_per_second": round(speed, 2),
            "seconds": round(time.monotonic() - started, 2),
        }
        if fabric.is_global_zero:
            if best:
                save_best(writer.folder, learner.kept(epoch).state_dict(), row)
            writer.save(row, {"epoch": epoch, "learner": learner.state_dict(), "monitor": monitor.state_dict()})
            done = {"wall_seconds": round(writer.seconds, 1), "epochs_done": epoch + 1}
            update_record(writer.folder, **done, **({"best": row} if best else {}))
        fabric.log_dict(row | {f"train_{name}": train[name] for name in train if name.startswith("loss/")}, epoch + 1)
        figures = f"acc {val['accuracy']:.4f}  bacc {val['balanced_accuracy']:.4f}"
        shown.epoch_done(
            f"lr {learner.rate:.2e}  loss {train['loss']:.4f}  val loss {val['loss']:.4f}  {figures}",
            speed,
            evaluated=f"  | val {figures} |",
            note="  *" if best else "",
        )


class Learner:
    """The state of training: network, optimiser and averages.

    Args:
        fabric: devices and precision.
        task: the network and its loss.
        batches: the images.
        shown: shows progress.

    Attributes:
        rate: the learning rate of the last step.
    """

    def __init__(self, fabric: Fabric, task: Task, batches: Batches, shown: RunProgress) -> None:
        self.fabric, self.task, self.batches, self.shown = fabric, task, batches, shown
        recipe, network = task.recipe, task.network
        if fabric.world_size > 1 and fabric.device.type == "cuda":
            nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]  # in place
        self.average = RunningAverage(network).to(fabric.device) if recipe.ema else None
        self.cycles = RunningAverage(network).to(fabric.device) if recipe.swa else None
        # Fabric cannot clip gradients of a fused optimiser in mixed precision.
        optimiser = create_optimiser(network, recipe.optimiser, fused=recipe.precision == "32")
        self.model, self.optimiser = fabric.setup(network, optimiser)
        self.norms = [
            (layer, layer.momentum)
            for layer in network.modules()
            if isinstance(layer, BatchNorm) and layer.momentum is not None
        ]
        if task.teachers is not None:
            task.teachers.to(fabric.device)
        self.normalise = Normalise(IMAGENET_MEAN, IMAGENET_STD)
        self.transforms = create_transforms(recipe.augment, self.normalise)
        self.rate = 0.0

    def train(self, epoch: int, plateau: float) -> dict[str, float]:
        """Train for one epoch.

        Args:
            epoch: from 0.
            plateau: factor on the learning rate.

        Returns:
            The figures of ``Scores.figures``.
        """
        fabric, task, recipe = self.fabric, self.task, self.task.recipe
        steps, scores = self.batches.steps(epoch), Scores(task.classes, fabric.device)
        # The first step whose loss is not finite, from 1; 0 for none.
        bad_step = torch.zeros((), dtype=torch.int64, device=fabric.device)
        task.criterion.set_epoch(epoch)
        self.model.train()
        for step, batch in seeded_batches(fabric, self.batches, epoch, Stream.DROPOUT, self.shown, scores.describe):
            done = epoch * steps + step  # the schedule follows epochs, whose numbers of steps may differ
            self.rate = (
                recipe.optimiser.lr * plateau * rate_factor(recipe.schedule, done, steps=steps, epochs=recipe.epochs)
            )
            for group in self.optimiser.param_groups:
                group["lr"] = self.rate * group["factor"]
            # Initially the mean over the batches so far: a residue of the initial statistics (0 and 1) would accumulate
            # over thirty layers and suppress the signal.
            for layer, momentum in self.norms:
                layer.momentum = max(momentum, 1 / (done + 1))

            draws = Draws(recipe.seed, epoch, step, batch.total, fabric.global_rank, fabric.world_size)
            for transform in self.transforms:
                batch = transform(batch, draws)
            with fabric.autocast():
                logits = self.model(batch.images)
                terms = task.terms(logits, batch)
            loss = torch.stack(list(terms.values())).sum()
            bad_step = torch.where(torch.isfinite(loss.detach()) | (bad_step > 0), bad_step, step + 1)
            if fabric.device.type == "cpu" or step % _CHECK_EVERY == 0 or step + 1 == steps:
                self._check_finite(int(bad_step), epoch, steps)

            descend(fabric, self.model, self.optimiser, loss, recipe.clip)
            if self.average is not None:
                self.average.update(task.network, ema_weight(recipe.ema, done))
            scores.update(terms, logits, batch.targets)
        if self.cycles is not None and epoch + 1 in recipe.cycle_ends:
            self.cycles.update(self._latest, 1 / (recipe.cycle_ends.index(epoch + 1) + 1))
        return scores.figures(fabric)

    def kept(self, epoch: int) -> Network:
        """Return the network to validate and save after an epoch (from 0).

        At the end of a cycle with ``swa``, this is the mean over the cycles so far. Otherwise it is the moving average
        with ``ema``, or else the trained network.
        """
        if self.cycles is not None and epoch + 1 in self.task.recipe.cycle_ends:
            return self.cycles.module
        return self._latest

    @property
    def _latest(self) -> Network:
        return self.task.network if self.average is None else self.average.module

    @torch.inference_mode()
    def validate(self, epoch: int) -> dict[str, float]:
        """Compute the figures of ``Scores.figures`` on validation, at the size of an epoch (from 0)."""
        scores, network = Scores(self.task.classes, self.fabric.device), self.kept(epoch)
        network.eval()
        with self.fabric.autocast():
            for batch in self.batches.validation(epoch, self.fabric):
                logits = network(self.normalise(batch.images))
                scores.update({"labels": self.task.criterion(logits, batch.targets)}, logits, batch.targets)
        return scores.figures(self.fabric)

    def state_dict(self) -> dict[str, Any]:
        """Return plain values and tensors, for a checkpoint."""
        return {name: part.state_dict() for name, part in self._parts().items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the values of ``state_dict``."""
        for name, part in self._parts().items():
            part.load_state_dict(state[name])

    def _parts(self) -> dict[str, Any]:
        parts = {"network": self.task.network, "optimiser": self.optimiser, "precision": self.fabric.strategy.precision}
        averages = {"average": self.average, "cycles": self.cycles}
        return parts | {name: part for name, part in averages.items() if part is not None}

    def _check_finite(self, bad_step: int, epoch: int, steps: int) -> None:
        if bad_step:
            raise TrainingError(
                f"the loss is not a finite number in epoch {epoch + 1}, step {bad_step} of {steps}, at learning rate"
                f" {self.rate:.3g}; the last good checkpoint is kept. Try a lower optimiser.lr, schedule.warmup=1,"
                " clip=1" + (" or precision=32" if self.task.recipe.precision != "32" else "")
            )


def create_transforms(recipe: AugmentRecipe, normalise: Normalise) -> list[Transform]:
    """Return the transforms of a training batch, in order; the first converts stored pixels to the network's input."""
    return [Augment(recipe, normalise), Degrade(recipe.degrade, normalise), Erase(recipe.erase), MixPairs(recipe)]


class Scores:
    """Sums over the images of an epoch so far: the terms of the loss and the confusion matrix.

    Args:
        classes: K, the number of classes.
        device: device of the logits.
    """

    def __init__(self, classes: int, device: torch.device) -> None:
        self.images = torch.zeros((), device=device)
        self.terms: dict[str, Tensor] = {}
        self.confusion = torch.zeros(classes, classes, dtype=torch.int64, device=device)  # rows are true classes

    def update(self, terms: Mapping[str, Tensor], logits: Tensor, targets: Tensor) -> None:
        """Add a batch's mean terms, logits (N, K) and targets (N,), without reading values back from the device."""
        self.images += len(targets)
        for name, value in terms.items():
            self.terms[name] = self.terms.get(name, 0) + value.detach() * len(targets)
        self.confusion.index_put_((targets, logits.detach().argmax(1)), torch.ones_like(targets), accumulate=True)

    def figures(self, fabric: Fabric | None = None) -> dict[str, float]:
        """Return ``images``, ``loss``, ``accuracy``, ``balanced_accuracy`` and ``loss/NAME`` of each term.

        Args:
            fabric: sums over all its processes; None for this process alone.
        """
        sums: dict[str, Tensor] = {**self.terms, "images": self.images, "confusion": self.confusion}
        if fabric is not None:
            sums = {name: torch.as_tensor(fabric.all_reduce(value, reduce_op="sum")) for name, value in sums.items()}
        images, (accuracy, balanced) = float(sums.pop("images")), accuracies(sums.pop("confusion"))
        terms = {f"loss/{name}": float(value) / images for name, value in sums.items()}
        return {
            "images": images,
            "loss": sum(terms.values()),
            "accuracy": accuracy,
            "balanced_accuracy": balanced,
            **terms,
        }

    def describe(self) -> str:
        """Format the figures of this process so far in one line."""
        figures = self.figures()
        return f"loss {figures['loss']:.4f}  acc {figures['accuracy']:.3f}  bacc {figures['balanced_accuracy']:.3f}"


def accuracies(confusion: Tensor) -> tuple[float, float]:
    """Return accuracy and balanced accuracy of a confusion matrix (K, K), whose rows are the true classes."""
    table = confusion.cpu().double()
    support = table.sum(1)
    recall = table.diagonal()[support > 0] / support[support > 0]
    return float(table.diagonal().sum() / table.sum()), float(recall.mean())
