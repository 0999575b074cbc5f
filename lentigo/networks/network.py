"""The interface of lentigo's networks: features, then a pooled head."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from lentigo.errors import NetworkError


@dataclass(frozen=True, slots=True)
class LoadReport:
    """The parameters of a network that were loaded from a pretrained file.

    Attributes:
        source: the file, or ``imagenet``.
        loaded: parameters of the backbone that were loaded.
        expected: parameters of the backbone that also exist in the architecture of the file.
        new: parameters of the backbone that start untrained.
        head: whether the hidden layer of the head was loaded too.
        folded: whether batch normalisation was folded into the weights; see
            `lentigo.networks.graph_weights.refit_norms`.
    """

    source: str
    loaded: int
    expected: int
    new: int
    head: bool = False
    folded: bool = False

    @property
    def fraction(self) -> float:
        """Loaded over expected parameters, 0 to 1."""
        return self.loaded / self.expected if self.expected else 0.0

    @property
    def record(self) -> dict[str, str | float]:
        """Return the report for ``run.json``."""
        return {
            "source": self.source,
            "fraction": self.fraction,
            "loaded": self.loaded,
            "expected": self.expected,
            "new": self.new,
        }

    def __str__(self) -> str:
        text = (
            f"pretrained: {self.loaded:,} of {self.expected:,} parameters of the backbone ({self.fraction:.1%}) from"
            f" {self.source}"
        )
        return f"{text}; {self.new:,} parameters start untrained" if self.new else text


class PooledHead(nn.Module):
    """Global average pooling, then one or two linear layers.

    mean over h, w -> [linear -> [batch norm ->] activation ->] dropout -> linear. Grad-CAM has a closed form for this
    head.

    Args:
        channels: C of the feature maps.
        classes: K, the number of outputs.
        hidden: width of the hidden layer; None for a single linear layer.
        activation: element-wise, after the hidden layer; ignored without one.
        dropout: fraction of the embedding dropped in training, 0 to 1.
        norm: after the hidden layer, before the activation; ignored without a hidden layer.
        bias: whether the hidden layer has one.
    """

    hidden: nn.Linear | None
    norm: nn.Module
    activation: nn.Module
    dropout: nn.Dropout
    output: nn.Linear

    def __init__(
        self,
        channels: int,
        classes: int,
        *,
        hidden: int | None = None,
        activation: nn.Module | None = None,
        dropout: float = 0.0,
        norm: nn.BatchNorm1d | None = None,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.hidden = None if hidden is None else nn.Linear(channels, hidden, bias=bias)
        self.norm = nn.Identity() if hidden is None or norm is None else norm
        self.activation = nn.Identity() if hidden is None or activation is None else activation
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(channels if hidden is None else hidden, classes)

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Classify feature maps.

        Args:
            maps: (N, C, h, w).

        Returns:
            Logits (N, K) and the embedding (N, D), which is the input of the last layer before dropout.
        """
        embedding = maps.mean((2, 3))  # (N, C)
        if self.hidden is not None:
            embedding = self.activation(self.norm(self.hidden(embedding)))  # (N, D)
        return self.output(self.dropout(embedding)), embedding

    def norm_slope(self) -> Tensor:
        """Return the derivative (D,) of the hidden layer's batch normalisation in evaluation; ones without one."""
        if isinstance(self.norm, nn.BatchNorm1d) and self.norm.running_var is not None:
            return self.norm.weight * torch.rsqrt(self.norm.running_var + self.norm.eps)
        return torch.ones_like(self.output.weight[0])


class Network(nn.Module, ABC):
    """A classifier made of a backbone and a head.

    Attributes:
        name: the registered name it was created by.
        head: the pooled head; None for another kind (then there is no closed-form class-activation map).
        load_report: the loaded parameters; None from scratch.
    """

    head: PooledHead | None

    def __init__(self) -> None:
        super().__init__()
        self.name = ""
        self.load_report: LoadReport | None = None

    @abstractmethod
    def forward_features(self, x: Tensor) -> Tensor:
        """Feature maps (N, C, h, w) of normalised images (N, 3, S, S)."""

    def load_backbone(self, source: Literal["imagenet"] | Path) -> None:
        """Load pretrained weights, and set ``load_report``.

        Args:
            source: ``imagenet`` for the original library's weights, or a file with its parameter names or this class's.

        Raises:
            NetworkError: the weights are not available, or are of another architecture.
        """
        raise NetworkError(f"{self.name} takes no weights of another library")

    @abstractmethod
    def forward_head(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (N, K) and embedding (N, D) of feature maps (N, C, h, w)."""

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, K) of normalised images (N, 3, S, S)."""
        return self.forward_head(self.forward_features(x))[0]


class PooledNetwork(Network):
    """A network whose head is a :class:`PooledHead`.

    Args:
        head: the head, for the backbone's C channels.
    """

    head: PooledHead

    def __init__(self, head: PooledHead) -> None:
        super().__init__()
        self.head = head

    def forward_head(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (N, K) and embedding (N, D) of feature maps (N, C, h, w)."""
        logits, embedding = self.head(maps)
        return logits, embedding


def initialise(module: nn.Module) -> None:
    """Initialise as torchvision's MobileNetV3: Kaiming normal convolutions, normal linear weights, zero biases."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv1d | nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.ones_(layer.weight)
            nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, 0, 0.01)
            nn.init.zeros_(layer.bias)
