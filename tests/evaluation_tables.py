"""Synthetic predictions with errors like those of a real network: seeded, no network runs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from lentigo.evaluation import PredictionTable, make_predictions, maps_path, write_maps, write_predictions
from lentigo.labels import HAM10000

SHARES = np.array([0.033, 0.051, 0.11, 0.02, 0.111, 0.655, 0.02])
SITES = ("back", "lower extremity", "trunk", "face")


def draw(count: int, seed: int, *, skill: float = 3.5) -> tuple[list[str], np.ndarray, np.ndarray, pd.DataFrame]:
    """Lesions (groups), targets, probabilities and metadata for ``count`` images."""
    rng = np.random.default_rng(seed)
    groups: list[str] = []
    targets: list[int] = []
    while len(targets) < count:
        size = min(int(rng.geometric(0.7)), count - len(targets))
        groups += [f"lesion_{len(groups)}"] * size
        targets += [int(rng.choice(7, p=SHARES))] * size
    truth = np.array(targets)
    # Images of one lesion share most of their noise, so they are right or wrong together.
    shared = rng.normal(size=(count, 7))[np.unique(groups, return_inverse=True)[1]]
    logits = 0.5 * np.log(SHARES) + shared + 0.5 * rng.normal(size=(count, 7))
    logits[np.arange(count), truth] += skill + 0.8 * rng.normal(size=count)
    raised = np.exp(1.8 * (logits - logits.max(axis=1, keepdims=True)))
    metadata = pd.DataFrame(
        {
            "age": np.where(rng.random(count) < 0.05, np.nan, np.round(rng.normal(52, 17, count).clip(0, 85) / 5) * 5),
            "sex": rng.choice(["male", "female"], count),
            "site": rng.choice(SITES, count, p=[0.5, 0.3, 0.15, 0.05]),
        }
    )
    return groups, truth, raised / raised.sum(axis=1, keepdims=True), metadata


def table(count: int = 300, seed: int = 0, *, skill: float = 3.5) -> PredictionTable:
    groups, targets, probabilities, metadata = draw(count, seed, skill=skill)
    return make_predictions(
        images=[f"image_{i:04d}" for i in range(count)],
        paths=[f"images/{i:04d}.png" for i in range(count)],
        groups=groups,
        targets=[HAM10000.codes[k] for k in targets],
        probabilities=probabilities,
        codes=HAM10000.codes,
        metadata=metadata,
    )


def write_table(path: Path, made: PredictionTable) -> Path:
    return write_predictions(path, made)


def run_folder(
    folder: Path, *, count: int = 240, seed: int = 0, skill: float = 3.5, name: str = "caco", epochs: int = 6
) -> Path:
    """A finished run: predictions on validation and test, maps, log, record, and the images themselves."""
    rng = np.random.default_rng(seed)
    test = table(count, 1, skill=skill) if seed == 0 else _other_model(count, seed, skill)
    write_table(folder / "predictions" / "test.csv", test)
    write_table(folder / "predictions" / "val.csv", table(count, 2, skill=skill))
    write_maps(
        maps_path(folder / "predictions" / "test.csv"),
        images=test.images.tolist(),
        predicted=rng.random((count, 4, 4)),
        target=rng.random((count, 4, 4)),
    )
    epoch = np.arange(epochs)
    log = {
        "epoch": epoch,
        "size": 64,
        "lr": 5e-4,
        "train_loss": 1.5 * np.exp(-epoch / 3),
        "val_loss": 0.4 + np.exp(-epoch / 3),
    }
    log |= {"val_accuracy": 0.9 - 0.4 * np.exp(-epoch / 3), "val_balanced_accuracy": 0.8 - 0.4 * np.exp(-epoch / 3)}
    pd.DataFrame(log).to_csv(folder / "log.csv", index=False)
    data = folder.parent / "data"
    (data / "images").mkdir(parents=True, exist_ok=True)
    for i in range(count):
        if not (data / "images" / f"{i:04d}.png").exists():
            Image.new("RGB", (40, 30), (200, 150 - i % 100, 120)).save(data / "images" / f"{i:04d}.png")
    record = {
        "name": name,
        "command": f"lentigo train {name} --data data",
        "recipe": name,
        "network": "mobilenetv3_small_caco",
        "parameters": 1271958,
        "data": "ham10000",
        "data_root": str(data),
        "fingerprint": "0123456789abcdef" * 4,
        "protocol": "lesion",
        "split_seed": 3,
        "seed": seed,
        "hardware": "a processor, 2 cores",
        "wall_seconds": 3661.5,
        "created": "2025-01-02T03:04:05+00:00",
        "versions": {"torch": "2.11.0"},
        "labels": [{"code": c.code, "en": c.en, "zh": c.zh, "malignant": c.malignant} for c in HAM10000],
    }
    (folder / "run.json").write_text(json.dumps(record), encoding="utf-8")
    return folder


def _other_model(count: int, seed: int, skill: float) -> PredictionTable:
    """The same images as the first run's, evaluated by another model."""
    first = table(count, 1)
    rng = np.random.default_rng(seed)
    logits = np.log(first.probabilities) + rng.normal(size=first.probabilities.shape)
    logits[np.arange(count), first.targets] += skill - 3.5
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return first.with_probabilities(raised / raised.sum(axis=1, keepdims=True))


def table_of(
    right: float, seed: int, *, images: int = 120, codes: tuple[str, ...] = ("a", "b", "c")
) -> PredictionTable:
    """Predictions that are right for a fraction of the images; two images a lesion."""
    rng = np.random.default_rng(seed)
    targets = np.arange(images) % len(codes)
    answers = np.where(rng.random(images) < right, targets, (targets + 1) % len(codes))
    names = [f"i{n:04d}" for n in range(images)]
    return make_predictions(
        images=names,
        paths=names,
        groups=[f"g{n // 6}" for n in range(images)],
        targets=[codes[t] for t in targets],
        probabilities=np.eye(len(codes))[answers] * 0.9 + 0.1 / len(codes),
        codes=codes,
    )
