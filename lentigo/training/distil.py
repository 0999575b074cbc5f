"""Knowledge distillation: the predictions of trained networks on the student's augmented images as targets."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from copy import deepcopy

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse
from torch.nn.utils.fusion import fuse_conv_bn_eval

from lentigo.config.recipe import DistilRecipe
from lentigo.networks import Network
from lentigo.networks.attention import CoordinateAttention


class Teachers:
    """Trained networks whose mean softmax is the student's target (Hinton et al. 2015; Beyer et al., CVPR 2022).

    This is not a module, so that checkpoints of the student do not contain the teachers' weights.

    Args:
        networks: trained networks with the student's classes.
        recipe: temperature and weight of the loss term, number of views, size of the images, precision.
    """

    def __init__(self, networks: Sequence[Network], recipe: DistilRecipe) -> None:
        self.networks = [
            fold(network.eval().requires_grad_(False)).to(memory_format=torch.channels_last) for network in networks
        ]
        self.weight = recipe.weight
        self.temperature = recipe.temperature
        self.views = recipe.views
        self.size = recipe.size
        self.bfloat16 = recipe.precision == "bf16-mixed"

    def to(self, device: torch.device) -> None:
        """Move the networks to a device."""
        for network in self.networks:
            network.to(device)

    @torch.no_grad()
    def targets(self, images: Tensor) -> Tensor:
        """Return the mean softmax (N, K) over teachers and views, at the temperature, of images (N, 3, S, S)."""
        if self.size is not None and images.shape[-1] < self.size:
            images = F.interpolate(images, (self.size, self.size), mode="bilinear", align_corners=False)
        with torch.autocast(images.device.type, torch.bfloat16) if self.bfloat16 else nullcontext():
            answers = [
                F.softmax(network(view(images, number)).float() / self.temperature, dim=1)
                for number in range(self.views)
                for network in self.networks
            ]
        return torch.stack(answers).mean(0)

    def loss(self, logits: Tensor, images: Tensor) -> Tensor:
        """Compute ``T^2 KL(teachers || student)``, averaged over the batch.

        Args:
            logits: the student's, (N, K).
            images: the student's input, (N, 3, S, S).
        """
        student = F.log_softmax(logits.float() / self.temperature, dim=1)
        return self.temperature**2 * F.kl_div(student, self.targets(images), reduction="batchmean")


def fold(network: Network) -> nn.Module:
    """Fold batch normalisation into the preceding convolutions, for inference.

    On a CPU, MobileNetV3-CaCo and the SE network then take two thirds of the time.

    Returns:
        A folded copy; the network itself if it cannot be traced.
    """
    try:
        folded = deepcopy(network)
        for layer in folded.modules():
            if isinstance(layer, CoordinateAttention):  # its convolution is not a node of the trace
                layer.conv, layer.norm = fuse_conv_bn_eval(layer.conv, layer.norm), nn.Identity()  # type: ignore[assignment]
        return fuse(folded, inplace=True)
    except Exception:  # tracing raises many errors, such as for control flow
        return network


def view(images: Tensor, number: int) -> Tensor:
    """Return one of the eight mirrored and rotated views of square images; 0 is the image, 1 its mirror image."""
    turned = torch.rot90(images, number // 2, (2, 3))
    return turned.flip(3) if number % 2 else turned
