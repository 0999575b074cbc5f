"""The service: how a request becomes an answer.

One pipeline: the images of a request are read within the limits, decoded by `lentigo.imaging`, classified by
`lentigo.inference` in batches with those of other requests, and answered as `Prediction.to_dict` says.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

from fastapi import Request
from fastapi.responses import Response

from lentigo import NOTICE
from lentigo.bundle import Bundle
from lentigo.errors import DataError, LentigoError, ServiceError
from lentigo.inference import Classifier
from lentigo.serving import logs, metrics
from lentigo.serving.audit import Audit
from lentigo.serving.auth import Key, Keyring, read_keys
from lentigo.serving.batching import Answer, Item
from lentigo.serving.config import ServeConfig
from lentigo.serving.decoding import DecoderPool
from lentigo.serving.health import Health
from lentigo.serving.limits import Body, Budget, Lease, read_body, read_json
from lentigo.serving.metrics import Board
from lentigo.serving.model_manager import Loaded, ModelManager
from lentigo.serving.open_inference import decode_images, read_request, write_outputs, write_reply
from lentigo.serving.problems import Problem
from lentigo.serving.rendering import add_predictive_values, describe, draw_map, list_map, merge_lesions
from lentigo.serving.schemas import Options
from lentigo.serving.traces import Stage, Traces

T = TypeVar("T")
_BEAT_S = 1.0
_TEST_S = 5.0
_STUCK_S = 20.0
"""Seconds without any work done, although a test image waits, after which the worker is no longer taken for alive."""


class Service:
    """The part of the service that one worker runs.

    Args:
        config: the settings.
        board: where it counts; shared between the workers.
        worker: which row of the board is this worker's.

    Attributes:
        draining: whether it is about to stop: still answers, but is no longer ready, and closes connections after each
            answer.
        failure: why it cannot serve, once that is known.
        connections: returns the number of open connections; set by the server.
        tasks: what runs beside the requests; kept, since the event loop itself holds no task.

    Raises:
        ServiceError: keys or audit log that cannot be used.
    """

    def __init__(self, config: ServeConfig, board: Board | None = None, worker: int = 0) -> None:
        self.config = config
        self.board = board or Board(1)
        self.tally = self.board.tally(worker)
        self.keys = self._keyring()
        self.audit = Audit(config.audit_log, fsync=config.audit_fsync) if config.audit_log else None
        self.traces = Traces() if config.traces else None
        self.budget = Budget(config.max_held_bytes)
        self.draining = False
        self.failure: LentigoError | None = None
        self.connections: Callable[[], int] = lambda: 0
        self.tasks: set[asyncio.Task[None]] = set()
        self.manager: ModelManager
        self.health: Health
        self._tested = False
        self._pool: DecoderPool
        self._rate = 50.0  # images answered per second, measured; for Retry-After
        self._keys_seen = self._keys_signature()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Load the models in the background, and stop in good order at the end."""
        config = self.config
        loop = asyncio.get_running_loop()

        def on_replaced() -> None:
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self.tally.add, "lentigo_decoder_restarts_total")

        self._pool = DecoderPool(config, on_replaced)
        self.manager = ModelManager(config, self._pool, self._on_batch, self._on_reload)
        self.health = Health(self.manager)
        tasks = [
            asyncio.create_task(self._load()),
            asyncio.create_task(self._beat()),
            asyncio.create_task(self._test()),
        ]
        if config.reload_s:
            tasks += [
                asyncio.create_task(self._watch(self._watch_keys)),
                asyncio.create_task(self._watch(self._watch_bundles)),
            ]
        try:
            yield
        finally:
            for task in (*tasks, *self.tasks):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.health.close()
            await self.manager.close()
            await asyncio.to_thread(self._pool.close)
            if self.traces is not None:
                await asyncio.to_thread(self.traces.flush)

    async def reload(self) -> None:
        """Take up changed bundles and keys now."""
        self._reload_keys()
        if self.manager.ready.is_set():
            await self.manager.reload(again=True)

    async def bundles(self) -> tuple[Bundle, ...]:
        """The models in service, the default first, as soon as they are loaded."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.manager.ready.wait(), self.config.deadline_s)
        if not self.manager.ready.is_set():
            raise Problem("not-ready", "the model is still being loaded", headers={"Retry-After": "1"})
        return tuple(loaded.classifier.bundle for loaded in self.manager.models)

    async def predict(self, request: Request, options: Options) -> Response:
        """Answer a predict request."""
        scope = request.scope
        key = self._admit(scope, options)
        with self.budget.lease() as lease:
            body = await self._read(read_body(scope, request.receive, self.config, lease), lease)
            self._charge(scope, key, body.images)
            return await self._answer(scope, key, body, options)

    async def infer(self, request: Request, name: str) -> Response:
        """Answer an Open Inference Protocol request; one unreadable image refuses all."""
        scope = request.scope
        options = Options.model_construct(model=name)
        key = self._admit(scope, options)
        with self.budget.lease() as lease:
            content = await self._read(read_json(scope, request.receive, self.config, lease), lease)
            lease.take(2 * len(content))  # its text and the images in it
            asked, texts, metadata = read_request(content, self.config)
            del content
            images = await asyncio.to_thread(decode_images, texts)
            del texts
            self._charge(scope, key, images)
            deadline = asyncio.get_running_loop().time() + self.config.deadline_s
            loaded, answers = await self._classify(scope, images, options, deadline)
            for i, answer in enumerate(answers):
                if isinstance(answer, Problem):
                    raise Problem(answer.kind, f"image {i}: {answer.detail}")
            if metadata is not None:
                answers = _with_metadata(loaded.classifier, answers, metadata)
            found = [answer for answer in answers if not isinstance(answer, Problem)]
            outputs = _encoded(write_outputs(asked.names, found, loaded.classifier.spec.codes))
            await self._record(scope["lentigo.request"], key, loaded, outputs, deadline)
            return Response(
                write_reply(loaded, scope["lentigo.request"], asked, outputs, _counted(loaded, metadata)),
                media_type="application/json",
            )

    def _admit(self, scope: Any, options: Options) -> Key | None:
        """The key of a request that may send its body."""
        key = self.keys.identify(scope["headers"])
        self._note(scope, key=None if key is None else key.name)
        self.keys.charge(key, 1)
        if self.manager.ready.is_set():
            _check_options(self.manager.get(options.model), options)
        self._make_room(1)
        return key

    def _charge(self, scope: Any, key: Key | None, images: Sequence[bytes]) -> None:
        self.keys.charge(key, len(images) - 1)
        self._note(scope, images=len(images), bytes=sum(map(len, images)))

    async def _read(self, reading: Coroutine[Any, Any, T], lease: Lease) -> T:
        try:
            return await reading
        finally:
            self.tally.add("lentigo_received_bytes_total", amount=lease.held)

    async def _classify(
        self, scope: Any, images: list[bytes], options: Options, deadline: float
    ) -> tuple[Loaded, list[Answer]]:
        loaded = await self._wait_for_model(options, deadline)
        self._make_room(len(images))
        within_s = deadline - asyncio.get_running_loop().time()
        items = loaded.batcher.submit(images, within_s=within_s, picture=options.heatmap == "png")
        images.clear()  # the items hold them now
        try:
            async with asyncio.timeout_at(deadline):
                answers = [await item.future for item in items]
        except TimeoutError:
            raise self._too_late() from None
        finally:
            loaded.batcher.abandon(items)
            scope["lentigo.stages"] += _stages(items)
        refused = [answer for answer in answers if isinstance(answer, Problem)]
        self.tally.add("lentigo_images_total", "refused", amount=len(refused))
        self.tally.add("lentigo_images_total", "answered", amount=len(answers) - len(refused))
        return loaded, answers

    async def _answer(self, scope: Any, key: Key | None, given: Body, options: Options) -> Response:
        request = scope["lentigo.request"]
        deadline = asyncio.get_running_loop().time() + self.config.deadline_s
        loaded, answers = await self._classify(scope, given.images, options, deadline)
        if given.metadata is not None:
            answers = _with_metadata(loaded.classifier, answers, given.metadata)
        refused = [answer for answer in answers if isinstance(answer, Problem)]
        try:
            async with asyncio.timeout_at(deadline):
                documents = await self._documents(answers, options)
        except TimeoutError:
            raise self._too_late() from None
        if len(refused) == len(answers):
            first = refused[0]
            listed = (
                {"errors": [{"index": i, **problem.document()} for i, problem in enumerate(refused)]}
                if len(refused) > 1
                else None
            )
            raise Problem(first.kind, first.detail, extra=listed)
        spec = loaded.classifier.spec
        lists = {"predictions": documents}
        if given.lesions is not None:
            lists["lesions"] = merge_lesions(answers, given.lesions, spec, options.top_k)
        if options.prevalence is not None:
            for documents in lists.values():
                add_predictive_values(documents, spec, options.prevalence)
        encoded = {name: _encoded(documents) for name, documents in lists.items()}
        await self._record(request, key, loaded, [item for listed in encoded.values() for item in listed], deadline)
        facts: dict[str, Any] = {"request_id": request, "model": loaded.identity, "notice": NOTICE}
        if given.metadata is not None:
            facts["metadata"] = _counted(loaded, given.metadata)
        head = json.dumps(facts, ensure_ascii=False)
        body = head.encode()[:-1] + b"".join(
            b', "%b": [%b]' % (name.encode(), b", ".join(listed)) for name, listed in encoded.items()
        )
        return Response(body + b"}", media_type="application/json")

    async def _record(
        self, request: str, key: Key | None, loaded: Loaded, sent: Sequence[bytes], deadline: float
    ) -> None:
        if self.audit is None:
            return
        try:
            async with asyncio.timeout_at(deadline):
                await self.audit.record(request, None if key is None else key.name, loaded.identity, sent)
        except TimeoutError:
            raise Problem(
                "audit-failed", "the audit log takes too long to write, and no answer is given without it"
            ) from None

    def _too_late(self) -> Problem:
        text = f"no answer within {self.config.deadline_s:g} s; the service is busy"
        return Problem("deadline", text, headers={"Retry-After": self._retry_after()})

    async def _wait_for_model(self, options: Options, deadline: float) -> Loaded:
        if not self.manager.ready.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout_at(deadline):
                    await self.manager.ready.wait()
        loaded = self.manager.get(options.model)
        _check_options(loaded, options)
        return loaded

    async def _documents(self, answers: Sequence[Answer], options: Options) -> list[dict[str, Any]]:
        documents: list[dict[str, Any]] = []
        for i, answer in enumerate(answers):
            if isinstance(answer, Problem):
                documents.append({"index": i, "error": answer.document()})
                continue
            document = {"index": i, **describe(answer, options.top_k)}
            if options.heatmap != "none":
                draw = draw_map if options.heatmap == "png" else list_map
                document["heatmap"] = await asyncio.to_thread(draw, answer)
            documents.append(document)
        return documents

    def _make_room(self, images: int) -> None:
        """Refuse what the queue cannot take.

        Raises:
            Problem: the queue is full; `Retry-After` gives the wait.
        """
        if self.manager.pending + images > self.config.queue:
            raise Problem(
                "queue-full",
                f"{self.manager.pending} images are waiting; the limit is {self.config.queue}",
                headers={"Retry-After": self._retry_after()},
            )

    def _retry_after(self) -> str:
        return str(min(30, max(1, math.ceil(self.manager.pending / max(self._rate, 0.1)))))

    def _on_batch(self, size: int, seconds: float) -> None:
        self.tally.observe("lentigo_batch_images", size, metrics.SIZES)
        self.tally.add("lentigo_inference_seconds_total", amount=seconds)
        self._rate += 0.05 * (size / max(seconds, 1e-3) - self._rate)

    def _on_reload(self, done: bool) -> None:
        self.tally.add("lentigo_reloads_total", "done" if done else "failed")

    def _note(self, scope: Any, **values: Any) -> None:
        scope["lentigo.notes"].update((k, v) for k, v in values.items() if v is not None)

    async def _load(self) -> None:
        began = time.perf_counter()
        try:
            if self.config.models and not await asyncio.to_thread(self._pool.wait_started, self.config.load_s):
                raise ServiceError("no decoding process can be started; the log says why")
            await self.manager.load()
        except LentigoError as error:
            self.failure = error
            logs.event(logging.ERROR, "model cannot be loaded", error=str(error))
            return
        except Exception as error:
            self.failure = ServiceError(f"the models cannot be loaded ({type(error).__name__})")
            logs.failure("model cannot be loaded", error)
            return
        names = [loaded.classifier.spec.name for loaded in self.manager.models]
        logs.event(logging.INFO, "ready", models=names, seconds=round(time.perf_counter() - began, 2))

    async def _beat(self) -> None:
        while True:
            tally = self.tally
            idle_s = (
                time.monotonic() - self.health.progress_at
                if self.manager.ready.is_set() and self.manager.models
                else 0.0
            )
            if idle_s < _STUCK_S or not self._tested:
                tally.beat()  # otherwise the supervisor takes this worker for hung
            tally.set("lentigo_queue_images", self.manager.pending)
            tally.set("lentigo_held_bytes", self.budget.held)
            tally.set("lentigo_connections", self.connections())
            tally.set("lentigo_ready_workers", float(self.manager.ready.is_set() and not self.draining))
            tally.set("lentigo_log_lines_dropped", logs.dropped())
            tally.set("lentigo_resident_bytes", metrics.resident_bytes())
            await asyncio.sleep(_BEAT_S)

    async def _test(self) -> None:
        """See again and again whether the work is done, for the supervisor."""
        await self.manager.ready.wait()
        while True:
            self._tested |= await self.health.check(_TEST_S)
            await asyncio.sleep(_TEST_S)

    async def _watch(self, look: Callable[[], Coroutine[Any, Any, None]]) -> None:
        while True:
            await asyncio.sleep(self.config.reload_s)
            try:
                await look()
            except Exception as error:  # one bad turn must not end the watch
                logs.failure("watching failed", error)

    async def _watch_keys(self) -> None:
        if self._keys_signature() != self._keys_seen:
            self._reload_keys()

    async def _watch_bundles(self) -> None:
        if self.manager.ready.is_set():
            await self.manager.reload()

    def _keyring(self) -> Keyring:
        return Keyring(read_keys(self.config), self.board.clock, self.config.rate, self.config.burst)

    def _keys_signature(self) -> tuple[int, ...] | None:
        try:
            found = self.config.keys_file.stat() if self.config.keys_file else None
        except OSError:
            return None
        # All three, since clocks of file systems are coarse.
        return None if found is None else (found.st_mtime_ns, found.st_ino, found.st_size)

    def _reload_keys(self) -> None:
        """Read the keys again; those in force stay where the new ones cannot be used."""
        self._keys_seen = self._keys_signature()
        try:
            self.keys = self._keyring()
        except ServiceError as error:
            logs.event(logging.ERROR, "keys not reloaded", error=str(error))


def _stages(items: Sequence[Item]) -> list[Stage]:
    """When the images of a request were decoded and classified, from the first to the last."""
    ready = [item for item in items if item.ready_at]
    done = [item for item in items if item.classified_at]
    first = items[0].submitted_at
    stages = [("decode", first, max(item.ready_at for item in ready))] if ready else []
    if done:
        stages.append(("network", min(i.ready_at for i in done), max(i.classified_at for i in done)))
    return stages


def _encoded(documents: Sequence[dict[str, Any]]) -> list[bytes]:
    return [json.dumps(document, ensure_ascii=False, allow_nan=False).encode() for document in documents]


def _counted(loaded: Loaded, metadata: Sequence[Mapping[str, str]] | None) -> list[str] | None:
    """The fields that were given and that the model takes; None where none was given."""
    known = loaded.classifier.spec.metadata
    return None if metadata is None else [name for name in metadata[0] if known and name in known.log_ratios]


def _with_metadata(
    classifier: Classifier, answers: Sequence[Answer], metadata: Sequence[Mapping[str, str]]
) -> list[Answer]:
    """The answers after age, sex and site.

    Raises:
        Problem: the model takes none, or does not know a value; it repeats no value.
    """
    name, known = classifier.spec.name, classifier.spec.metadata
    if known is None:
        raise Problem("invalid-options", f"model {name!r} answers from the image alone: it takes no age, sex or site")
    for field, table in known.log_ratios.items():
        try:
            for facts in metadata:
                known.check({field: facts.get(field)})
        except DataError:
            wanted = "years, from 0 to 130" if field == "age" else f"one of {', '.join(table)}"
            raise Problem("invalid-options", f"{field}: {wanted}, or leave it out") from None
    return [
        answer if isinstance(answer, Problem) else classifier.with_metadata(answer, facts)
        for answer, facts in zip(answers, metadata, strict=True)
    ]


def _check_options(loaded: Loaded, options: Options) -> None:
    if options.heatmap != "none" and loaded.classifier.spec.outputs.cam is None:
        raise Problem(
            "no-heatmap", f"model {loaded.classifier.spec.name!r} exports no class-activation maps; leave heatmap out"
        )
