"""Metrics in the Prometheus text format, summed over all workers.

The figures lie in one block of memory that the workers share: a row of 64-bit floats a worker, a fixed place a series.
Any worker can answer a scrape for all; a worker that is replaced goes on counting in the row of the one before it, so
counters never fall. (The official client's multi-process mode keeps files for every process that ever ran, and needs
their folder before it is imported.)
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import time
from bisect import bisect_left
from collections.abc import Iterator, MutableSequence, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from lentigo.serving.auth import SLOTS
from lentigo.serving.problems import KINDS

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"

PREDICT = "/v1/predict"
CARD = "/v1/models/{name}/card"
INFER, OPEN_INFERENCE = "/v2/models/{name}/infer", "/v2"
ROUTES = (
    PREDICT,
    INFER,
    OPEN_INFERENCE,
    "/v1/models",
    CARD,
    "/healthz",
    "/readyz",
    "/metrics",
    "/openapi.json",
    "app",
    "other",
)
STATUSES = (0, *sorted({200, 304} | {status for status, _ in KINDS.values()}))
REASONS = tuple(sorted(KINDS))
SECONDS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0, 30.0)
SIZES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)


@dataclass(frozen=True)
class Series:
    """One metric: its kind and the values of its one or two labels, in the order of their places."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    text: str
    labels: tuple[str, ...] = ()
    values: tuple[tuple[str, ...], ...] = ((),)
    buckets: tuple[float, ...] = ()

    @property
    def width(self) -> int:
        """Places it takes: a histogram has its buckets, +Inf and the sum."""
        return len(self.values) * (len(self.buckets) + 2 if self.buckets else 1)


def _one(name: str, values: Sequence[str]) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    return (name,), tuple((value,) for value in values)


SERIES = (
    Series(
        "lentigo_requests_total",
        "counter",
        "Requests answered, by route and status (0: the client went away).",
        ("route", "status"),
        tuple((route, str(status)) for route in ROUTES for status in STATUSES),
    ),
    Series(
        "lentigo_problems_total", "counter", "Requests refused or failed, by kind of problem.", *_one("kind", REASONS)
    ),
    Series("lentigo_images_total", "counter", "Images, by outcome.", *_one("outcome", ("answered", "refused"))),
    Series("lentigo_received_bytes_total", "counter", "Bytes of request bodies read."),
    Series(
        "lentigo_decoder_restarts_total", "counter", "Decoding processes that were ended or died, and were replaced."
    ),
    Series(
        "lentigo_reloads_total", "counter", "Bundles loaded again, by outcome.", *_one("outcome", ("done", "failed"))
    ),
    Series(
        "lentigo_request_seconds",
        "histogram",
        "Seconds from the head of a predict request to its answer.",
        buckets=SECONDS,
    ),
    Series("lentigo_batch_images", "histogram", "Images in one call of the network.", buckets=SIZES),
    Series("lentigo_inference_seconds_total", "counter", "Seconds spent in the network."),
    Series("lentigo_requests_open", "gauge", "Requests that are being answered."),
    Series("lentigo_queue_images", "gauge", "Images accepted and not yet answered."),
    Series("lentigo_held_bytes", "gauge", "Bytes of request bodies held in memory."),
    Series("lentigo_connections", "gauge", "Open connections."),
    Series("lentigo_ready_workers", "gauge", "Workers whose models are loaded."),
    Series("lentigo_log_lines_dropped", "gauge", "Log lines that the workers could not write."),
    Series("lentigo_resident_bytes", "gauge", "Resident memory of the workers."),
)


def _layout() -> tuple[dict[str, dict[tuple[str, ...], int]], int]:
    places: dict[str, dict[tuple[str, ...], int]] = {}
    at = 0
    for series in SERIES:
        each = series.width // len(series.values)
        places[series.name] = {value: at + i * each for i, value in enumerate(series.values)}
        at += series.width
    return places, at


PLACES, WIDTH = _layout()
_CHECKED = WIDTH  # when the worker's event loop last ran, by the monotonic clock
_ROW = WIDTH + 1
_RESTARTS = 0  # the only figure of the supervisor itself
_HEAD = 1


class Board:
    """The shared memory: the supervisor's figure, a row a worker, and the clocks of the rate limits.

    Args:
        workers: how many rows.
        shared: lie in memory that spawned processes can be handed.
    """

    def __init__(self, workers: int, *, shared: bool = False) -> None:
        size = _HEAD + workers * _ROW + SLOTS
        self.workers = workers
        # Without a lock: each place has one writer.
        block = (
            multiprocessing.get_context("spawn").RawArray(ctypes.c_double, size)
            if shared
            else (ctypes.c_double * size)()
        )
        self.memory = cast("MutableSequence[float]", block)

    @property
    def clock(self) -> MutableSequence[float]:
        """The rate limits' numbers."""
        offset = (_HEAD + self.workers * _ROW) * ctypes.sizeof(ctypes.c_double)
        return cast("MutableSequence[float]", (ctypes.c_double * SLOTS).from_buffer(cast("Any", self.memory), offset))

    def tally(self, worker: int) -> Tally:
        """The row of one worker; its gauges begin at zero again."""
        tally = Tally(self.memory, _HEAD + worker * _ROW)
        for series in SERIES:
            if series.kind == "gauge":
                tally.set(series.name, 0.0)
        tally.beat()
        return tally

    def restarted(self) -> None:
        """Count one worker that had to be replaced."""
        self.memory[_RESTARTS] += 1

    def last_beat(self, worker: int) -> float:
        """When a worker's event loop last ran, by the monotonic clock; 0 for never."""
        return self.memory[_HEAD + worker * _ROW + _CHECKED]

    def expose(self, info: Sequence[dict[str, str]] = ()) -> str:
        """All metrics as text.

        Args:
            info: the labels of ``lentigo_model_info``, one a model.
        """
        bases = [_HEAD + worker * _ROW for worker in range(self.workers)]
        total = [sum(self.memory[base + i] for base in bases) for i in range(WIDTH)]
        lines = [
            "# HELP lentigo_workers Worker processes asked for.",
            "# TYPE lentigo_workers gauge",
            f"lentigo_workers {self.workers}",
            "# HELP lentigo_worker_restarts_total Workers that died or hung and were replaced.",
            "# TYPE lentigo_worker_restarts_total counter",
            f"lentigo_worker_restarts_total {self.memory[_RESTARTS]:g}",
            "# HELP lentigo_model_info The models served.",
            "# TYPE lentigo_model_info gauge",
            *(f"lentigo_model_info{_labels(tuple(one), tuple(one.values()))} 1" for one in info),
        ]
        for series in SERIES:
            lines += [f"# HELP {series.name} {series.text}", f"# TYPE {series.name} {series.kind}"]
            for value in series.values:
                lines += _sample(series, value, total)
        return "\n".join(lines) + "\n"


class Tally:
    """Where one worker counts; used from its event loop's thread only."""

    def __init__(self, memory: MutableSequence[float], base: int) -> None:
        self._memory = memory
        self._base = base

    def add(self, name: str, *labels: str, amount: float = 1.0) -> None:
        """Raise a counter, or move a gauge."""
        self._memory[self._base + PLACES[name][labels]] += amount

    def set(self, name: str, value: float) -> None:
        """Set a gauge."""
        self._memory[self._base + PLACES[name][()]] = value

    def observe(self, name: str, value: float, buckets: Sequence[float]) -> None:
        """Put a value into a histogram; its buckets are kept apart and summed when they are shown."""
        at = self._base + PLACES[name][()]
        self._memory[at + bisect_left(buckets, value)] += 1
        self._memory[at + len(buckets) + 1] += value

    def request(self, route: str, status: int) -> None:
        """Count a request that has been answered."""
        self.add(
            "lentigo_requests_total", route if route in ROUTES else "other", str(status if status in STATUSES else 0)
        )

    def beat(self) -> None:
        """Record that the event loop is running."""
        self._memory[self._base + _CHECKED] = time.monotonic()


def _sample(series: Series, value: tuple[str, ...], total: Sequence[float]) -> Iterator[str]:
    at = PLACES[series.name][value]
    if not series.buckets:
        if total[at] or series.kind == "gauge" or series.values == ((),):  # series that never happened are left out
            yield f"{series.name}{_labels(series.labels, value)} {total[at]:.15g}"
        return
    running = 0.0
    for i, edge in enumerate((*series.buckets, float("inf"))):
        running += total[at + i]
        yield f'{series.name}_bucket{{le="{"+Inf" if edge == float("inf") else f"{edge:g}"}"}} {running:g}'
    yield f"{series.name}_sum {total[at + len(series.buckets) + 1]:.9g}"
    yield f"{series.name}_count {running:g}"


def _labels(names: Sequence[str], values: Sequence[str]) -> str:
    if not names:
        return ""
    pairs = (f'{n}="{_escape(v)}"' for n, v in zip(names, values, strict=True))
    return "{" + ",".join(pairs) + "}"


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def resident_bytes() -> int:
    """Resident memory of this process; 0 where the system has no figure."""
    try:
        with open("/proc/self/statm", "rb") as file:  # noqa: PTH123  (a kernel file, read often)
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError, AttributeError):
        return 0
