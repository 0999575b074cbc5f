"""The Open Inference Protocol (version 2, REST), beside the service's own calls."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from lentigo import __version__
from lentigo.serving.dependencies import KeyDependency, ServiceDependency
from lentigo.serving.model_manager import Loaded
from lentigo.serving.open_inference import describe_model
from lentigo.serving.problems import Problem
from lentigo.serving.routes.state import readyz
from lentigo.serving.service import Service

# Its own published description is the one that counts.
router = APIRouter(prefix="/v2", include_in_schema=False)
_MODEL, _VERSION = "/models/{name}", "/models/{name}/versions/{version}"


@router.get("")
@router.get("/")
async def server() -> Response:
    """What answers here."""
    return JSONResponse({"name": "lentigo", "version": __version__, "extensions": []})


@router.get("/health/live")
async def live() -> Response:
    """Asks nothing of the models."""
    return JSONResponse({"live": True})


@router.get("/health/ready")
async def ready(service: ServiceDependency) -> Response:
    """As ``/readyz``."""
    await readyz(service)
    return JSONResponse({"live": True, "ready": True})


@router.get(_MODEL)
@router.get(_VERSION)
async def metadata(service: ServiceDependency, _key: KeyDependency, name: str, version: str | None = None) -> Response:
    """A model's tensors."""
    return JSONResponse(describe_model(_get(service, name, version)))


@router.get(_MODEL + "/ready")
@router.get(_VERSION + "/ready")
async def model_ready(
    service: ServiceDependency, _key: KeyDependency, name: str, version: str | None = None
) -> Response:
    """Whether a test image is classified."""
    loaded = _get(service, name, version)
    await readyz(service)
    return JSONResponse({"name": loaded.identity["name"], "ready": True})


@router.post(_MODEL + "/infer")
@router.post(_VERSION + "/infer")
async def infer(
    service: ServiceDependency, _key: KeyDependency, request: Request, name: str, version: str | None = None
) -> Response:
    """Classify the images of the tensor ``image``."""
    _get(service, name, version)
    return await service.infer(request, name)


def _get(service: Service, name: str, version: str | None) -> Loaded:
    loaded = service.manager.get(name)
    if version not in (None, loaded.identity["version"]):
        raise Problem("unknown-model", "this service has another version of that model")
    return loaded
