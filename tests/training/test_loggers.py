"""Experiment loggers: what TensorBoard's own reader, a local MLflow store and a CSV reader find of a run."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from tiny_training import cache_folder, data, recipe, whole_run

from lentigo.errors import TrainingError
from lentigo.training import load_run, loggers, train
from lentigo.training.loggers import Loggers, check_loggers, create_logger

FIGURES = ["lr", "train_loss", "val_loss", "val_accuracy", "val_balanced_accuracy", "images_per_second"]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole_run(), tmp_path / "50% #runs; %(x)s" / "=copy\n'é😀"))


def stop_after_third(run: Path, name: str, rows: list[Any], say: Callable[[str], None]) -> None:
    with Loggers([name], run, rows[:2], say) as session:
        session.log_metrics(rows[2], 3)
        raise KeyboardInterrupt


def log_two_sessions(run: Path, name: str) -> pd.DataFrame:
    """Log a run that was stopped after its third epoch and went on: the log."""
    log = load_run(run).log
    rows: list[Any] = log.to_dict("records")
    said: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        stop_after_third(run, name, rows, said.append)
    with Loggers([name], run, rows[:3], said.append) as session:
        session.log_metrics(rows[3], 4)
    assert not said
    return log


def test_tensorboards_reader_finds_each_epoch_once(copy: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    log = log_two_sessions(copy, "tensorboard")
    events = accumulator.EventAccumulator(str(copy / "tensorboard"))
    events.Reload()
    for name in FIGURES:
        found = events.Scalars(name)
        assert [event.step for event in found] == [1, 2, 3, 4]
        assert [event.value for event in found] == pytest.approx(log[name].tolist(), rel=1e-6)


def test_csv_holds_each_epoch_once(copy: Path) -> None:
    log = log_two_sessions(copy, "csv")
    found = pd.read_csv(copy / "csv" / "metrics.csv")
    assert found["step"].tolist() == [1, 2, 3, 4]
    for name in FIGURES:
        assert found[name].tolist() == pytest.approx(log[name].tolist())


def test_mlflow_store_holds_one_run_of_both_sessions(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tracking = pytest.importorskip("mlflow.tracking")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    log = log_two_sessions(copy, "mlflow")
    client = tracking.MlflowClient(f"sqlite:///{copy.parent / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("lentigo")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.run_id == load_run(copy).record["loggers"]["mlflow"]
    assert (run.info.run_name, run.info.status) == (copy.name, "FINISHED")
    assert float(run.data.params["recipe/optimiser/lr"]) == recipe().optimiser.lr
    assert run.data.params["fingerprint"] == load_run(copy).record["fingerprint"]
    for name in FIGURES:
        found = client.get_metric_history(run.info.run_id, name)
        assert [metric.step for metric in found] == [1, 2, 3, 4]
        assert [metric.value for metric in found] == pytest.approx(log[name].tolist())


def test_mlflow_is_refused_a_folder_that_its_address_cannot_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow.tracking")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(TrainingError, match=r"rename the folder with '\?'"):
        loggers.create_logger("mlflow", tmp_path / "why?" / "run", None)
    assert not list(tmp_path.iterdir())


def test_a_run_logs_as_it_trains_and_outlives_a_logger_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorboard")
    real = loggers.create_logger

    class Breaks:
        def log_hyperparams(self, params: object) -> None:
            """Take them."""

        def log_metrics(self, metrics: object, step: int) -> None:
            raise ConnectionError("no route\nto host")

    monkeypatch.setattr(
        loggers, "create_logger", lambda name, *rest: Breaks() if name == "tensorboard" else real(name, *rest)
    )
    chosen = recipe(epochs=2, sizes=[{"from_epoch": 0, "size": 32}])
    run = train(
        chosen,
        data(),
        out=tmp_path / "run",
        accelerator="cpu",
        progress=False,
        cache=cache_folder(),
        loggers=["tensorboard", "csv"],
    )
    assert (
        capsys.readouterr().err.count(
            "logger tensorboard fails (ConnectionError: no route to host); training goes on without it"
        )
        == 1
    )
    found, log = pd.read_csv(run / "csv" / "metrics.csv"), load_run(run).log
    assert found["val_loss"].tolist() == pytest.approx(log["val_loss"].tolist())
    assert found["train_loss/labels"].tolist() == pytest.approx(log["train_loss"].tolist())


def test_loggers_that_are_not_there_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no logger 'tensorbord'; did you mean 'tensorboard'"):
        check_loggers(["csv", "tensorbord"])
    monkeypatch.setattr(loggers, "find_spec", lambda name: None)
    with pytest.raises(TrainingError, match=r"logger mlflow needs the package mlflow: pip install 'lentigo\[mlflow\]'"):
        train(recipe(), data(), out=tmp_path / "run", loggers=["mlflow"])
    assert not (tmp_path / "run").exists()


def test_mlflow_takes_hostile_names_of_folders_and_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow.tracking")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    folder = tmp_path / "a %20 # ü" / ("..line\nbreak " + "x" * 200)
    folder.mkdir(parents=True)
    logger = loggers.create_logger("mlflow", folder, None)
    logger.log_metrics({"val_loss": 0.5}, 1)
    logger.finalize("success")
    assert logger.client.get_run(logger.version).info.run_name == folder.name
    assert (folder.parent / "mlflow.db").is_file()


@pytest.mark.parametrize(
    ("name", "shown"),
    [("two\nlines", "two\\x0alines"), ("x\udcff", "x\\udcff"), ("m" * 200, "m" * 128), ("läsion #1 %", None)],
)
def test_names_of_runs_are_printable_and_short_in_weights_and_biases(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, shown: str | None
) -> None:
    started: list[dict[str, object]] = []

    def init(**settings: object) -> SimpleNamespace:
        started.append(settings)
        return SimpleNamespace(id="1")

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init))
    assert create_logger("wandb", tmp_path / name, None).version == "1"
    assert (started[0]["name"], started[0]["project"]) == (shown or name, "lentigo")
