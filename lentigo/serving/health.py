"""Readiness as work: a tiny image goes through the decoder and the network of every model, before all others."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

from lentigo.serving import logs
from lentigo.serving.decode_worker import TINY
from lentigo.serving.model_manager import ModelManager

FRESH_S = 2.0
"""Seconds for which an answer is reused."""
_WITHIN_S = 10.0


class Health:
    """The readiness of one worker.

    Args:
        manager: the models.

    Attributes:
        passed_at: when the tiny image was last answered by every model, by the monotonic clock.
    """

    def __init__(self, manager: ModelManager) -> None:
        self._manager = manager
        self._running: asyncio.Task[None] | None = None
        self.passed_at = float("-inf")

    @property
    def progress_at(self) -> float:
        """When the worker last did any work."""
        return max([self.passed_at, *(loaded.batcher.progress_at for loaded in self._manager.models)])

    async def check(self, within_s: float) -> bool:
        """Classify the tiny image, unless that has just been done.

        Concurrent calls wait for the same answer, so frequent calls cost little.

        Args:
            within_s: how long to wait for the answer.
        """
        if time.monotonic() - self.passed_at > FRESH_S:
            if self._running is None or self._running.done():
                self._running = asyncio.create_task(self._run())
            await asyncio.wait([self._running], timeout=within_s)
        return time.monotonic() - self.passed_at <= max(FRESH_S, within_s)

    async def close(self) -> None:
        """End what is under way."""
        if self._running is not None:
            self._running.cancel()
            with suppress(asyncio.CancelledError):
                await self._running

    async def _run(self) -> None:
        try:
            for loaded in self._manager.models:
                (item,) = loaded.batcher.submit([TINY], within_s=_WITHIN_S, urgent=True)
                try:
                    async with asyncio.timeout(_WITHIN_S):
                        answer = await item.future
                finally:
                    loaded.batcher.abandon([item])
                if isinstance(answer, Exception):
                    raise answer
        except Exception as error:
            logs.failure("the test image was not answered", error)
        else:
            self.passed_at = time.monotonic()
