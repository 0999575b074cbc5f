"""A finished run on a few phantoms, trained once for all the tests that need one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx
import pytest

from lentigo.bundle import Bundle
from lentigo.config import parse_recipe
from lentigo.export import graph, quantize, write
from lentigo.export.session import FloatArray
from lentigo.synthetic import write_phantoms
from lentigo.training import load_run, train

RECIPE: dict[str, Any] = {
    "name": "tiny-phantoms",
    "description": "one epoch on a few phantoms",
    "network": {"name": "mobilenetv3_small_caco", "pretrained": "none"},
    "data": {"protocol": "lesion", "fractions": [0.5, 0.25, 0.25]},
    "loss": {"name": "cross_entropy"},
    "epochs": 1,
    "batch": 32,
    "sizes": [{"from_epoch": 0, "size": 64}],
}


@cache
def _place() -> TemporaryDirectory[str]:
    return TemporaryDirectory(prefix="lentigo-tests-")


@cache
def tiny_data() -> Path:
    """Phantoms of the seven classes, in the layout of HAM10000."""
    return write_phantoms(Path(_place().name) / "phantoms", per_class=12, size=48)


@cache
def tiny_cache() -> Path:
    """Where the decoded phantoms lie."""
    return Path(_place().name) / "cache"


@cache
def tiny_run() -> Path:
    """The run folder; copy it before changing anything in it."""
    return train(
        parse_recipe(RECIPE),
        tiny_data(),
        out=Path(_place().name) / "run",
        progress=False,
        accelerator="cpu",
        cache=tiny_cache(),
    )


@cache
def tiny_graph() -> bytes:
    """The run's network as a graph: tracing takes seconds."""
    return graph.export_graph(load_run(tiny_run()).network(), 64)


@cache
def tiny_export() -> Bundle:
    """The run's bundle, with every variant of its weights in the card."""
    place = Path(_place().name) / "bundle"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(write, "quantise_int8", quick_int8)
        patch.setattr(write, "export_graph", lambda network, size: tiny_graph())
        return write.export_run(tiny_run(), place, data=tiny_data(), cache=tiny_cache(), resamples=50, compare=True)


def quick_int8(content: bytes, batches: Sequence[FloatArray]) -> bytes:
    """``quantise_int8`` without its search, which tries every convolution by itself: the later ones are always safe."""
    model = onnx.shape_inference.infer_shapes(onnx.load_from_string(content))
    return quantize.store_float16(quantize._quantise(model, quantize._large_convolutions(model)[8:], batches))
