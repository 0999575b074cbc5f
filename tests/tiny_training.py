"""A few small pictures in three classes, a recipe that uses every part of training, and one whole run of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from tiny_data import folder

from lentigo.config import Recipe, parse_recipe
from lentigo.training import train
from lentigo.training.batches import Batch
from lentigo.training.streams import Draws, Stream

RECIPE: dict[str, Any] = {
    "name": "tiny",
    "description": "every part of training on a few small pictures",
    "data": {"protocol": "image", "fractions": [0.6, 0.2, 0.2]},
    "network": {"name": "mobilenetv3_small_caco", "options": {"stochastic_depth": 0.1}, "pretrained": "none"},
    "loss": {"name": "joint", "weight_exponent": 0.5, "drw_epoch": 2},
    "optimiser": {"lr": 2e-3, "decay_norm_and_bias": False, "head_lr": 2.0, "layer_decay": 0.9},
    "schedule": {"name": "plateau", "warmup": 0.5, "patience": 0},
    "epochs": 4,
    "batch": 8,
    "sizes": [{"from_epoch": 0, "size": 32}, {"from_epoch": 2, "size": 40}],
    "ema": 0.9,
    "clip": 1.0,
    "sampling": 0.5,
    "monitor": "val_loss",
    "augment": {
        "rotation": 30,
        "scale": [0.8, 1.25],
        "translation": 0.1,
        "colour": {"brightness": 0.2, "hue": 0.02, "cast": 0.05},
        "erase": 0.2,
        "mixup": 0.2,
        "cutmix": 1.0,
        "degrade": {"share": 0.3, "vignette": 0.2, "marks": 0.2, "jpeg": 0.2},
    },
}

LOG = ["epoch", "size", "lr", "train_loss", "val_loss", "val_accuracy", "val_balanced_accuracy"]
"""The columns of a log that do not depend on the clock."""


def recipe(**changes: Any) -> Recipe:
    """The recipe with some of its top-level keys replaced."""
    return parse_recipe(RECIPE | changes)


@cache
def _place() -> TemporaryDirectory[str]:
    return TemporaryDirectory(prefix="lentigo-tests-")


@cache
def data() -> Path:
    """Pictures of three classes, 40 in all."""
    return folder(Path(_place().name) / "data", {"naevus": 20, "melanoma": 12, "wart": 8}, size=40)


@cache
def cache_folder() -> Path:
    """Where the decoded pictures lie."""
    return Path(_place().name) / "cache"


def run_into(out: Path, chosen: Recipe | None = None, *, source: Path | None = None, resume: bool = False) -> Path:
    """Train on the CPU."""
    return train(
        chosen or recipe(),
        source or data(),
        out=out,
        resume=resume,
        accelerator="cpu",
        progress=False,
        cache=cache_folder(),
    )


@cache
def whole_run() -> Path:
    """A run that nothing broke; copy it before changing anything in it."""
    return run_into(Path(_place().name) / "run")


@dataclass(frozen=True)
class Given(Draws):
    """Draws of which some tables are given."""

    tables: dict[Stream, torch.Tensor] = field(default_factory=dict)

    def table(self, stream: Stream, columns: int) -> torch.Tensor:
        """A given table, or a drawn one."""
        return self.tables[stream] if stream in self.tables else super().table(stream, columns)


def given(total: int, tables: dict[Stream, torch.Tensor] | None = None, seed: int = 0) -> Given:
    """The draws of a first step."""
    return Given(seed, 0, 0, total, tables=tables or {})


def batch_of(images: torch.Tensor) -> Batch:
    """A whole batch whose targets do not matter."""
    return Batch(images, torch.zeros(len(images), dtype=torch.int64), len(images))


# Trains, and kills itself without warning in the middle of an epoch.
_KILLED = """
import os, signal, sys
from pathlib import Path
from tiny_training import recipe
from lentigo.training import train, {module}

class Dies({module}.Draws):
    def generator(self, stream):
        if (self.epoch, self.step) == ({epoch}, 1):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().generator(stream)

{module}.Draws = Dies
out, data, cache = map(Path, sys.argv[1:])
train(recipe(**{changes!r}), data, out=out, accelerator="cpu", progress=False, cache=cache)
"""


def train_until_killed(out: Path, module: str, epoch: int, **changes: Any) -> None:
    """Train in a process that is killed in the middle of an epoch (from 0) of ``loop`` or ``pretrain``."""
    program = _KILLED.format(module=module, epoch=epoch, changes=changes)
    paths = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    killed = subprocess.run(
        [sys.executable, "-c", program, str(out), str(data()), str(cache_folder())],
        env=os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": str(torch.get_num_threads())},
        capture_output=True,
        text=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
