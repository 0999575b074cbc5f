"""Cost of a network: counted, timed in ONNX Runtime, and cached."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from lentigo.config.recipe import NetworkRecipe
from lentigo.export import export_graph
from lentigo.export.session import Session
from lentigo.files import write_text
from lentigo.machine import available_cores
from lentigo.networks import create_network
from lentigo.networks.profile import count_macs, median_ms
from lentigo.training.record import hardware

REPEATS, WARMUP = 40, 5
_LIMIT = 20.0  # seconds of timing; large networks get fewer repeats


@dataclass(frozen=True)
class Cost:
    """The cost of one network for one image."""

    parameters: int  # with the head for ``classes``
    paper_parameters: int | None  # with the paper's head; None if it is the same
    macs: int  # multiply-accumulates at ``size``: convolutions and matrix products
    bytes: int  # size of the ONNX graph, float32
    latency_ms: float  # median time for one image in ONNX Runtime on one CPU thread
    size: int  # side of the image, in pixels
    classes: int  # K
    repeats: int  # timed passes behind the median
    hardware: str  # hardware of the timing
    busy: bool  # other processes slowed the timing; it is repeated when the machine is free


def measure_cost(network: NetworkRecipe, *, classes: int, paper_classes: int | None, size: int, folder: Path) -> Cost:
    """Measure a network, or read an earlier measurement of this machine.

    Args:
        network: name and options.
        classes: number of classes, K.
        paper_classes: number of classes of the head in the paper's parameter count.
        size: side of the image, in pixels.
        folder: folder of the measurements.

    Raises:
        NetworkError: the network cannot be built, or does not support this size.
        BundleError: it cannot be exported.
    """
    machine = hardware(torch.device("cpu"), 1)
    asked = [network.name, network.options, classes, paper_classes, size, machine]
    key = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]
    path = folder / f"{network.name.replace('/', '_')}-{key}.json"
    busy = _busy()
    try:
        known = Cost(**json.loads(path.read_text(encoding="utf-8")))
        if busy or not known.busy:
            return known
    except (OSError, ValueError, TypeError):  # no readable measurement
        pass
    model = create_network(network.name, classes=classes, **network.options).eval()
    content = export_graph(model, size)
    latency, repeats = _latency(content, size)
    paper = None
    if paper_classes is not None and paper_classes != classes:
        paper = _parameters(create_network(network.name, classes=paper_classes, **network.options))
    macs = count_macs(model, size)[0]
    cost = Cost(_parameters(model), paper, macs, len(content), latency, size, classes, repeats, machine, busy)
    write_text(path, json.dumps(asdict(cost), indent=2) + "\n")
    return cost


def _busy() -> bool:
    """Return whether less than one core is free, by the load of the last minute."""
    try:
        return os.getloadavg()[0] > available_cores() - 1 + 0.25
    except OSError:  # unknown on this system
        return False


def _latency(content: bytes, size: int) -> tuple[float, int]:
    session = Session(content, threads=1)
    image = np.random.default_rng(0).standard_normal((1, 3, size, size), dtype=np.float32)
    return median_ms(partial(session, image), repeats=REPEATS, warmup=WARMUP, limit=_LIMIT)


def _parameters(network: torch.nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())
