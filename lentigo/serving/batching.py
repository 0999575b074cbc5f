"""Dynamic micro-batching: images of concurrent requests share one call of the network.

An image goes from the event loop to the decoding processes, from there straight to the one thread that runs the
network, and its answer back to the event loop. The network's thread takes whatever is ready, up to a full batch; while
further images are being decoded it waits for them, but never longer than the bound. A lone image never waits.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from lentigo.inference import Classifier, Prediction
from lentigo.serving.decode_worker import Decoded
from lentigo.serving.decoding import DecoderPool, Job, Outcome
from lentigo.serving.problems import Problem

Answer = Prediction | Problem
"""The prediction of one image, or why there is none."""


@dataclass(slots=True, eq=False)
class Item:
    """One submitted image."""

    future: asyncio.Future[Answer]
    job: Job
    decoded: Decoded | None = None
    submitted_at: float = 0.0
    ready_at: float = 0.0
    classified_at: float = 0.0


class Batcher:
    """Decode and classify images with one model; `submit` and `retire` belong to the event loop's thread.

    Args:
        classifier: the model.
        pool: decodes.
        max_batch: most images in one call of the network.
        max_delay_s: longest that a decoded image waits for others.
        on_batch: called with the size of each batch and the network's seconds, in the event loop's thread.
    """

    def __init__(
        self,
        classifier: Classifier,
        pool: DecoderPool,
        *,
        max_batch: int,
        max_delay_s: float,
        on_batch: Callable[[int, float], None] = lambda size, seconds: None,
    ) -> None:
        self.classifier = classifier
        self._pool = pool
        self._loop = asyncio.get_running_loop()
        self._max_batch = max_batch
        self._max_delay_s = max_delay_s
        self._on_batch = on_batch
        self._changed = threading.Condition()
        self._ready: deque[Item] = deque()
        self._decoding = 0
        self._retired = False
        self.pending = 0
        self._urgent = 0
        self.progress_at = time.monotonic()
        self._thread = threading.Thread(target=self._work, name=f"network-{classifier.spec.name}", daemon=True)
        self._thread.start()

    def submit(
        self, images: Sequence[bytes], *, within_s: float, picture: bool = False, urgent: bool = False
    ) -> list[Item]:
        """Queue images for decoding and classification.

        Args:
            images: encoded.
            within_s: how long their answers are waited for; decoding that takes longer is ended.
            picture: keep a picture of each for display.
            urgent: go before all other images.

        Returns:
            One item an image; its future ends with a prediction or a problem, or fails where the network does.
        """
        now = time.monotonic()
        until = now + within_s
        items = []
        for place, image in enumerate(images):
            job = Job(image, self.classifier.size, until=until, picture=picture, urgent=urgent, place=place)
            item = Item(self._loop.create_future(), job, submitted_at=now)
            job.done = partial(self._decoded, item)
            items.append(item)
        self._count(items, 1)
        with self._changed:
            self._decoding += len(items)
        for item in items:
            self._pool.submit(item.job)
        return items

    def abandon(self, items: Sequence[Item]) -> None:
        """Drop what has not been done for these items, since no request waits for them."""
        for item in items:
            item.job.abandoned = True

    async def retire(self) -> None:
        """Answer what was submitted, then end; nothing may be submitted after."""
        while self.pending or self._urgent:
            await asyncio.sleep(0.02)
        with self._changed:
            self._retired = True
            self._changed.notify()
        while self._thread.is_alive():
            await asyncio.sleep(0.005)

    def _decoded(self, item: Item, outcome: Outcome) -> None:
        item.ready_at = time.monotonic()
        with self._changed:
            self._decoding -= 1
            if isinstance(outcome, Decoded):
                item.decoded = outcome
                (self._ready.appendleft if item.job.urgent else self._ready.append)(item)
            self._changed.notify()
        if not isinstance(outcome, Decoded):
            self._post([(item, outcome)])

    def _work(self) -> None:
        while batch := self._collect():
            live = [item for item in batch if not item.job.abandoned]
            results: list[tuple[Item, Prediction | Exception | None]] = [
                (item, None) for item in batch if item.job.abandoned
            ]
            began = time.perf_counter()
            if live:
                try:
                    results += zip(live, self._classify(live), strict=True)
                except Exception as error:  # the network failed: each of its requests gets the error
                    results += [(item, error) for item in live]
            now = time.monotonic()
            for item in live:
                item.classified_at = now
            self._post(results, sum(not item.job.urgent for item in live), time.perf_counter() - began)

    def _collect(self) -> list[Item]:
        """The next batch; empty when retired."""
        with self._changed:
            while not self._ready:
                if self._retired:
                    return []
                self._changed.wait()
            first = self._ready[0]
            end = 0.0 if first.job.urgent else first.ready_at + self._max_delay_s
            while len(self._ready) < self._max_batch and self._decoding:
                left = end - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
            return [self._ready.popleft() for _ in range(min(self._max_batch, len(self._ready)))]

    def _classify(self, items: Sequence[Item]) -> list[Prediction]:
        found = [item.decoded for item in items if item.decoded is not None]
        pixels = np.stack([decoded.pixels for decoded in found])  # (N, S, S, 3)
        outputs = self.classifier.run(pixels)
        return [self.classifier.prediction(outputs, i, pixels[i], d.picture, d.extent) for i, d in enumerate(found)]

    def _post(
        self, results: Sequence[tuple[Item, Prediction | Exception | None]], size: int = 0, seconds: float = 0.0
    ) -> None:
        try:
            self._loop.call_soon_threadsafe(self._settle, results, size, seconds)
        except RuntimeError:  # the loop is closed: the process is ending
            return

    def _count(self, items: Sequence[Item], step: int) -> None:
        urgent = sum(item.job.urgent for item in items)  # the worker's own, no part of what users wait for
        self._urgent += step * urgent
        self.pending += step * (len(items) - urgent)

    def _settle(self, results: Sequence[tuple[Item, Prediction | Exception | None]], size: int, seconds: float) -> None:
        self._count([item for item, _ in results], -1)
        self.progress_at = time.monotonic()
        if size:
            self._on_batch(size, seconds)
        for item, result in results:
            if item.future.done():
                continue
            if result is None:  # given up at its deadline: the request may not have noticed that yet
                result = TimeoutError()
            if isinstance(result, Exception) and not isinstance(result, Problem):
                item.future.set_exception(result)
                item.future.exception()  # of several images of one request only the first is awaited
            else:
                item.future.set_result(result)
