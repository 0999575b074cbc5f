"""Experiment loggers for TensorBoard, MLflow, Weights & Biases and CSV, by Lightning's own loggers."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING, Any, Self

from lentigo.errors import TrainingError, did_you_mean

if TYPE_CHECKING:
    from lentigo.training.rundir import Row  # loads torch, which a check of names can do without

LOGGERS = {"csv": "lightning", "mlflow": "mlflow", "tensorboard": "tensorboard", "wandb": "wandb"}
"""Each logger, and the package that it needs."""


def check_loggers(names: Sequence[str]) -> None:
    """Refuse loggers that are unknown or not installed.

    Raises:
        TrainingError: one is.
    """
    for name in names:
        if name not in LOGGERS:
            raise TrainingError(f"no logger {name!r}{did_you_mean(name, LOGGERS)}")
        if find_spec(LOGGERS[name]) is None:
            extra = "train" if name == "csv" else name
            raise TrainingError(f"logger {name} needs the package {LOGGERS[name]}: pip install 'lentigo[{extra}]'")


class Loggers:
    """The loggers of one run. A logger that fails is given up and training goes on: ``log.csv`` has all figures.

    TensorBoard's and CSV files lie in the run folder, and are written anew by each session, with the epochs before.
    MLflow logs to ``MLFLOW_TRACKING_URI``, or to ``mlflow.db`` beside the run folder, and goes on with the run it
    began; so does Weights & Biases.

    Args:
        names: of ``LOGGERS``.
        folder: the run folder, begun.
        history: the epochs so far.
        say: prints one line to the user.
    """

    def __init__(self, names: Sequence[str], folder: Path, history: Sequence[Row], say: Callable[[str], None]) -> None:
        self.folder, self.history, self.say = folder, history, say
        self.open: dict[str, Any] = {}
        for name in dict.fromkeys(names):
            self._try(name, self._begin)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        for name in list(self.open):
            self._try(name, self._close, "success" if kind is None else "failed")

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Log figures of an epoch, counted from 1; called by Fabric."""
        for name in list(self.open):
            self._try(name, self._log, metrics, step)

    def _try(self, name: str, action: Callable[..., None], *arguments: Any) -> None:
        try:
            action(name, *arguments)
        except Exception as error:  # what loggers and their servers raise is anything
            self.open.pop(name, None)
            self.say(
                f"logger {name} fails ({type(error).__name__}: {' '.join(str(error).split())[:200]}); training goes on"
                " without it"
            )

    def _begin(self, name: str) -> None:
        from lentigo.training.rundir import load_run, update_record

        run = load_run(self.folder)
        known: dict[str, str] = run.record.get("loggers", {})
        logger = create_logger(name, self.folder, known.get(name))
        if name not in known:
            facts = {key: run.record[key] for key in ("data", "fingerprint", "versions", "hardware")}
            logger.log_hyperparams({"recipe": run.recipe.model_dump(mode="json"), **facts})
            self.open[name] = logger
            for row in self.history:
                self._log(name, row, int(row["epoch"]))
        if name in ("mlflow", "wandb"):
            update_record(self.folder, loggers=known | {name: str(logger.version)})
        self.open[name] = logger

    def _log(self, name: str, metrics: Mapping[str, float], step: int) -> None:
        self.open[name].log_metrics(dict(metrics), step)
        self.open[name].save()

    def _close(self, name: str, status: str) -> None:
        self.open[name].finalize(status)
        if name == "wandb":
            self.open[name].experiment.finish(exit_code=int(status != "success"))


def create_logger(name: str, folder: Path, known: str | None) -> Any:
    """A logger of Lightning.

    Args:
        name: of ``LOGGERS``.
        folder: the run folder.
        known: id under which MLflow or Weights & Biases know the run already.
    """
    from lightning.pytorch import loggers

    if name == "mlflow":
        store = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{folder.resolve().parent / 'mlflow.db'}"
        return loggers.MLFlowLogger("lentigo", folder.resolve().name, store, run_id=known)
    if name == "wandb":
        return loggers.WandbLogger(folder.resolve().name, save_dir=folder, project="lentigo", id=known)
    rmtree(folder / name, ignore_errors=True)
    kind = loggers.TensorBoardLogger if name == "tensorboard" else loggers.CSVLogger
    return kind(folder, name=name, version="")
