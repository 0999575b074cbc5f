"""The models that are served."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse, PlainTextResponse, Response

from lentigo.serving.dependencies import KeyDependency, ServiceDependency
from lentigo.serving.metrics import CARD
from lentigo.serving.model_manager import Loaded
from lentigo.serving.openapi import ALWAYS, OPEN, responses
from lentigo.serving.schemas import ModelsReply

router = APIRouter(tags=["models"])
_PROBLEMS = responses(*ALWAYS, "unauthorised", "unknown-model", "not-ready")


@router.get(
    "/v1/models",
    summary="The models that are served",
    response_model=ModelsReply,
    responses=_PROBLEMS,
    openapi_extra=OPEN,
)
async def models(service: ServiceDependency, _key: KeyDependency) -> Response:
    """The default comes first."""
    default = service.manager.get(None).classifier.spec.name
    return JSONResponse({"default": default, "models": [_model(loaded) for loaded in service.manager.models]})


@router.get(
    CARD,
    summary="A model's card, Markdown",
    response_class=PlainTextResponse,
    responses={
        200: {"content": {"text/markdown": {"schema": {"type": "string"}, "example": "# dermoscopy-7\n..."}}},
        **_PROBLEMS,
    },
    openapi_extra=OPEN,
)
async def card(service: ServiceDependency, _key: KeyDependency, name: str) -> Response:
    """What the model was trained on, how well it does, and what it is not for."""
    return Response(service.manager.get(name).card, media_type="text/markdown; charset=utf-8")


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
        "metadata": {} if spec.metadata is None else {k: list(v) for k, v in spec.metadata.log_ratios.items()},
        "licence": spec.licence,
        "data_licence": spec.data_licence,
    }
