"""What the steps of training and of pretraining have in common: seed, gradient, clipping, progress."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from lentigo.training.batches import Batch, Batches
from lentigo.training.progress import RunProgress
from lentigo.training.streams import Stream, torch_seed


def seeded_batches(
    fabric: Fabric, batches: Batches, epoch: int, stream: Stream, shown: RunProgress, describe: Callable[[], str] = str
) -> Iterator[tuple[int, Batch]]:
    """Yield the number and the batch of each step of an epoch, with PyTorch's generator seeded for the step.

    Args:
        fabric: devices.
        batches: the images.
        epoch: from 0.
        stream: purpose of PyTorch's random numbers.
        shown: shows the progress.
        describe: returns the figures so far, for the progress bar.
    """
    steps = batches.steps(epoch)
    shown.start_epoch(epoch)
    for step, batch in enumerate(batches.training(epoch, fabric)):
        torch.manual_seed(torch_seed(batches.recipe.seed, stream, epoch=epoch, step=step, item=fabric.global_rank))
        yield step, batch
        shown.step((step + 1) / steps, batch.total, describe)


def descend(fabric: Fabric, model: nn.Module, optimiser: Any, loss: Tensor, clip: float) -> None:
    """Update the weights by the gradient of a scalar loss, whose norm is clipped to ``clip`` (0 for no clipping)."""
    optimiser.zero_grad()
    fabric.backward(loss)
    if clip:
        fabric.clip_gradients(model, optimiser, max_norm=clip, error_if_nonfinite=False)
    optimiser.step()
