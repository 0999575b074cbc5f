"""Find the ImageNet weights that a row starts from."""

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
    """Whether a network's ImageNet weights are at hand: in the file that LENTIGO_WEIGHTS names, or from its library.

    Returns:
        ``imagenet`` or ``scratch``, the change of the environment that it takes (the file may be another network's),
        and why it is ``scratch``.

    Raises:
        NetworkError: no such network, or options that it does not take.
    """
    chosen = recipe.network
    create_network(chosen.name, classes=2, **chosen.options)
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # where timm's weights come from; it reports each try
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
