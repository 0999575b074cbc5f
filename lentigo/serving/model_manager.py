"""The models that a worker serves: loaded in the background, replaced while requests run."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lentigo.bundle import CARD, GOLDEN, MODEL, SPEC, Spec
from lentigo.errors import BundleError, LentigoError, ServiceError, did_you_mean
from lentigo.inference import Classifier, find_bundle
from lentigo.serving import logs
from lentigo.serving.batching import Batcher
from lentigo.serving.config import ServeConfig
from lentigo.serving.decoding import DecoderPool
from lentigo.serving.problems import Problem
from lentigo.serving.vet import vet

Signature = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True)
class Loaded:
    """One model in service."""

    classifier: Classifier
    card: str
    batcher: Batcher
    source: str
    signature: Signature | None

    @property
    def identity(self) -> dict[str, Any]:
        """What names this very model in answers and in the audit log."""
        spec = self.classifier.spec
        return {"name": spec.name, "version": spec.version, "sha256": spec.files[MODEL]}


class ModelManager:
    """Loads the configured models, returns them by name, and reloads changed bundles.

    Args:
        config: which models, and how they are run.
        pool: decodes the images of all models.
        on_batch: see `Batcher`.
        on_reload: called with whether a reload succeeded.
    """

    def __init__(
        self,
        config: ServeConfig,
        pool: DecoderPool,
        on_batch: Callable[[int, float], None],
        on_reload: Callable[[bool], None],
    ) -> None:
        self._config = config
        self._pool = pool
        self._on_batch = on_batch
        self._on_reload = on_reload
        self._models: dict[str, Loaded] = {}
        self._seen: dict[str, Signature | None] = {}
        self._leaving: set[Batcher] = set()
        self._retiring: set[asyncio.Task[None]] = set()
        self._reloading = asyncio.Lock()
        self._asked = False  # somebody waits to reload again
        self.ready = asyncio.Event()

    @property
    def pending(self) -> int:
        """Images accepted and not yet answered, those of retiring models included."""
        return sum(loaded.batcher.pending for loaded in self._models.values()) + sum(
            old.pending for old in self._leaving
        )

    @property
    def models(self) -> list[Loaded]:
        """The models in service, the default first."""
        return list(self._models.values())

    def get(self, name: str | None) -> Loaded:
        """A model by its name; None for the default.

        Raises:
            Problem: no such model, or nothing is loaded yet.
        """
        if not self.ready.is_set():
            raise Problem("not-ready", "the model is still being loaded", headers={"Retry-After": "1"})
        if not self._models:
            raise Problem("unknown-model", "this service has no model, only the app; start it with a model")
        if name is None:
            return next(iter(self._models.values()))
        if name not in self._models:
            raise Problem(
                "unknown-model", f"this service has no model of that name{did_you_mean(name[:80], self._models)}"
            )
        return self._models[name]

    async def load(self) -> None:
        """Load every model.

        Raises:
            LentigoError: a model that cannot be loaded, or two of the same name.
        """
        for source in self._config.models:
            loaded = await self._open(source)
            name = loaded.classifier.spec.name
            if name in self._models:
                raise ServiceError(
                    f"{source}: a second model named {name!r}; models are chosen by name, so export one under another"
                )
            self._models[name] = loaded
            self._seen[source] = loaded.signature
        self.ready.set()

    async def reload(self, *, again: bool = False) -> None:
        """Take up bundles that have changed on disk; requests that run on the old ones are answered by them.

        A bundle that cannot be loaded is logged and left out: the old one stays in service.

        Args:
            again: also try those that could not be loaded before and have not changed since; asked for many times while
                one reload runs, that is done once.
        """
        if again and self._asked:
            return
        self._asked |= again
        async with self._reloading:
            if again:
                self._asked = False
            for name, loaded in list(self._models.items()):
                source = loaded.source
                signature = _signature(loaded.classifier.bundle.path)
                if signature is None or signature == loaded.signature:  # None: just being replaced
                    continue
                if signature == self._seen[source] and not again:
                    continue
                try:
                    await vet(source, self._config.load_s)
                    fresh = await self._open(source)
                    try:
                        _check_same(source, loaded.classifier.spec, fresh.classifier.spec)
                    except BundleError:
                        await fresh.batcher.retire()
                        raise
                except LentigoError as error:
                    # Tried again when it changes again; half-written bundles do.
                    self._seen[source] = signature
                    self._on_reload(False)
                    logs.event(logging.ERROR, "reload failed", model=name, error=str(error))
                    continue
                self._seen[source] = fresh.signature
                self._models[name] = fresh
                self._retire(loaded.batcher)
                self._on_reload(True)
                logs.event(logging.INFO, "model reloaded", **fresh.identity)

    async def close(self) -> None:
        """End all models, after what they still have to answer."""
        for loaded in self._models.values():
            self._retire(loaded.batcher)
        if self._retiring:
            await asyncio.wait(self._retiring, timeout=self._config.drain_s)

    async def _open(self, source: str) -> Loaded:
        config = self._config

        def open_classifier() -> tuple[Classifier, str, Signature | None]:
            signature = None
            bundle = find_bundle(source)
            while signature != (now := _signature(bundle.path)):  # replaced while it was read: read again
                signature = now
                bundle = find_bundle(source)
            classifier = Classifier(bundle, threads=config.threads or config.cores_per_worker, spinning=False)
            for count in {1, config.max_batch}:  # the first run of each size plans its memory
                classifier.run(np.zeros((count, classifier.size, classifier.size, 3), np.uint8))
            return classifier, bundle.card, signature

        classifier, card, signature = await asyncio.to_thread(open_classifier)
        batcher = Batcher(
            classifier,
            self._pool,
            max_batch=config.max_batch,
            max_delay_s=config.max_delay_ms / 1000,
            on_batch=self._on_batch,
        )
        return Loaded(classifier, card, batcher, source, signature)

    def _retire(self, batcher: Batcher) -> None:
        async def retire() -> None:
            await batcher.retire()
            self._leaving.discard(batcher)

        self._leaving.add(batcher)
        task = asyncio.get_running_loop().create_task(retire())
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)


def _check_same(source: str, old: Spec, new: Spec) -> None:
    """Refuse a bundle that is another model: its answers would have another meaning.

    Raises:
        BundleError: another name, or other classes.
    """
    if new.name != old.name:
        raise BundleError(f"{source}: now holds {new.name!r} in the place of {old.name!r}; restart to serve it")
    before, now = ([(c.code, c.malignant) for c in spec.classes] for spec in (old, new))
    if now != before:
        raise BundleError(
            f"{source}: now has other classes ({', '.join(new.codes)}, not {', '.join(old.codes)}); restart to serve it"
        )


def _signature(folder: Path) -> Signature | None:
    """What changes when a file of a bundle is replaced; None where one is missing at the moment."""
    try:
        found = [(folder / name).stat() for name in (SPEC, MODEL, CARD, GOLDEN)]
    except OSError:
        return None
    return tuple((facts.st_mtime_ns, facts.st_ino, facts.st_size) for facts in found)
