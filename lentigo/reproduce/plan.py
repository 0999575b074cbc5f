"""Which runs a table or a sweep needs, and what lies in their folders already."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from lentigo.config.recipe import Recipe, load_recipe, recipe_differences
from lentigo.errors import LentigoError, NetworkError
from lentigo.networks import create_network
from lentigo.training.rundir import RECIPE, load_run

WEIGHTS = "LENTIGO_WEIGHTS"
Start = Literal["imagenet", "scratch"]
# A run by a recipe that differs in these alone is the same run.
_FREE = frozenset({"description"})


@dataclass(frozen=True)
class Job:
    """One run that is wanted."""

    title: str  # such as ``caco-joint seed 1``
    base: str  # the recipe that it starts from, as ``lentigo train`` takes it
    overrides: tuple[str, ...]  # ``key=value``
    recipe: Recipe  # both together, resolved
    folder: Path
    environment: Mapping[str, str | None] = field(default_factory=dict)  # changes of it; None removes a variable

    def command(self, data: Path, *, resume: bool) -> list[str]:
        """The command that trains it."""
        words = ["train", self.base, "--data", str(data), "--out", str(self.folder), "--quiet"]
        changes = [word for override in self.overrides for word in ("--set", override)]
        return [sys.executable, "-m", "lentigo", *words, *changes, *(["--resume"] if resume else [])]

    def epochs_done(self) -> int:
        """Epochs on disk."""
        try:
            return max(0, len((self.folder / "log.csv").read_text(encoding="utf-8").splitlines()) - 1)
        except OSError:
            return 0


@dataclass(frozen=True)
class State:
    """State of a job's folder: ``done`` (reused), ``begun`` (resumed), ``absent`` (trained) or ``blocked``."""

    kind: Literal["done", "begun", "absent", "blocked"]
    reason: str = ""  # why it is blocked


def inspect(job: Job, fingerprint: str | None) -> State:
    """Look into the folder of a job.

    Args:
        job: what is wanted there.
        fingerprint: of the data; None where the data are not at hand.
    """
    folder = job.folder
    damaged = "the run folder is damaged: move it away to train it anew"
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return State("absent")
    if not (folder / RECIPE).is_file():
        return State("blocked", f"{folder}: is there and is no run folder; move it away")
    try:
        differences = [key for key in recipe_differences(job.recipe, load_recipe(folder / RECIPE)) if key not in _FREE]
        if differences:
            what = f"holds a run by another recipe ({', '.join(differences)} differ)"
            return State("blocked", f"{folder}: {what}; move it away, or use --runs")
        if not (folder / "run.json").is_file():
            return State("begun")
        record = load_run(folder).record
        begun_on, finished = str(record["fingerprint"]), bool(record["finished"])
    except LentigoError as error:
        return State("blocked", f"{error}; {damaged}")
    except (KeyError, TypeError):
        return State("blocked", f"{folder / 'run.json'}: is no record of a run; {damaged}")
    if fingerprint is not None and begun_on != fingerprint:
        what = f"was trained on other data (fingerprint {begun_on[:12]}…, now {fingerprint[:12]}…)"
        return State("blocked", f"{folder}: {what}; use --runs")
    if finished and not (folder / "predictions" / "test.csv").is_file():
        return State("blocked", f"{folder}: has no predictions/test.csv; {damaged}")
    return State("done" if finished else "begun")


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


class WeightsAtHand:
    """``find_weights``, called once a network."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[Start, Mapping[str, str | None], str]] = {}

    def __call__(self, recipe: Recipe) -> tuple[Start, Mapping[str, str | None], str]:
        """See ``find_weights``."""
        key = recipe.network.model_dump_json()
        if key not in self._known:
            self._known[key] = find_weights(recipe)
        return self._known[key]
