"""Dynamic micro-batching: images of concurrent requests share one call of the network.

An image goes from the event loop to a pool of decoding threads, from there straight to the one thread that runs the
network, and its answer back to the event loop. The network's thread takes whatever is ready, up to a full batch; while
further images are being decoded it waits for them, but never longer than the bound. A lone image never waits.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image

from lentigo.errors import ImageError
from lentigo.imaging import Pixels, open_and_load, sniff
from lentigo.inference import Classifier, Prediction
from lentigo.serving.problems import Problem

_SNIFFED = 512

Answer = Prediction | Problem
"""What becomes of one image: an answer, or why there is none."""


@dataclass(slots=True, eq=False)
class Item:
    """One image on its way."""

    data: bytes
    future: asyncio.Future[Answer]
    pixels: Pixels | None = None
    extent: tuple[int, int] = (0, 0)
    ready_at: float = 0.0
    abandoned: bool = False


def decode(data: bytes, size: int, max_pixels: int, exact: bool) -> tuple[Pixels, tuple[int, int]]:
    """Decode one image by its content.

    Args:
        data: the encoded image.
        size: side of the network's square.
        max_pixels: largest width x height.
        exact: decode JPEG in full.

    Returns:
        (size, size, 3) uint8, and the (width, height) of what was decoded.

    Raises:
        Problem: not an image, too many pixels, or damaged.
    """
    if not data:
        raise Problem("no-image", "the part is empty")
    try:
        kind = sniff(data[:_SNIFFED])
    except ImageError as error:
        raise Problem("not-an-image", str(error)) from None
    try:
        image, pixels = open_and_load(data, size, max_pixels=max_pixels, fast=not exact)
        return pixels, image.size
    except ImageError as error:
        text = str(error).removeprefix("the bytes given: ")
        count = _pixel_count(data, kind)
        if count > max_pixels:
            raise Problem("image-too-large", f"{count:,} pixels; the limit is {max_pixels:,}; scale the image down") from None
        raise Problem("damaged-image", text) from None
    except MemoryError:
        raise Problem("image-too-large", "there is not enough memory for this image now; scale it down") from None


def _pixel_count(data: bytes, kind: str) -> int:
    """Width x height from the header of an image that was refused; 0 where even that cannot be read."""
    try:
        with Image.open(BytesIO(data), formats=[kind]) as image:
            return image.width * image.height
    except Image.DecompressionBombError:
        return 1 << 62
    except Exception:  # damaged headers raise nearly anything in the plug-ins
        return 0


class Batcher:
    """One model's way from encoded images to predictions; submit and retire from the event loop's thread.

    Args:
        classifier: the model.
        pool: decodes.
        max_batch: most images in one call of the network.
        max_delay_s: longest that a decoded image waits for others.
        max_pixels: of one image.
        exact: decode JPEG in full.
        on_batch: told the size of each batch and the seconds that the network took, in the event loop's thread.
    """

    def __init__(
        self,
        classifier: Classifier,
        pool: Executor,
        *,
        max_batch: int,
        max_delay_s: float,
        max_pixels: int,
        exact: bool = True,
        on_batch: Callable[[int, float], None] = lambda size, seconds: None,
    ) -> None:
        self.classifier = classifier
        self._pool = pool
        self._loop = asyncio.get_running_loop()
        self._max_batch = max_batch
        self._max_delay_s = max_delay_s
        self._max_pixels = max_pixels
        self._exact = exact
        self._on_batch = on_batch
        self._changed = threading.Condition()
        self._ready: deque[Item] = deque()
        self._decoding = 0
        self._retired = False
        self.pending = 0
        self._thread = threading.Thread(target=self._work, name=f"network-{classifier.spec.name}", daemon=True)
        self._thread.start()

    def submit(self, images: Sequence[bytes]) -> list[Item]:
        """Put images on their way.

        Args:
            images: encoded.

        Returns:
            One item an image; its future ends with a prediction or a problem, or fails where the network does.
        """
        items = [Item(image, self._loop.create_future()) for image in images]
        self.pending += len(items)
        with self._changed:
            self._decoding += len(items)
        for item in items:
            self._pool.submit(self._decode, item)
        return items

    def abandon(self, items: Sequence[Item]) -> None:
        """Nobody waits for these any more: what has not been done of them is left undone."""
        for item in items:
            item.abandoned = True

    async def retire(self) -> None:
        """Answer what was submitted, then end; nothing may be submitted after."""
        while self.pending:
            await asyncio.sleep(0.02)
        with self._changed:
            self._retired = True
            self._changed.notify()
        await asyncio.to_thread(self._thread.join)

    def _decode(self, item: Item) -> None:
        refused: Problem | Exception | None = None
        if not item.abandoned:
            try:
                item.pixels, item.extent = decode(item.data, self.classifier.size, self._max_pixels, self._exact)
            except Exception as error:  # a problem, or a fault of ours that this request alone must answer for
                refused = error
        item.ready_at = time.monotonic()
        with self._changed:
            self._decoding -= 1
            if item.pixels is not None:
                self._ready.append(item)
            self._changed.notify()
        if item.pixels is None:
            self._post([(item, refused)])

    def _work(self) -> None:
        while batch := self._collect():
            live = [item for item in batch if not item.abandoned]
            results: list[tuple[Item, Prediction | Exception | None]] = [(item, None) for item in batch if item.abandoned]
            began = time.perf_counter()
            if live:
                try:
                    results += zip(live, self._classify(live), strict=True)
                except Exception as error:  # the network failed: each of its requests is told so
                    results += [(item, error) for item in live]
            self._post(results, len(live), time.perf_counter() - began)

    def _collect(self) -> list[Item]:
        """The next batch; empty when retired."""
        with self._changed:
            while not self._ready:
                if self._retired:
                    return []
                self._changed.wait()
            end = self._ready[0].ready_at + self._max_delay_s
            while len(self._ready) < self._max_batch and self._decoding:
                left = end - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
            return [self._ready.popleft() for _ in range(min(self._max_batch, len(self._ready)))]

    def _classify(self, items: Sequence[Item]) -> list[Prediction]:
        pixels = np.stack([item.pixels for item in items if item.pixels is not None])  # (N, S, S, 3)
        outputs = self.classifier.run(pixels)
        return [self.classifier.prediction(outputs, i, pixels[i], item.data, item.extent) for i, item in enumerate(items)]

    def _post(self, results: Sequence[tuple[Item, Prediction | Exception | None]], size: int = 0, seconds: float = 0.0) -> None:
        try:
            self._loop.call_soon_threadsafe(self._settle, results, size, seconds)
        except RuntimeError:  # the loop is closed: the process is ending, nobody waits any more
            return

    def _settle(self, results: Sequence[tuple[Item, Prediction | Exception | None]], size: int, seconds: float) -> None:
        self.pending -= len(results)
        if size:
            self._on_batch(size, seconds)
        for item, result in results:
            if item.future.done():
                continue
            if result is None:
                item.future.cancel()
            elif isinstance(result, Exception) and not isinstance(result, Problem):
                item.future.set_exception(result)
                item.future.exception()  # of several images of one request only the first is awaited
            else:
                item.future.set_result(result)
