"""Read and write the files of a run folder. Only networks and checkpoints need torch."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from lentigo.config.recipe import Recipe, load_recipe
from lentigo.errors import LentigoError, OutputError, TrainingError, first_line
from lentigo.files import atomic_path, write_text
from lentigo.labels import ClassLabel, LabelSet

if TYPE_CHECKING:
    from torch import Tensor

    from lentigo.networks import Network

RECIPE, SPLIT, EXTRA, LOG, RECORD = "recipe.yaml", "split.csv", "extra.csv", "log.csv", "run.json"
LAST, BEST = Path("checkpoints") / "last.ckpt", Path("checkpoints") / "best.ckpt"
PRETRAIN, PRETRAIN_LOG = Path("checkpoints") / "pretrain.ckpt", "pretrain.csv"
Row = dict[str, float | int]
FORMAT = 2
"""Format of the checkpoints for resuming; 1 was the state of another training engine."""


@dataclass(frozen=True)
class Run:
    """A run folder, opened.

    Attributes:
        folder: the folder.
        recipe: the resolved recipe.
        record: content of ``run.json``.
    """

    folder: Path
    recipe: Recipe
    record: dict[str, Any]

    @property
    def labels(self) -> LabelSet:
        """The classes, in the order of the network's outputs."""
        return LabelSet(str(self.record["data"]), tuple(ClassLabel(**c) for c in self.record["labels"]))

    @property
    def log(self) -> pd.DataFrame:
        """``log.csv``, one row per epoch."""
        return pd.read_csv(self.folder / LOG)

    @property
    def finished(self) -> bool:
        """Whether the run is finished."""
        return bool(self.record["finished"])

    def network(self) -> Network:
        """Load the trained network of ``best.ckpt``, in evaluation mode, on the CPU.

        Raises:
            TrainingError: the checkpoint is missing, damaged or of another network.
        """
        from lentigo.networks import create_network

        state = read_checkpoint(self.folder / BEST)
        network = create_network(self.recipe.network.name, classes=len(self.labels), **self.recipe.network.options)
        try:
            network.load_state_dict(state["network"])
        except (KeyError, RuntimeError):
            raise TrainingError(
                f"{self.folder / BEST}: not a checkpoint of {self.recipe.network.name} with {len(self.labels)} classes"
            ) from None
        return network.eval()


def load_run(folder: str | Path) -> Run:
    """Open a run folder.

    Raises:
        TrainingError: the folder is not a run folder.
        RecipeError: its recipe is not valid.
    """
    path = Path(folder)
    try:
        record: dict[str, Any] = json.loads((path / RECORD).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise TrainingError(f"{path}: not a run folder (no {RECORD}); lentigo train writes one") from None
    except (OSError, ValueError) as error:
        raise TrainingError(f"{path / RECORD}: cannot be read ({error})") from None
    return Run(path, load_recipe(path / RECIPE), record)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint's plain values and tensors; nothing else is unpickled.

    Raises:
        TrainingError: the checkpoint is missing or damaged.
    """
    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise TrainingError(
            f"{path}: no such checkpoint; the run has not finished an epoch at its last image size"
        ) from None
    except Exception as error:  # the unpickler may raise any error on damaged bytes
        raise TrainingError(f"{path}: damaged, or not a checkpoint of lentigo ({first_line(error)})") from None
    if not isinstance(state, dict):
        raise TrainingError(f"{path}: not a checkpoint of lentigo")
    return state


def read_resumable(path: Path) -> dict[str, Any] | None:
    """Read the checkpoint to resume from; None if there is none yet.

    Raises:
        TrainingError: the checkpoint is damaged, or of another version.
    """
    if not path.is_file():
        return None
    state = read_checkpoint(path)
    if state.get("format") != FORMAT:
        raise TrainingError(
            f"{path}: written by another version of lentigo, whose unfinished runs this version cannot resume; "
            "finish the run with that version, or start a new one with --out FOLDER"
        )
    return state


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint atomically.

    Raises:
        OutputError: the file cannot be written.
    """
    import torch

    try:
        with atomic_path(path) as temporary:
            torch.save(content, temporary)
    except LentigoError:
        raise
    except RuntimeError as error:  # torch's writer wraps errors of the disk
        raise OutputError(f"{path}: cannot be written ({first_line(error)})") from None


class RunWriter:
    """Writer of a run folder: after each epoch, the checkpoint first, then the log.

    Args:
        folder: the run folder.
        checkpoint: path of the checkpoint for resuming, within the folder.
        log: path of the CSV with one row per epoch, within the folder.
        started: start of this session, by ``time.monotonic``.
        state: the checkpoint to resume from; None for a new run.
    """

    def __init__(
        self, folder: Path, checkpoint: Path, log: str, started: float, state: Mapping[str, Any] | None = None
    ) -> None:
        self.folder, self.checkpoint, self.log = folder, folder / checkpoint, folder / log
        self.started = started
        self.history: list[Row] = list(state["history"]) if state else []
        self.earlier = float(state["seconds"]) if state else 0.0

    @property
    def seconds(self) -> float:
        """Seconds of training so far, over all sessions."""
        return self.earlier + time.monotonic() - self.started

    def save(self, row: Row, state: Mapping[str, Any]) -> None:
        """Save an epoch: its row of the log, and the state for resuming, of plain values and tensors.

        Raises:
            OutputError: a file cannot be written.
        """
        self.history.append(row)
        save_checkpoint(self.checkpoint, {"format": FORMAT, **state, "history": self.history, "seconds": self.seconds})
        write_text(self.log, pd.DataFrame(self.history).to_csv(index=False, float_format="%.9g", lineterminator="\n"))


def save_best(folder: Path, weights: Mapping[str, Tensor], row: Row) -> None:
    """Write ``best.ckpt``: the selected weights, and their epoch's row of the log.

    Raises:
        OutputError: the file cannot be written.
    """
    network = {name: value.detach().cpu() for name, value in weights.items()}
    save_checkpoint(folder / BEST, {"format": 1, "network": network, "epoch": row["epoch"], "figures": row})


def write_record(folder: Path, record: Mapping[str, Any]) -> None:
    """Write ``run.json``."""
    write_text(folder / RECORD, json.dumps(record, indent=2, ensure_ascii=False) + "\n")


def update_record(folder: Path, **changes: Any) -> None:
    """Change some keys of ``run.json``."""
    write_record(folder, load_run(folder).record | changes)
