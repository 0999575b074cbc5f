"""Health, readiness and metrics."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import JSONResponse, PlainTextResponse, Response

from lentigo import __version__
from lentigo.serving import metrics
from lentigo.serving.dependencies import KeyDependency, ServiceDependency
from lentigo.serving.openapi import ALWAYS, OPEN, responses
from lentigo.serving.problems import Problem
from lentigo.serving.schemas import State

router = APIRouter(tags=["state"])
READY_WITHIN_S = 5.0
"""How long ``/readyz`` waits for a test image."""
_SOON = {"Retry-After": "1"}


@router.get("/healthz", summary="Whether the process answers", response_model=State, responses=responses(*ALWAYS))
async def healthz() -> Response:
    """Asks nothing of the models."""
    return JSONResponse({"status": "alive", "version": __version__})


@router.get(
    "/readyz",
    summary="Whether a test image is classified",
    response_model=State,
    responses=responses(*ALWAYS, "not-ready"),
)
async def readyz(service: ServiceDependency) -> Response:
    """A tiny image goes through the decoder and the network of every model, before all others."""
    if service.draining:
        raise Problem("not-ready", "the service is stopping", headers=_SOON)
    if not service.manager.ready.is_set():
        raise Problem("not-ready", "the model is still being loaded", headers=_SOON)
    if not await service.health.check(READY_WITHIN_S):
        raise Problem("not-ready", f"a test image was not answered within {READY_WITHIN_S:g} s", headers=_SOON)
    return JSONResponse({"status": "ready", "version": __version__})


@router.get(
    "/metrics",
    summary="Metrics of all workers, in the Prometheus text format",
    response_class=PlainTextResponse,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **responses(*ALWAYS, "unauthorised")},
    openapi_extra=OPEN,
)
async def exposed(service: ServiceDependency, _key: KeyDependency) -> Response:
    """Any worker answers for all of them."""
    models = (loaded.identity for loaded in service.manager.models)
    info = [{"name": m["name"], "version": m["version"], "sha256": m["sha256"][:12]} for m in models]
    return Response(service.board.expose(info), media_type=metrics.MEDIA_TYPE)
