"""Self-supervised pretraining on the training images: SimSiam.

Chen and He, *Exploring simple Siamese representation learning*, CVPR 2021. A small predictor maps the projection of one
view of an image to that of another view, whose gradient is stopped.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from torch import Tensor, nn

from lentigo.config.recipe import Recipe, ScheduleRecipe, SizeStage
from lentigo.errors import TrainingError
from lentigo.imaging import IMAGENET_MEAN, IMAGENET_STD
from lentigo.networks import Network
from lentigo.training.augment import Augment, Normalise
from lentigo.training.batches import Batches
from lentigo.training.progress import RunProgress
from lentigo.training.rundir import Row, RunWriter, update_record
from lentigo.training.schedule import rate_factor
from lentigo.training.steps import descend, seeded_batches
from lentigo.training.streams import Draws, Stream

WIDTH, BOTTLENECK = 512, 128  # width of the projections, and of the predictor's hidden layer
COLLAPSED = 0.1
"""Spread below which the projections of all images are nearly equal, a collapse."""


class SimSiam(nn.Module):
    """A network with SimSiam's projector and predictor.

    Args:
        network: the network to pretrain; its classification layer does not change.
        size: side of the images, in pixels.
    """

    def __init__(self, network: Network, size: int) -> None:
        super().__init__()
        self.network = network
        width = _embedding_width(network, size)
        self.projector = nn.Sequential(
            *(nn.Linear(width, WIDTH, bias=False), nn.BatchNorm1d(WIDTH), nn.ReLU()),
            *(nn.Linear(WIDTH, WIDTH, bias=False), nn.BatchNorm1d(WIDTH), nn.ReLU()),
            *(nn.Linear(WIDTH, WIDTH, bias=False), nn.BatchNorm1d(WIDTH, affine=False)),
        )
        self.predictor = nn.Sequential(
            *(nn.Linear(WIDTH, BOTTLENECK, bias=False), nn.BatchNorm1d(BOTTLENECK), nn.ReLU()),
            nn.Linear(BOTTLENECK, WIDTH),
        )

    def forward(self, one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss between two views (N, 3, S, S) of the images, and the spread of the first's projections."""
        first, second = (
            self.projector(self.network.forward_head(self.network.forward_features(view))[1]) for view in (one, other)
        )
        loss = (negative_cosine(self.predictor(first), second) + negative_cosine(self.predictor(second), first)) / 2
        return loss, spread(first.detach())


def negative_cosine(predicted: Tensor, projected: Tensor) -> Tensor:
    """Compute the negative cosine of predictions and the other view's projections (equation 1), gradient stopped (3).

    Args:
        predicted: (N, D).
        projected: (N, D).

    Returns:
        The mean over the batch, -1 to 1.
    """
    return -F.cosine_similarity(predicted.float(), projected.detach().float(), dim=1).mean()


def spread(projected: Tensor) -> Tensor:
    """Compute the standard deviation of unit-length projections over a batch, times the square root of D.

    It is near 1 for evenly spread directions and 0 for equal ones, a collapse (section 4.1).

    Args:
        projected: (N, D).
    """
    unit = F.normalize(projected.float(), dim=1)
    found: Tensor = unit.std(0).mean() * unit.shape[1] ** 0.5
    return found


def create_pretrain_optimiser(model: SimSiam, recipe: Recipe) -> torch.optim.Optimizer:
    """Create AdamW with the recipe's weight decay and, as the paper found best, a constant rate of the predictor."""
    falling = [*model.network.parameters(), *model.projector.parameters()]
    groups = [{"params": falling, "falls": True}, {"params": list(model.predictor.parameters()), "falls": False}]
    return torch.optim.AdamW(groups, lr=recipe.pretrain.lr, weight_decay=recipe.optimiser.weight_decay)


def pretrain(
    fabric: Fabric,
    network: Network,
    batches: Batches,
    writer: RunWriter,
    shown: RunProgress,
    state: Mapping[str, Any] | None,
) -> None:
    """Pretrain a network in place, and save it after each epoch.

    Args:
        fabric: one device, and the precision.
        network: changed in place.
        batches: the images, by the recipe of ``pretrain_recipe``.
        writer: writes the run folder.
        shown: shows progress.
        state: the checkpoint to resume from; None for a new run.

    Raises:
        TrainingError: the loss is not a finite number.
        OutputError: the run folder cannot be written.
    """
    recipe, chosen, history = batches.recipe, batches.recipe.pretrain, writer.history
    augment = Augment(chosen.augment, Normalise(IMAGENET_MEAN, IMAGENET_STD))
    schedule = ScheduleRecipe(name="cosine", warmup=0.5)
    simsiam = SimSiam(network, chosen.size)
    model, optimiser = fabric.setup(simsiam, create_pretrain_optimiser(simsiam, recipe))
    parts = {"model": simsiam, "optimiser": optimiser, "precision": fabric.strategy.precision}
    if state is not None:
        for name, part in parts.items():
            part.load_state_dict(state[name])
    shown.begin("pretraining", [chosen.size] * chosen.epochs, len(history))
    for epoch in range(len(history), chosen.epochs):
        started, steps = time.monotonic(), batches.steps(epoch)
        sums = torch.zeros(3, device=fabric.device)  # loss, spread and images
        model.train()
        for step, batch in seeded_batches(fabric, batches, epoch, Stream.PRETRAIN_DROPOUT, shown):
            factor = rate_factor(schedule, epoch * steps + step, steps=steps, epochs=chosen.epochs)
            for group in optimiser.param_groups:
                group["lr"] = chosen.lr * (factor if group["falls"] else 1.0)
            views = [augment(batch, Draws(recipe.seed, epoch, step, batch.total, view=view)).images for view in (1, 2)]
            loss, wide = model(*views)
            descend(fabric, model, optimiser, loss, recipe.clip)
            sums += batch.total * torch.stack([loss.detach(), wide, torch.ones_like(wide)])
        total, wide, images = sums.tolist()
        if not math.isfinite(total):
            mend = "a lower pretrain.lr" + (" or precision=32" if recipe.precision != "32" else "")
            raise TrainingError(f"the loss of pretraining is not a finite number in epoch {epoch + 1}; try {mend}")
        seconds, figures = time.monotonic() - started, {"loss": total / images, "spread": wide / images}
        row: Row = {"epoch": epoch + 1, "size": chosen.size, **figures, "seconds": round(seconds, 2)}
        writer.save(row, {name: part.state_dict() for name, part in parts.items()})
        fabric.log_dict({f"pretrain/{name}": value for name, value in figures.items()}, step=epoch + 1)
        collapsed = "  (collapsed: all projections are nearly equal; try a lower pretrain.lr)"
        shown.epoch_done(
            f"loss {row['loss']:.4f}  spread {row['spread']:.2f}",
            images / seconds,
            note=collapsed if row["spread"] < COLLAPSED else "",
        )
    done = {**history[-1], "images": len(batches.training_rows), "seconds": round(writer.seconds, 1)}
    update_record(writer.folder, pretraining=done)


def pretrain_recipe(recipe: Recipe) -> Recipe:
    """Return the recipe of pretraining's batches: each image once per epoch, at one size, other data throughout."""
    chosen = recipe.pretrain
    data = recipe.data.model_copy(
        update={"extra": tuple(extra.model_copy(update={"until_epoch": None}) for extra in recipe.data.extra)}
    )
    sizes = (SizeStage(from_epoch=0, size=chosen.size),)
    return recipe.model_copy(update={"data": data, "sizes": sizes, "epochs": chosen.epochs, "sampling": 0.0})


@torch.no_grad()
def _embedding_width(network: Network, size: int) -> int:
    training = network.training
    network.eval()
    embedding: Tensor = network.forward_head(network.forward_features(torch.zeros(1, 3, size, size)))[1]
    network.train(training)
    return embedding.shape[1]
