"""A run that is killed and resumed ends as if nothing had happened."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from tiny_training import LOG, recipe, run_into, train_until_killed, whole_run

from lentigo.training import load_run
from lentigo.training.rundir import BEST, LAST, Row, RunWriter, read_checkpoint, update_record


@pytest.mark.slow
def test_killed_run_resumes_to_the_same_result(tmp_path: Path) -> None:
    whole = whole_run()
    out = tmp_path / "run"
    train_until_killed(out, "loop", epoch=2)
    assert len(pd.read_csv(out / "log.csv")) == 2
    assert read_checkpoint(out / LAST)["epoch"] == 1
    before = load_run(out).record
    assert not before["finished"]

    run_into(out, resume=True)

    ours, theirs = load_run(out), load_run(whole)
    assert ours.log[LOG].to_csv() == theirs.log[LOG].to_csv()
    for name in ("predictions/val.csv", "predictions/test.csv", "recipe.yaml", "split.csv"):
        assert (out / name).read_bytes() == (whole / name).read_bytes(), name
    one, other = read_checkpoint(out / BEST)["network"], read_checkpoint(whole / BEST)["network"]
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)
    assert ours.finished
    assert ours.record["created"] == before["created"]
    assert ours.record["wall_seconds"] > before["wall_seconds"]
    assert ours.record["best"]["epoch"] == theirs.record["best"]["epoch"]


def test_run_killed_between_training_and_predicting(tmp_path: Path) -> None:
    """All epochs are on disk but no predictions: resuming only predicts."""
    whole = whole_run()
    out = Path(shutil.copytree(whole, tmp_path / "run"))
    shutil.rmtree(out / "predictions")
    record = json.loads((out / "run.json").read_text()) | {"finished": False}
    (out / "run.json").write_text(json.dumps(record))
    run_into(out, resume=True)
    assert load_run(out).finished
    assert (out / "log.csv").read_bytes() == (whole / "log.csv").read_bytes()
    for split in ("val", "test"):
        assert (out / f"predictions/{split}.csv").read_bytes() == (whole / f"predictions/{split}.csv").read_bytes()


def test_run_killed_before_its_first_checkpoint(tmp_path: Path) -> None:
    """Nothing is lost, so resuming starts anew in the same folder."""
    whole = whole_run()
    out = Path(shutil.copytree(whole, tmp_path / "run"))
    for name in ("checkpoints", "predictions"):
        shutil.rmtree(out / name)
    (out / "log.csv").unlink()
    run_into(out, resume=True)
    assert load_run(out).log[LOG].equals(load_run(whole).log[LOG])


def test_mean_over_cycles_is_kept_and_survives_a_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With ``swa`` the result is the mean of the running averages at the ends of the cycles."""
    chosen = recipe(epochs=3, swa=True, schedule={"name": "cosine", "restarts": [2], "restart_factor": 0.5})
    save, averages = RunWriter.save, []

    def keep(self: RunWriter, row: Row, state: Mapping[str, Any]) -> None:
        save(self, row, state)
        averages.append({name: value.clone() for name, value in state["learner"]["average"].items()})
        shutil.copy(self.checkpoint, tmp_path / f"{row['epoch']}.ckpt")

    monkeypatch.setattr(RunWriter, "save", keep)
    whole = run_into(tmp_path / "whole", chosen)
    kept = read_checkpoint(whole / BEST)
    assert kept["epoch"] == 3
    for name, value in kept["network"].items():
        if value.is_floating_point():
            assert torch.allclose(value, (averages[1][f"module.{name}"] + averages[2][f"module.{name}"]) / 2, atol=1e-6)
    assert not torch.equal(kept["network"]["head.output.weight"], averages[2]["module.head.output.weight"])

    stopped = Path(shutil.copytree(whole, tmp_path / "stopped"))
    (stopped / BEST).unlink()
    update_record(stopped, finished=False)
    shutil.copy(tmp_path / "2.ckpt", stopped / LAST)
    run_into(stopped, chosen, resume=True)
    again = read_checkpoint(stopped / BEST)["network"]
    assert all(torch.equal(again[name], value) for name, value in kept["network"].items())
