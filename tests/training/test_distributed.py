"""One recipe on one process and on two (gloo): the same data order, each image once an epoch, the same figures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import chain, zip_longest
from pathlib import Path

import distributed_probe
import numpy as np
import pandas as pd
import pytest
import tiny_training

from lentigo.data import open_cache, read_samples
from lentigo.evaluation import read_predictions
from lentigo.training.batches import Batches

PROBE = Path(__file__).parents[1] / "distributed_probe.py"
STEPS = 3
FIGURES = ["epoch", "size", "lr", "train_loss", "val_loss", "val_accuracy", "val_balanced_accuracy"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three runs, trained at the same time: ``one`` in this process, ``two`` that Lightning starts, ``torchrun`` that
    torchrun starts."""
    place = tmp_path_factory.mktemp("distributed")
    open_cache(read_samples(tiny_training.data()), 32, tiny_training.cache_folder(), progress=False)
    clean = {
        key: value for key, value in os.environ.items() if key not in ("RANK", "LOCAL_RANK", "NODE_RANK", "WORLD_SIZE")
    }
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone"]
    source, cache = str(tiny_training.data()), str(tiny_training.cache_folder())
    children = {
        name: subprocess.Popen(
            [*words, str(PROBE), source, str(place / name), cache, "2"],
            env=clean | {"OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for name, words in {"two": [sys.executable], "torchrun": launch}.items()
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Batches, "training", Batches.training)  # the probe replaces it
        distributed_probe.main(source, str(place / "one"), cache, 1)
    for name, child in children.items():
        output, _ = child.communicate(timeout=600)
        assert child.returncode == 0, f"{name}: {output}"
    return place


def seen(place: Path, name: str, processes: int) -> dict[str, list[list[int]]]:
    """For each epoch and step the images of the whole batch, in order."""
    parts = [json.loads((place / f"{name}-seen-{rank}.json").read_text(encoding="utf-8")) for rank in range(processes)]
    return {
        epoch: [
            [image for image in chain(*zip_longest(*(part[epoch][step] for part in parts))) if image is not None]
            for step in range(STEPS)
        ]
        for epoch in parts[0]
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", ["two", "torchrun"])
def test_two_processes_see_each_image_once_an_epoch_in_the_order_of_one(runs: Path, name: str) -> None:
    alone, together = seen(runs, "one", 1), seen(runs, name, 2)
    assert together == alone
    assert alone["0"] != alone["1"]
    for epoch in together.values():
        images = list(chain(*epoch))
        assert len(images) == len(set(images)) == 24


@pytest.mark.slow
@pytest.mark.parametrize("name", ["two", "torchrun"])
def test_two_processes_reach_the_figures_of_one(runs: Path, name: str) -> None:
    alone, together = (pd.read_csv(runs / n / "log.csv")[FIGURES].to_numpy() for n in ("one", name))
    np.testing.assert_allclose(together, alone, rtol=1e-3, atol=1e-4)
    one, two = (read_predictions(runs / n / "predictions" / "test.csv") for n in ("one", name))
    assert (one.images == two.images).all()
    np.testing.assert_allclose(two.probabilities, one.probabilities, atol=2e-3)
    record = json.loads((runs / name / "run.json").read_text(encoding="utf-8"))
    assert record["finished"]
