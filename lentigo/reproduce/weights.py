"""Find the initial ImageNet weights of a row."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Literal

from lentigo.config.recipe import Recipe
from lentigo.errors import NetworkError
from lentigo.networks import create_network

WEIGHTS = "LENTIGO_WEIGHTS"
Start = Literal["imagenet", "scratch"]


def find_weights(recipe: Recipe) -> tuple[Start, Mapping[str, str | None], str]:
    """Find a network's ImageNet weights in the file LENTIGO_WEIGHTS or in its library.

    Returns:
        ``imagenet`` or ``scratch``, the necessary changes of environment variables (the file may belong to another
        network), and the reason for ``scratch``.

    Raises:
        NetworkError: an unknown network or invalid options.
    """
    chosen = recipe.network
    create_network(chosen.name, classes=2, **chosen.options)
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # timm's source of weights, which logs each attempt
    reasons = []
    changes: list[dict[str, str | None]] = [{}, {WEIGHTS: None}] if os.environ.get(WEIGHTS) else [{}]
    for environment in changes:
        weights = "imagenet" if environment else chosen.weights()
        try:
            create_network(chosen.name, classes=2, pretrained=weights, **chosen.options)
        except NetworkError as error:
            reasons.append(str(error).partition(";")[0])
        else:
            return "imagenet", environment, ""
    return "scratch", {}, reasons[-1]
