"""The learning task: one network, one loss, one optimiser, and the running average that is kept."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm as BatchNorm  # 1d, 2d and synchronised
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassConfusionMatrix

from lentigo.config.recipe import OptimiserRecipe, Recipe
from lentigo.data.module import Batch
from lentigo.errors import TrainingError
from lentigo.imaging import IMAGENET_MEAN, IMAGENET_STD
from lentigo.losses import Loss
from lentigo.networks import Network
from lentigo.training import degrade, erase
from lentigo.training.augment import Augment, Normalise, draw, draw_changes, step_seed
from lentigo.training.distil import Teachers
from lentigo.training.mix import draw_mix
from lentigo.training.schedule import Patience, rate_factor

# On a GPU, reading a value back stops the queue of kernels: look for NaN this often, in steps.
_CHECK_EVERY = 25


class LesionTask(pl.LightningModule):
    """Trains a network by a recipe.

    Validation, and everything after training, uses the running average of the weights where the recipe has one.

    Args:
        network: what is trained.
        criterion: what is minimised.
        recipe: how.
        steps: optimiser steps of each epoch.
        classes: K.
        teachers: trained networks to learn from as well.

    Attributes:
        rate: plateau reductions so far, as a factor on the learning rate.
        figures: the last epoch's train_loss, val_loss, val_accuracy and val_balanced_accuracy, and lr.
        patience: follows the monitored value for ``best.ckpt`` and early stopping.
    """

    def __init__(
        self, network: Network, criterion: Loss, recipe: Recipe, *, steps: Sequence[int], classes: int, teachers: Teachers | None = None
    ) -> None:
        super().__init__()
        self.teachers = teachers
        self.network = network
        self.criterion = criterion
        self.recipe = recipe
        self.steps_of = tuple(steps)
        self.average = RunningAverage(network, recipe.ema) if recipe.ema else None
        self.normalise = Normalise(IMAGENET_MEAN, IMAGENET_STD)
        self.augment = Augment(recipe.augment, self.normalise)
        self.degrade = degrade.Degrade(recipe.augment.degrade, self.normalise)
        lowest = recipe.monitor.endswith("loss")
        self.patience, self.plateau = Patience(lowest), Patience(lowest)
        self.rate = 1.0
        self.figures: dict[str, float] = {}
        self.norms: list[tuple[BatchNorm, float]] = []  # with their lasting momentum
        self.train_loss, self.val_loss = MeanMetric(), MeanMetric()
        self.train_confusion, self.val_confusion = (MulticlassConfusionMatrix(classes, validate_args=False) for _ in range(2))
        # Step (from 1) of this epoch whose loss was the first not finite; 0 for none.
        self.register_buffer("bad_step", torch.zeros((), dtype=torch.int64), persistent=False)

    bad_step: Tensor

    @property
    def steps(self) -> int:
        """Optimiser steps of the current epoch."""
        return self.steps_of[self.current_epoch]

    @property
    def kept(self) -> Network:
        """The network that is validated and kept: the running average, or the trained network itself."""
        return self.network if self.average is None else self.average.module

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The optimiser; its learning rate is set at each step by ``on_train_batch_start``."""
        # Lightning clips no gradients of a fused optimiser in mixed precision.
        return create_optimiser(self.network, self.recipe.optimiser, fused=self.recipe.precision == "32")

    def on_train_start(self) -> None:
        """Find the layers with running statistics, which the strategy may have replaced, and bring the teachers along."""
        if self.teachers is not None:
            self.teachers.to(self.device)
        for layer in self.network.modules():
            if isinstance(layer, BatchNorm) and layer.momentum is not None:
                self.norms.append((layer, layer.momentum))

    def on_train_epoch_start(self) -> None:
        """Tell the loss the epoch, and start counting anew."""
        self.criterion.set_epoch(self.current_epoch)
        self.bad_step.zero_()

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Set the learning rate, the seed of dropout and the momentum of normalisation, all by the place in the run."""
        torch.manual_seed(step_seed(self.recipe.seed, self.current_epoch, batch_idx, self.global_rank, 1))
        # The schedule follows epochs: in each, the learning rate falls by as much, however many steps it has.
        step = self.current_epoch * self.steps + batch_idx
        # At first the plain mean over the batches so far: behind thirty layers, even a small rest of the initial
        # statistics (0 and 1) leaves nothing of the signal.
        for layer, momentum in self.norms:
            layer.momentum = max(momentum, 1 / (step + 1))
        factor = self.rate * rate_factor(self.recipe.schedule, step, steps=self.steps, epochs=self.recipe.epochs)
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = self.recipe.optimiser.lr * group["factor"] * factor
        self.figures["lr"] = self.recipe.optimiser.lr * factor

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Augment, classify, and return the loss."""
        # Drawn for the batch of all processes; this one holds every W-th image of it.
        place, share_of_batch = (self.recipe.seed, self.current_epoch, batch_idx), slice(self.global_rank, None, self.trainer.world_size)
        with torch.autocast(self.device.type, enabled=False):
            images = self.augment(batch.pixels, draw_changes(batch.total, *place)[share_of_batch])
            if self.degrade.active:
                images = self.degrade(images, degrade.draw_degradations(batch.total, *place)[share_of_batch])
            if self.recipe.augment.erase:
                draws = draw(batch.total, *place, 6, columns=erase.DRAWS)[share_of_batch]
                images = erase.erase(images, draws, self.recipe.augment.erase)
        mix = draw_mix(self.recipe.augment, *place, size=images.shape[-1])
        if mix is not None:
            images = mix.images(images)
        logits = self.network(images)
        loss: Tensor = self.criterion(logits, batch.targets)
        if mix is not None:
            loss = mix.share * loss + (1 - mix.share) * self.criterion(logits, batch.targets.flip(0))
        if self.teachers is not None:
            loss = (1 - self.teachers.weight) * loss + self.teachers.weight * self.teachers.loss(logits, images)
        self._watch(loss.detach(), batch_idx)
        self.train_loss.update(loss.detach(), len(batch.targets))
        self.train_confusion.update(logits.detach().argmax(1), batch.targets)
        return loss

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Move the running average."""
        if self.average is not None:
            self.average.update(self.network, self.current_epoch * self.steps + batch_idx)

    def on_validation_start(self) -> None:
        """Refuse to validate, and so to save, after a loss that was not finite."""
        self._refuse_bad_step()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Judge the network that is kept."""
        logits = self.kept(self.normalise(batch.pixels))
        self.val_loss.update(self.criterion(logits, batch.targets), len(batch.targets))
        self.val_confusion.update(logits.argmax(1), batch.targets)

    def on_validation_epoch_end(self) -> None:
        """Gather the epoch's figures over all processes."""
        accuracy, balanced = accuracies(self.val_confusion.compute())
        self.figures |= {"val_loss": float(self.val_loss.compute()), "val_accuracy": accuracy, "val_balanced_accuracy": balanced}
        self.figures["train_loss"] = float(self.train_loss.compute())
        for metric in (self.train_loss, self.train_confusion, self.val_loss, self.val_confusion):
            metric.reset()

    def judge(self) -> bool:
        """Compare the epoch with those before it; True where it is the best at the last image size.

        A plateau lowers the learning rate, and the end of the patience stops the trainer.
        """
        size = self.recipe.size_at(self.current_epoch)
        if self.current_epoch and size != self.recipe.size_at(self.current_epoch - 1):
            self.patience.forget()
            self.plateau.forget()
        value = self.figures[self.recipe.monitor]
        schedule = self.recipe.schedule
        if schedule.name == "plateau" and not self.plateau.update(value) and self.plateau.waited >= schedule.patience:
            self.rate *= schedule.factor
            self.plateau.restart()
        best = self.patience.update(value)
        if size != self.recipe.final_size:
            return False
        self.trainer.should_stop = self.trainer.should_stop or self.stopped
        return best

    @property
    def stopped(self) -> bool:
        """Whether early stopping has ended the run."""
        limit = self.recipe.stop.patience
        return limit is not None and self.patience.waited >= limit

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what the task remembers, as plain values."""
        checkpoint["task"] = {
            "rate": self.rate,
            "patience": self.patience.state(),
            "plateau": self.plateau.state(),
            "stopped": self.stopped,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take back what the task remembered."""
        state = checkpoint["task"]
        self.rate = float(state["rate"])
        self.patience, self.plateau = Patience.of(state["patience"]), Patience.of(state["plateau"])

    def _watch(self, loss: Tensor, batch_idx: int) -> None:
        bad = ~torch.isfinite(loss) & (self.bad_step == 0)
        self.bad_step.copy_(torch.where(bad, batch_idx + 1, self.bad_step))
        if self.device.type == "cpu" or batch_idx % _CHECK_EVERY == 0:
            self._refuse_bad_step()

    def _refuse_bad_step(self) -> None:
        if step := int(self.bad_step):
            raise TrainingError(
                f"the loss is not a finite number in epoch {self.current_epoch + 1}, step {step} of {self.steps}, at learning rate "
                f"{self.figures['lr']:.3g}; the last good checkpoint is kept. Try a lower optimiser.lr, schedule.warmup=1, clip=1"
                + (" or precision=32" if self.recipe.precision != "32" else "")
            )


class RunningAverage(nn.Module):
    """A running average of a network's weights and statistics, w' = d w' + (1 - d) w.

    The decay rises to its value: d = min(decay, n / (9 + n)) after n steps, so that the first weights are forgotten at once
    and the next ones soon. PyTorch's ``AveragedModel`` reads its counter back at each step, which a GPU has to wait for.

    Args:
        network: the network to follow.
        decay: d, 0 to 1.

    Attributes:
        module: the averaged network.
    """

    module: Network

    def __init__(self, network: Network, decay: float) -> None:
        super().__init__()
        self.module = deepcopy(network).requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, network: Network, done: int) -> None:
        """Move towards the network's present weights.

        Args:
            network: the network that is followed, whose layers are those it had at the beginning.
            done: steps done before this one.
        """
        share = 1 - min(self.decay, done / (9 + done))
        averages, current = self._tensors(self.module), self._tensors(network)
        torch._foreach_lerp_(averages, current, share)

    @staticmethod
    def _tensors(network: Network) -> list[Tensor]:
        # Counters of batches are no averages; nothing reads them.
        return [t for t in (*network.parameters(), *network.buffers()) if t.is_floating_point()]


def create_optimiser(network: Network, recipe: OptimiserRecipe, *, fused: bool = True) -> torch.optim.Optimizer:
    """The optimiser, its parameters grouped by weight decay and by factor on the learning rate.

    Fused, a step goes through the weights once: on a CPU VGG16's 134 M take a thirteenth of the time.
    """
    head = {id(p) for p in network.head.parameters()} if network.head is not None else set()
    depths = layer_depths([name for name, p in network.named_parameters() if id(p) not in head])
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            continue
        decay = recipe.weight_decay if parameter.ndim > 1 or recipe.decay_norm_and_bias else 0.0
        factor = recipe.head_lr if id(parameter) in head else recipe.layer_decay ** depths[name]
        groups.setdefault((decay, factor), []).append(parameter)
    settings = [{"params": p, "weight_decay": d, "factor": f} for (d, f), p in groups.items()]
    kind = torch.optim.AdamW if recipe.name == "adamw" else torch.optim.Adam
    return kind(settings, lr=recipe.lr, betas=recipe.betas, fused=fused)


def layer_depths(names: Sequence[str]) -> dict[str, int]:
    """How many blocks lie between each parameter and the head, from 0.

    A block is what the names have up to their first number, such as ``features.4`` or ``layer2.0``; blocks lie in the order of names.

    Args:
        names: of the parameters before the head, in the network's order.
    """
    blocks: dict[str, int] = {}
    found = []
    for name in names:
        parts = name.split(".")
        numbers = [i for i, part in enumerate(parts) if part.isdigit()]
        block = ".".join(parts[: numbers[0] + 1] if numbers else parts[:1])
        found.append(blocks.setdefault(block, len(blocks)))
    return {name: len(blocks) - 1 - place for name, place in zip(names, found, strict=True)}


def accuracies(confusion: Tensor) -> tuple[float, float]:
    """Accuracy and balanced accuracy (mean recall over the classes that occur) of a (K, K) table, rows the true classes."""
    table = confusion.double().cpu()
    support = table.sum(1)
    recall = table.diagonal()[support > 0] / support[support > 0]
    return float(table.diagonal().sum() / table.sum()), float(recall.mean())
