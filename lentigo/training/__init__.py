"""Training: typed recipes, augmentation on the device, and runs that can be stopped and resumed.

Recipes are read without torch; the rest is loaded when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lentigo.training.recipe import Recipe, list_recipes, load_recipe, parse_recipe, recipe_names, to_yaml

if TYPE_CHECKING:
    from lentigo.training.folder import Run, load_run
    from lentigo.training.run import describe, train

__all__ = ["Recipe", "Run", "describe", "list_recipes", "load_recipe", "load_run", "parse_recipe", "recipe_names", "to_yaml", "train"]

_LAZY = {"Run": "folder", "load_run": "folder", "describe": "run", "train": "run"}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(f"lentigo.training.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
