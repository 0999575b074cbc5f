"""The cost of a network: parameters, multiply-accumulates, file size and latency."""

from __future__ import annotations

import copy
import io
import math
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial

import torch
from torch.utils.flop_counter import FlopCounterMode

from lentigo.errors import NetworkError, first_line
from lentigo.machine import available_cores
from lentigo.networks.network import Network
from lentigo.networks.registry import create_network, describe_network, network_names

MACS_TOOL = "torch.utils.flop_counter.FlopCounterMode / 2 (convolutions and matrix products)"


@dataclass(frozen=True, slots=True)
class Profile:
    """The cost of one network for one image.

    Attributes:
        name: the network.
        size: side of the square input, in pixels.
        classes: K, the number of outputs.
        parameters: number of parameters, including the head.
        macs: multiply-accumulates for one image, without element-wise layers.
        macs_tool: the tool that counted them.
        bytes: size of the state dict as ``torch.save`` writes it.
        latency_ms_one_thread: median time for one image on one CPU thread, in milliseconds, in eager PyTorch.
        latency_ms_all_threads: the same on all threads.
        threads: number of all threads (the available CPUs).
        repeats: number of timed passes.
        torch: version of PyTorch.
    """

    name: str
    size: int
    classes: int
    parameters: int
    macs: int
    macs_tool: str
    bytes: int
    latency_ms_one_thread: float
    latency_ms_all_threads: float
    threads: int
    repeats: int
    torch: str

    def to_dict(self) -> dict[str, object]:
        """Return all fields, for JSON."""
        return asdict(self)


def profile_network(network: Network, size: int = 224, *, repeats: int = 20, warmup: int = 3) -> Profile:
    """Measure a copy of a network on the CPU.

    Args:
        network: any network of the registry.
        size: side of the square input, in pixels.
        repeats: number of timed passes, of which the median is taken.
        warmup: number of untimed passes before them.

    Returns:
        The profile of a batch of one image.

    Raises:
        NetworkError: the network does not accept images of this size.
    """
    subject = copy.deepcopy(network).to(device="cpu", dtype=torch.float32).eval()
    image = torch.zeros(1, 3, size, size)
    macs, classes = count_macs(subject, size)
    with torch.inference_mode():
        threads = available_cores()
        call = partial(subject, image)
        with _threads(1):
            one, _ = median_ms(call, repeats=repeats, warmup=warmup)
        with _threads(threads):
            every = median_ms(call, repeats=repeats, warmup=warmup)[0] if threads > 1 else one
    buffer = io.BytesIO()
    torch.save(subject.state_dict(), buffer)
    return Profile(
        name=network.name,
        size=size,
        classes=classes,
        parameters=sum(p.numel() for p in subject.parameters()),
        macs=macs,
        macs_tool=MACS_TOOL,
        bytes=buffer.tell(),
        latency_ms_one_thread=one,
        latency_ms_all_threads=every,
        threads=threads,
        repeats=repeats,
        torch=str(torch.__version__),
    )


def count_macs(network: Network, size: int) -> tuple[int, int]:
    """Return the multiply-accumulates for one image of ``size`` x ``size`` pixels, and the number of classes.

    Raises:
        NetworkError: the network does not accept images of this size.
    """
    device = next(network.parameters()).device
    try:
        with torch.inference_mode(), FlopCounterMode(display=False) as counter:
            logits = network(torch.zeros(1, 3, size, size, device=device))
    except (RuntimeError, AssertionError, ValueError) as error:
        raise NetworkError(f"{network.name} does not take images of {size} pixels ({first_line(error)})") from None
    return counter.get_total_flops() // 2, int(logits.shape[1])


def list_networks(*, classes: int = 7, size: int = 224) -> list[dict[str, object]]:
    """Return one row per network of the registry: ``network, parameters, macs, paper, licence``.

    Args:
        classes: K, the number of outputs.
        size: side of the square input for the multiply-accumulates, in pixels; ``macs`` is None if a network does not
            accept it.
    """
    rows: list[dict[str, object]] = []
    for name in network_names():
        info = describe_network(name)
        network = create_network(name, classes=classes).to("meta").eval()  # shapes only
        try:
            macs: int | None = count_macs(network, size)[0]
        except NetworkError:
            macs = None
        parameters = sum(p.numel() for p in network.parameters())
        rows.append(
            {"network": name, "parameters": parameters, "macs": macs, "paper": info.paper, "licence": info.licence}
        )
    return rows


@contextmanager
def _threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def median_ms(
    call: Callable[[], object], *, repeats: int, warmup: int = 1, limit: float = math.inf
) -> tuple[float, int]:
    """Measure the median time of a call.

    Args:
        call: the function to time.
        repeats: number of timed calls.
        warmup: number of untimed calls before them.
        limit: seconds after which no further call is made, once one has been timed.

    Returns:
        The median in milliseconds, and the number of timed calls.
    """
    times: list[float] = []
    began = time.perf_counter()
    for index in range(warmup + repeats):
        start = time.perf_counter()
        call()
        if index >= warmup:
            times.append((time.perf_counter() - start) * 1000)
            if time.perf_counter() - began > limit:
                break
    return statistics.median(times), len(times)
