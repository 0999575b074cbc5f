"""The optimiser, and moving averages of the weights."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn

from lentigo.config.recipe import OptimiserRecipe
from lentigo.networks import Network


class RunningAverage(nn.Module):
    """A moving average of a network's weights and statistics, a' = a + weight (w - a).

    PyTorch's ``AveragedModel`` reads its counter back at each step, which makes a GPU wait.

    Args:
        network: the network to average.

    Attributes:
        module: the averaged network.
    """

    module: Network

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.module = deepcopy(network).requires_grad_(False)

    @torch.no_grad()
    def update(self, network: Network, weight: float) -> None:
        """Add the network's current weights to the average.

        Args:
            network: the network to average, with the same layers as at the beginning.
            weight: of its current weights, 0 to 1.
        """
        torch._foreach_lerp_(self._tensors(self.module), self._tensors(network), weight)

    @staticmethod
    def _tensors(network: Network) -> list[Tensor]:
        # Integer counters of batches are not averaged; nothing reads them.
        return [t for t in (*network.parameters(), *network.buffers()) if t.is_floating_point()]


def ema_weight(decay: float, done: int) -> float:
    """Return the weight of the current weights in an exponential moving average, 0 to 1.

    The decay at step n is min(decay, n / (9 + n)), so the initial weights lose their influence quickly.

    Args:
        decay: final decay, 0 to 1.
        done: n, the number of steps before this one.
    """
    return 1 - min(decay, done / (9 + done))


def create_optimiser(network: Network, recipe: OptimiserRecipe, *, fused: bool = True) -> torch.optim.Optimizer:
    """Create the optimiser, with parameters grouped by weight decay and by factor on the learning rate.

    A fused step passes over the weights once: on a CPU it takes a thirteenth of the time for VGG16's 134 M parameters.
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
    """Count the blocks between each parameter and the head, from 0.

    The block of a parameter is its name up to the first number, such as ``features.4`` or ``layer2.0``. Blocks have the
    order of the names.

    Args:
        names: names of the parameters before the head, in the network's order.

    Returns:
        The number of blocks, by name.
    """
    blocks: dict[str, int] = {}
    found = []
    for name in names:
        parts = name.split(".")
        numbers = [i for i, part in enumerate(parts) if part.isdigit()]
        block = ".".join(parts[: numbers[0] + 1] if numbers else parts[:1])
        found.append(blocks.setdefault(block, len(blocks)))
    return {name: len(blocks) - 1 - place for name, place in zip(names, found, strict=True)}
