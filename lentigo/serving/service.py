"""The service: its routes, and how a request becomes an answer.

One pipeline: the images of a request are read within the limits, decoded by `lentigo.imaging`, classified by
`lentigo.inference` in batches with those of other requests, and answered as `Prediction.to_dict` says.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import logging
import math
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from typing import Annotated, Any

import numpy as np
from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import PlainTextResponse, Response
from fastapi.routing import APIRoute
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from lentigo import NOTICE, __version__
from lentigo.errors import LentigoError, ServiceError, did_you_mean
from lentigo.inference import Prediction
from lentigo.serving import logs, metrics
from lentigo.serving.audit import Audit
from lentigo.serving.auth import Key, Keyring, read_keys
from lentigo.serving.batching import Answer
from lentigo.serving.config import ServeConfig
from lentigo.serving.decoding import DecoderPool
from lentigo.serving.envelope import Envelope
from lentigo.serving.handout import Handout
from lentigo.serving.health import Health
from lentigo.serving.hosting import Loaded, ModelHost
from lentigo.serving.limits import Budget, Lease, read_images
from lentigo.serving.metrics import Board
from lentigo.serving.problems import KINDS, MEDIA_TYPE, Problem
from lentigo.serving.schemas import (
    EXAMPLE,
    ModelsReply,
    Options,
    PredictReply,
    ProblemDocument,
    State,
)

_DESCRIPTION = f"Classifies skin-lesion images. {NOTICE} Errors are problem documents (RFC 9457)."
_RAW = ("image/jpeg", "image/png", "image/webp", "image/bmp", "image/tiff", "image/gif", "application/octet-stream")
_BEAT_S = 1.0
_TEST_S = 5.0
_STUCK_S = 20.0
"""Seconds without any work done, although a test image waits, after which the worker is no longer taken for alive."""


class Service:
    """One worker's share of the service.

    Args:
        config: the settings.
        board: where it counts; shared between the workers.
        worker: which row of the board is this worker's.

    Attributes:
        draining: whether it is about to stop: still answers, but is no longer ready, and closes connections after each answer.
        failure: why it cannot serve, once that is known.
        connections: tells how many connections are open; set by the server.
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
        self.budget = Budget(config.max_held_bytes)
        self.draining = False
        self.failure: LentigoError | None = None
        self.connections: Callable[[], int] = lambda: 0
        self.tasks: set[asyncio.Task[None]] = set()
        self.host: ModelHost
        self.health: Health
        self._tested = False
        self._pool: DecoderPool
        self._rate = 50.0  # images a second that are answered, measured; says when to come again
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
        self.host = ModelHost(config, self._pool, self._on_batch, self._on_reload)
        self.health = Health(self.host)
        tasks = [asyncio.create_task(self._load()), asyncio.create_task(self._beat()), asyncio.create_task(self._test())]
        if config.reload_s:
            tasks += [asyncio.create_task(self._watch(self._watch_keys)), asyncio.create_task(self._watch(self._watch_bundles))]
        try:
            yield
        finally:
            for task in (*tasks, *self.tasks):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.health.close()
            await self.host.close()
            await asyncio.to_thread(self._pool.close)

    async def reload(self) -> None:
        """Take up changed bundles and keys now."""
        self._reload_keys()
        if self.host.ready.is_set():
            await self.host.reload(again=True)

    async def predict(self, request: Request, options: Options) -> Response:
        """Answer a predict request."""
        scope = request.scope
        key = self.keys.identify(scope["headers"])
        self._note(scope, key=None if key is None else key.name)
        self.keys.charge(key, 1)
        if self.host.ready.is_set():
            _check_options(self.host.get(options.model), options)
        self._make_room(1)
        with self.budget.lease() as lease:
            images = await self._read(request, lease)
            self.keys.charge(key, len(images) - 1)
            self._note(scope, images=len(images), bytes=sum(map(len, images)))
            return await self._answer(scope["lentigo.request"], key, images, options)

    async def _read(self, request: Request, lease: Lease) -> list[bytes]:
        try:
            return await read_images(request.scope, request.receive, self.config, lease)
        finally:
            self.tally.add("lentigo_received_bytes_total", amount=lease.held)

    async def _answer(self, request: str, key: Key | None, images: list[bytes], options: Options) -> Response:
        deadline = asyncio.get_running_loop().time() + self.config.deadline_s
        loaded = await self._wait_for_model(options, deadline)
        self._make_room(len(images))
        within_s = deadline - asyncio.get_running_loop().time()
        items = loaded.batcher.submit(images, within_s=within_s, picture=options.heatmap == "png")
        images.clear()  # the items hold them now
        try:
            async with asyncio.timeout_at(deadline):
                answers = [await item.future for item in items]
                documents = await self._documents(answers, options)
        except TimeoutError:
            raise self._too_late() from None
        finally:
            loaded.batcher.abandon(items)
        refused = [answer for answer in answers if isinstance(answer, Problem)]
        self.tally.add("lentigo_images_total", "refused", amount=len(refused))
        self.tally.add("lentigo_images_total", "answered", amount=len(answers) - len(refused))
        if len(refused) == len(answers):
            first = refused[0]
            listed = {"errors": [{"index": i, **problem.document()} for i, problem in enumerate(refused)]} if len(refused) > 1 else None
            raise Problem(first.kind, first.detail, extra=listed)
        encoded = [json.dumps(document, ensure_ascii=False, allow_nan=False).encode() for document in documents]
        if self.audit is not None:
            await self._record(self.audit.record(request, None if key is None else key.name, loaded.identity, encoded), deadline)
        head = json.dumps({"request_id": request, "model": loaded.identity, "notice": NOTICE}, ensure_ascii=False)
        body = head.encode()[:-1] + b', "predictions": [' + b", ".join(encoded) + b"]}"
        return Response(body, media_type="application/json")

    async def _record(self, recording: Coroutine[Any, Any, None], deadline: float) -> None:
        try:
            async with asyncio.timeout_at(deadline):
                await recording
        except TimeoutError:
            raise Problem("audit-failed", "the audit log takes too long to write, and no answer is given without it") from None

    def _too_late(self) -> Problem:
        text = f"no answer within {self.config.deadline_s:g} s; the service is busy"
        return Problem("deadline", text, headers={"Retry-After": self._retry_after()})

    async def _wait_for_model(self, options: Options, deadline: float) -> Loaded:
        if not self.host.ready.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout_at(deadline):
                    await self.host.ready.wait()
        loaded = self.host.get(options.model)
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
            Problem: the queue is full; says when to come again.
        """
        if self.host.pending + images > self.config.queue:
            raise Problem(
                "queue-full",
                f"{self.host.pending} images are waiting; the limit is {self.config.queue}",
                headers={"Retry-After": self._retry_after()},
            )

    def _retry_after(self) -> str:
        return str(min(30, max(1, math.ceil(self.host.pending / max(self._rate, 0.1)))))

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
            await self.host.load()
        except LentigoError as error:
            self.failure = error
            logs.event(logging.ERROR, "model cannot be loaded", error=str(error))
            return
        except Exception as error:
            self.failure = ServiceError(f"the models cannot be loaded ({type(error).__name__})")
            logs.failure("model cannot be loaded", error)
            return
        logs.event(
            logging.INFO, "ready", models=[m.classifier.spec.name for m in self.host.models], seconds=round(time.perf_counter() - began, 2)
        )

    async def _beat(self) -> None:
        while True:
            tally = self.tally
            idle_s = time.monotonic() - self.health.progress_at if self.host.ready.is_set() and self.host.models else 0.0
            if idle_s < _STUCK_S or not self._tested:
                tally.beat()  # otherwise the supervisor takes this worker for hung
            tally.set("lentigo_queue_images", self.host.pending)
            tally.set("lentigo_held_bytes", self.budget.held)
            tally.set("lentigo_connections", self.connections())
            tally.set("lentigo_ready_workers", float(self.host.ready.is_set() and not self.draining))
            tally.set("lentigo_log_lines_dropped", logs.dropped())
            tally.set("lentigo_resident_bytes", metrics.resident_bytes())
            await asyncio.sleep(_BEAT_S)

    async def _test(self) -> None:
        """See again and again whether the work is done, for the supervisor."""
        await self.host.ready.wait()
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
        if self.host.ready.is_set():
            await self.host.reload()

    def _keyring(self) -> Keyring:
        return Keyring(read_keys(self.config), self.board.clock, self.config.rate, self.config.burst)

    def _keys_signature(self) -> tuple[int, int] | None:
        try:
            found = self.config.keys_file.stat() if self.config.keys_file else None
        except OSError:
            return None
        return None if found is None else (found.st_mtime_ns, found.st_ino)

    def _reload_keys(self) -> None:
        """Read the keys again; those in force stay where the new ones cannot be used."""
        self._keys_seen = self._keys_signature()
        try:
            self.keys = self._keyring()
        except ServiceError as error:
            logs.event(logging.ERROR, "keys not reloaded", error=str(error))


def describe(prediction: Prediction, top_k: int | None = None) -> dict[str, Any]:
    """A prediction as the API shows it: `Prediction.to_dict` without path and logits, the largest probabilities first."""
    document = prediction.to_dict()
    for name in ("path", "model", "logits", "notice"):  # the reply as a whole names the model
        document.pop(name, None)
    document["probabilities"] = {label.code: p for label, p in prediction.top(top_k or len(prediction.labels))}
    return document


def draw_map(prediction: Prediction) -> dict[str, Any]:
    """The heat map of the answer over the image, as PNG in base64."""
    image = prediction.overlay()
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=3)  # larger levels cost more time than they save bytes
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return {"code": prediction.label, "format": "png", "width": image.width, "height": image.height, "data": data}


def list_map(prediction: Prediction) -> dict[str, Any]:
    """The heat map of the answer as numbers in [0, 1], at the network's own resolution."""
    assert prediction.cam is not None  # checked before the image was accepted
    height, width = prediction.cam.shape[1:]
    values = prediction.heatmap(size=(width, height)).astype(np.float64).round(5).tolist()
    return {"code": prediction.label, "format": "array", "width": width, "height": height, "values": values}


def _check_options(loaded: Loaded, options: Options) -> None:
    if options.heatmap != "none" and loaded.classifier.spec.outputs.cam is None:
        raise Problem("no-heatmap", f"model {loaded.classifier.spec.name!r} exports no class-activation maps; leave heatmap out")


def _responses(*kinds: str) -> dict[int | str, dict[str, Any]]:
    """The problems that a route can answer with, for OpenAPI."""
    by_status: dict[int, list[str]] = {}
    for kind in kinds:
        by_status.setdefault(KINDS[kind][0], []).append(kind)
    schema = {"$ref": "#/components/schemas/ProblemDocument"}
    found: dict[int | str, dict[str, Any]] = {}
    for status, names in sorted(by_status.items()):
        examples = {name: {"value": Problem(name, KINDS[name][1].lower()).document("5f0c7c3a9b1de824")} for name in names}
        content = {MEDIA_TYPE: {"schema": schema, "examples": examples}}
        found[status] = {"description": "; ".join(KINDS[name][1] for name in names), "content": content}
        if status in (429, 503, 504):
            found[status]["headers"] = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}}
    return found


def _predict_body() -> dict[str, Any]:
    binary = {"type": "string", "format": "binary"}
    content: dict[str, Any] = {media: {"schema": {**binary, "description": "One encoded image."}} for media in _RAW}
    form = {
        "type": "object",
        "properties": {"image": {"type": "array", "items": binary, "minItems": 1, "description": "One part an image."}},
        "required": ["image"],
    }
    content["multipart/form-data"] = {"schema": form}
    return {"requestBody": {"required": True, "content": content}, "security": [{}, {"bearer": []}, {"apiKey": []}]}


_ALWAYS = ("bad-request", "too-slow", "misdirected", "head-too-large", "internal", "too-many-connections")
_PREDICT_PROBLEMS = (
    *_ALWAYS, "bad-multipart", "incomplete-body", "unauthorised", "unknown-model", "body-too-large", "image-too-large", "too-many-files",
    "unsupported-type", "not-an-image", "invalid-options", "no-image", "damaged-image", "no-heatmap", "rate-limit", "queue-full",
    "not-ready", "audit-failed", "deadline",
)  # fmt: skip


def create_app(config: ServeConfig, service: Service | None = None) -> FastAPI:
    """The ASGI application of one worker.

    Args:
        config: the settings.
        service: what it serves; made from the settings where none is given.
    """
    served = service or Service(config)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with served.running():
            yield

    app = FastAPI(
        title="lentigo",
        version=__version__,
        description=_DESCRIPTION,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        lifespan=lifespan,
        docs_url=None,  # its page loads scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.service = served
    secured: dict[str, Any] = {"security": [{}, {"bearer": []}, {"apiKey": []}]}

    async def predict(request: Request, options: Annotated[Options, Query()]) -> Response:
        """The body is one encoded image, or multipart/form-data with one part an image.

        JPEG, PNG, WebP, BMP, TIFF and GIF are told apart by their content; names and declared types do not count.
        Of several images each is answered by itself: one that cannot be read has an `error` in the place of its answer.
        """
        return await served.predict(request, options)

    app.router.add_api_route(
        metrics.PREDICT,
        predict,
        methods=["POST"],
        summary="Classify one image, or several",
        response_model=PredictReply,
        responses={200: {"content": {"application/json": {"example": EXAMPLE}}}, **_responses(*_PREDICT_PROBLEMS)},
        openapi_extra=_predict_body(),
        tags=["predict"],
        route_class_override=_DirectRoute,
    )

    @app.get(
        "/v1/models",
        summary="The models that are served",
        response_model=ModelsReply,
        responses=_responses(*_ALWAYS, "unauthorised", "unknown-model", "not-ready"),
        openapi_extra=secured,
        tags=["models"],
    )
    async def models(request: Request) -> Response:
        served.keys.identify(request.scope["headers"])
        default = served.host.get(None).classifier.spec.name
        return _json({"default": default, "models": [_model(loaded) for loaded in served.host.models]})

    @app.get(
        metrics.CARD,
        summary="A model's card, Markdown",
        response_class=PlainTextResponse,
        responses={
            200: {"content": {"text/markdown": {"schema": {"type": "string"}, "example": "# dermoscopy-7\n..."}}},
            **_responses(*_ALWAYS, "unauthorised", "unknown-model", "not-ready"),
        },
        openapi_extra=secured,
        tags=["models"],
    )
    async def card(request: Request, name: str) -> Response:
        served.keys.identify(request.scope["headers"])
        return Response(served.host.get(name).card, media_type="text/markdown; charset=utf-8")

    @app.get("/healthz", summary="Whether the process answers", response_model=State, responses=_responses(*_ALWAYS), tags=["state"])
    async def healthz() -> Response:
        return _json({"status": "alive", "version": __version__})

    @app.get(
        "/readyz",
        summary="Whether a test image is classified",
        response_model=State,
        responses=_responses(*_ALWAYS, "not-ready"),
        tags=["state"],
    )
    async def readyz() -> Response:
        if served.draining:
            raise Problem("not-ready", "the service is stopping", headers={"Retry-After": "1"})
        if not served.host.ready.is_set():
            raise Problem("not-ready", "the model is still being loaded", headers={"Retry-After": "1"})
        if not await served.health.check(_TEST_S):
            raise Problem("not-ready", f"a test image was not answered within {_TEST_S:g} s", headers={"Retry-After": "1"})
        return _json({"status": "ready", "version": __version__})

    @app.get(
        "/metrics",
        summary="Metrics of all workers, in the Prometheus text format",
        response_class=PlainTextResponse,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **_responses(*_ALWAYS, "unauthorised")},
        openapi_extra=secured,
        tags=["state"],
    )
    async def exposed(request: Request) -> Response:
        served.keys.identify(request.scope["headers"])
        info = [{"name": m["name"], "version": m["version"], "sha256": m["sha256"][:12]} for m in (x.identity for x in served.host.models)]
        return Response(served.board.expose(info), media_type=metrics.MEDIA_TYPE)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        raise _invalid_options(error)

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        if error.status_code == 405:
            raise Problem("method-not-allowed", "this address takes other methods", headers=dict(error.headers or {}))
        raise Problem("not-found", "nothing is at this address; the API is described at /openapi.json")

    app.router.default = Handout(config.static)
    _describe_security(app)
    if config.cors_origins:
        from starlette.middleware.cors import CORSMiddleware

        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(config.cors_origins),
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "X-API-Key", "X-Request-ID"],
            expose_headers=["X-Request-ID", "Retry-After"],
        )
    app.add_middleware(Envelope, service=served)  # the last added is the outermost
    return app


class _DirectRoute(APIRoute):
    """A route of (request, options), called without FastAPI's solving of dependencies: that costs as much as the rest of a request."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Read the options as FastAPI does, and call the endpoint."""
        endpoint = self.endpoint
        none_given = Options.model_validate({})

        async def handle(request: Request) -> Response:
            query = request.scope["query_string"]
            try:
                options = Options.model_validate(dict(request.query_params)) if query else none_given
            except ValidationError as error:
                raise _invalid_options(error) from None
            answer: Response = await endpoint(request, options)
            return answer

        return handle


def _invalid_options(error: RequestValidationError | ValidationError) -> Problem:
    first = error.errors()[0]
    name = str(first["loc"][-1])[:80]
    if first["type"] == "extra_forbidden":
        # Not the name itself: a key that was put into the address by mistake would come back, and land in a log.
        return Problem("invalid-options", f"unknown option{did_you_mean(name, Options.model_fields)}")
    return Problem("invalid-options", f"{name}: {first['msg']}")


def _describe_security(app: FastAPI) -> None:
    """Add the two ways to send a key, and the problem document, to the OpenAPI description."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = made()
            components = schema.setdefault("components", {})
            components["securitySchemes"] = {
                "bearer": {"type": "http", "scheme": "bearer", "description": "Needed only where the service has keys."},
                "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            }
            problem = ProblemDocument.model_json_schema(ref_template="#/components/schemas/{model}")
            components.setdefault("schemas", {}).setdefault("ProblemDocument", problem)
        return app.openapi_schema or {}

    app.openapi = openapi  # type: ignore[method-assign]


def _model(loaded: Loaded) -> dict[str, Any]:
    spec = loaded.classifier.spec
    return {
        **loaded.identity,
        "title": spec.title,
        "domain": spec.domain,
        "classes": [asdict(c) for c in spec.classes],
        "input_size": spec.input.size,
        "network": spec.network.name,
        "parameters": spec.network.parameters,
        "weights": spec.weights,
        "heatmaps": spec.outputs.cam is not None,
        "licence": spec.licence,
        "data_licence": spec.data_licence,
    }


def _json(value: Any) -> Response:
    return Response(json.dumps(value, ensure_ascii=False).encode(), media_type="application/json")
