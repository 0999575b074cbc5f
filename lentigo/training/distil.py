"""Knowledge distillation: learning what trained networks say of the very images that the student sees."""

from __future__ import annotations

from collections.abc import Sequence
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
    """Trained networks whose mean softmax the student learns (Hinton et al. 2015; Beyer et al., CVPR 2022).

    No module, so that the teachers' weights stay out of the student's checkpoints.

    Args:
        networks: trained networks with the student's classes.
        recipe: temperature and weight of the term, views of an image and their size.
    """

    def __init__(self, networks: Sequence[Network], recipe: DistilRecipe) -> None:
        self.networks = [
            fold(network.eval().requires_grad_(False)).to(memory_format=torch.channels_last) for network in networks
        ]
        self.weight = recipe.weight
        self.temperature = recipe.temperature
        self.views = recipe.views
        self.size = recipe.size

    def to(self, device: torch.device) -> None:
        """Move the networks."""
        for network in self.networks:
            network.to(device)

    @torch.no_grad()
    def targets(self, images: Tensor) -> Tensor:
        """The teachers' mean softmax at the temperature over their views, (N, K), of images (N, 3, S, S)."""
        if self.size is not None and images.shape[-1] < self.size:
            images = F.interpolate(images, (self.size, self.size), mode="bilinear", align_corners=False)
        answers = [
            F.softmax(network(view(images, number)).float() / self.temperature, dim=1)
            for number in range(self.views)
            for network in self.networks
        ]
        return torch.stack(answers).mean(0)

    def loss(self, logits: Tensor, images: Tensor) -> Tensor:
        """``T^2 KL(teachers || student)``, averaged over the batch.

        Args:
            logits: (N, K), the student's.
            images: (N, 3, S, S), what the student saw.
        """
        student = F.log_softmax(logits.float() / self.temperature, dim=1)
        return self.temperature**2 * F.kl_div(student, self.targets(images), reduction="batchmean")


def fold(network: Network) -> nn.Module:
    """A network that will learn no more, its batch normalisation folded into the convolutions before it.

    On a CPU MobileNetV3-CaCo and the SE network answer so in two thirds of the time.

    Returns:
        A folded copy; the network itself where it cannot be traced.
    """
    try:
        folded = deepcopy(network)
        for layer in folded.modules():
            if isinstance(layer, CoordinateAttention):  # its convolution is no step of the trace
                layer.conv, layer.norm = fuse_conv_bn_eval(layer.conv, layer.norm), nn.Identity()  # type: ignore[assignment]
        return fuse(folded, inplace=True)
    except Exception:  # a control flow that depends on the image, modules under odd names: tracing fails in many ways
        return network


def view(images: Tensor, number: int) -> Tensor:
    """One of the eight mirrored and turned views of square images; 0 is the image, 1 its mirror image."""
    turned = torch.rot90(images, number // 2, (2, 3))
    return turned.flip(3) if number % 2 else turned
