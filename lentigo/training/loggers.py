"""Experiment loggers: Fabric's for TensorBoard and CSV files, and the clients of MLflow and Weights & Biases."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING, Any, Self, cast

from lentigo.errors import TrainingError, did_you_mean
from lentigo.text import one_line

if TYPE_CHECKING:
    from lentigo.training.rundir import Row  # imports torch, which checking names does not need

LOGGERS = {"csv": "lightning_fabric", "mlflow": "mlflow", "tensorboard": "tensorboard", "wandb": "wandb"}
"""The package that each logger needs."""


def check_loggers(names: Sequence[str]) -> None:
    """Check that loggers are known and installed.

    Raises:
        TrainingError: a logger is unknown or not installed.
    """
    for name in names:
        if name not in LOGGERS:
            raise TrainingError(f"no logger {name!r}{did_you_mean(name, LOGGERS)}")
        if find_spec(LOGGERS[name]) is None:
            extra = "train" if name == "csv" else name
            raise TrainingError(f"logger {name} needs the package {LOGGERS[name]}: pip install 'lentigo[{extra}]'")


class Loggers:
    """The loggers of one run. A logger that fails is closed and training continues: ``log.csv`` has all figures.

    Files of TensorBoard and CSV are in the run folder; each session rewrites them, including the earlier epochs. MLflow
    logs to ``MLFLOW_TRACKING_URI``, or to ``mlflow.db`` beside the run folder. MLflow and Weights & Biases continue
    their existing run.

    Args:
        names: keys of ``LOGGERS``.
        folder: the run folder, with its record.
        history: log rows of the epochs so far.
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
        """Log the figures of an epoch (from 1); called by Fabric."""
        for name in list(self.open):
            self._try(name, self._log, metrics, step)

    def _try(self, name: str, action: Callable[..., None], *arguments: Any) -> None:
        try:
            action(name, *arguments)
        except Exception as error:  # loggers and their servers may raise any error
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
            if name != "csv":  # it cannot store them; they are in the run folder
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


def _name(folder: Path) -> str:
    """Return the name of a run in Weights & Biases: its folder's, in printable Unicode, of at most 128 characters."""
    return one_line(folder.resolve().name)[:128] or "run"


class _MLflow:
    """One MLflow run, by the client, without the process-wide state of ``mlflow.start_run``.

    Args:
        folder: the run folder, which gives the run its name.
        known: id of the run to continue.
    """

    def __init__(self, folder: Path, known: str | None) -> None:
        from mlflow.tracking import MlflowClient

        # By default the client tries eight times, two minutes each, if a server accepts connections but does not
        # answer.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        folder = folder.resolve()
        address = (
            os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{str(folder.parent / 'mlflow.db').replace('%', '%25')}"
        )
        if address.startswith("sqlite:") and "?" in str(folder.parent):  # its parameters would begin there
            raise TrainingError(f"no mlflow.db can lie in {folder.parent}: rename the folder with '?' in its name")
        self.client = MlflowClient(address)
        if known is None:
            experiment = self.client.get_experiment_by_name("lentigo")
            number = experiment.experiment_id if experiment else self.client.create_experiment("lentigo")
            known = self.client.create_run(number, run_name=folder.name).info.run_id
        else:
            self.client.update_run(known, status="RUNNING")
        self.version: str = known

    def log_hyperparams(self, params: Mapping[str, Any]) -> None:
        """Log parameters; nested names are joined by a slash."""
        from pandas import json_normalize

        for name, value in json_normalize(dict(params), sep="/").iloc[0].items():
            self.client.log_param(self.version, str(name), value)

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        for name, value in metrics.items():
            self.client.log_metric(self.version, name, value, step=step)

    def save(self) -> None:
        """Do nothing: each figure is stored when it is logged."""

    def finalize(self, status: str) -> None:
        self.client.set_terminated(self.version, "FINISHED" if status == "success" else "FAILED")


class _WandB:
    """One run of Weights & Biases; the arguments are those of ``_MLflow``."""

    def __init__(self, folder: Path, known: str | None) -> None:
        import wandb

        self.run = wandb.init(project="lentigo", name=_name(folder), dir=folder, id=known, resume="allow")
        self.version: str = self.run.id

    def log_hyperparams(self, params: Mapping[str, Any]) -> None:
        cast(Any, self.run.config).update(dict(params))

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        self.run.log(dict(metrics), step=step)

    def save(self) -> None:
        """Do nothing: a process of the library sends the figures."""

    def finalize(self, status: str) -> None:
        self.run.finish(exit_code=int(status != "success"))


def create_logger(name: str, folder: Path, known: str | None) -> Any:
    """Create a logger with the methods of Fabric's loggers.

    Args:
        name: a key of ``LOGGERS``.
        folder: the run folder.
        known: id of the existing run in MLflow or Weights & Biases.
    """
    from lightning_fabric.loggers.csv_logs import CSVLogger
    from lightning_fabric.loggers.tensorboard import TensorBoardLogger

    if name in ("mlflow", "wandb"):
        return (_MLflow if name == "mlflow" else _WandB)(folder, known)
    rmtree(folder / name, ignore_errors=True)
    kind = TensorBoardLogger if name == "tensorboard" else CSVLogger
    return kind(folder, name=name, version="")
