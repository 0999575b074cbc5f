"""Trains a tiny network without batch statistics and notes which images each process saw: run by
test_distributed.py."""

from __future__ import annotations

import json
import os
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lentigo.config import parse_recipe
from lentigo.training import train
from lentigo.training.batches import Batch, Batches

RECIPE: dict[str, Any] = {
    "name": "probe",
    "data": {"protocol": "image", "fractions": [0.6, 0.2, 0.2]},
    # Layer normalisation: no statistics over a process's share.
    "network": {"name": "timm/convnext_atto", "pretrained": "none"},
    "loss": {"name": "cross_entropy"},
    "epochs": 2,
    "batch": 8,
    "sizes": [{"from_epoch": 0, "size": 32}],
}


def main(data: str, out: str, cache: str, devices: int) -> None:
    """Train, and write ``<out>-seen-<rank>.json``: for each epoch and step, one number an image in the order of the
    batch."""
    seen: dict[str, list[list[int]]] = {}
    read = Batches.training

    def noting(batches: Batches, epoch: int, *rest: Any) -> Iterator[Batch]:
        for batch in read(batches, epoch, *rest):
            seen.setdefault(str(epoch), []).append([zlib.crc32(image.numpy().tobytes()) for image in batch.images])
            yield batch

    Batches.training = noting  # type: ignore[method-assign]
    train(parse_recipe(RECIPE), data, out=out, devices=devices, accelerator="cpu", progress=False, cache=cache)
    rank = os.environ.get("LOCAL_RANK", "0")
    Path(f"{out}-seen-{rank}.json").write_text(json.dumps(seen), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
